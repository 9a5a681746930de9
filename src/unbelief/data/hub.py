"""Rows of a data set on the Hugging Face hub, read without leaving a copy behind.

`datasets.load_dataset` writes what it loads, in clear text, into a cache under `HF_HOME`. For
records that are to be forgotten that is one more copy to find and delete, so rows are streamed
here, and whatever the library still wants to store goes to a temporary folder that is deleted
before the rows are returned.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import closing
from itertools import islice
from typing import Any

from unbelief.data.lines import Row
from unbelief.errors import RequestError

_HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(:(?P<config>[\w.+-]+))?(\[(?P<split>[\w.+-]+)\])?")


def parse_hub_id(source: str) -> tuple[str, str | None, str | None] | None:
    """Take `org/name`, `org/name:config` or `org/name:config[split]` apart.

    Returns:
        Name, configuration and split, or None when the text is no hub id.
    """
    match = _HUB_ID.fullmatch(source)
    return (match["name"], match["config"], match["split"]) if match else None


def read_hub_rows(
    name: str, config: str | None, split: str | None, limit: int | None = None
) -> tuple[list[Row], str]:
    """Stream the rows of one split.

    Args:
        name: `org/name`.
        config: Configuration (subset), None for the default one.
        split: Needed unless the data set has exactly one split.
        limit: Number of rows to fetch.

    Returns:
        The rows, and the label they are cited by: `org/name:config[split]`.

    Raises:
        RequestError: When `datasets` is not installed, or the data set cannot be reached.
    """
    try:
        import datasets
    except ImportError as error:
        raise RequestError(
            "reading from the hub needs the package `datasets`, which is not installed",
            where=name,
            remedy='install it (pip install "unbelief[hub]"), or give a local file',
        ) from error
    label = f"{name}:{config}" if config else name
    with tempfile.TemporaryDirectory(prefix="unbelief-hub-") as cache:
        try:
            found = datasets.load_dataset(
                name,
                config,
                streaming=True,
                cache_dir=cache,
                download_config=datasets.DownloadConfig(cache_dir=cache),
            )
            chosen = _choose(sorted(str(s) for s in found), split, label)
            label = f"{label}[{chosen}]"
            with closing(iter(found[chosen])) as stream:  # a limit leaves it half read
                rows = [dict(values) for values in islice(stream, limit)]
        except RequestError:
            raise
        except Exception as error:  # the hub's errors have no common root: network, script, parse
            raise _explain(error, label) from error
    return [Row(f"{label}:{i}", i, values) for i, values in enumerate(rows, start=1)], label


def _choose(splits: list[str], split: str | None, label: str) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split in splits:
        return str(split)
    found = "no split was named" if split is None else f"there is no split {split!r}"
    raise RequestError(
        f"{found}; the splits are {', '.join(splits)}", where=label, remedy="name one of them"
    )


def _explain(error: Exception, label: str) -> RequestError:
    """Turn whatever the hub's client raised into one plain message."""
    said: list[Any] = str(error).strip().splitlines() or [type(error).__name__]
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    remedy = (
        "HF_HUB_OFFLINE is set: unset it, or give a local file (.jsonl, .parquet, .csv)"
        if offline
        else "check the id, the network and `hf auth login` for a gated data set; if a local file "
        "was meant, check its path"
    )
    return RequestError(
        f"the data set cannot be read from the hub ({type(error).__name__}: {said[0][:200]})",
        where=label,
        remedy=remedy,
    )
