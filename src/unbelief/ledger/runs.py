"""A run of `unlearn`, `calibrate` or `patch` in the words of the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbelief import processes
from unbelief.data import read_records
from unbelief.errors import Interrupted, RequestError
from unbelief.hashing import weights_sha256
from unbelief.ledger.book import Ledger
from unbelief.ledger.digests import digest_of, read_key, record_set
from unbelief.ledger.entries import Decision, Details

ACTOR_VARIABLE = "UNBELIEF_ACTOR"
RECORDS = {"unbelief.json": None, "calibration.json": "calibrate", "patch.json": "patch"}
"""Files in which runs say what they did, and the method of those that name none."""


@contextmanager
def recording(
    ledger: Path | None,
    request_id: str | None,
    forget: str,
    *,
    columns: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Record a run when it serves a request; without one, do nothing.

    The records are counted, and digested when UNBELIEF_LEDGER_KEY is set; UNBELIEF_ACTOR says who
    ran it.

    Args:
        ledger: The ledger's file, or None.
        request_id: The request, or None.
        forget: The records to forget, as for `read_records`.
        columns: Likewise.
        method: Its name.

    Yields:
        A function that takes the provenance of the finished result.

    Raises:
        RequestError: One of ledger and request is missing, or the request is unknown or closed.
    """
    if (ledger is None) != (request_id is None):
        given, other = ("--ledger", "--request-id")[:: 1 if request_id is None else -1]
        raise RequestError(f"{given} is given without {other}", remedy="give both or neither")
    if ledger is None or request_id is None or not processes.is_main():
        yield lambda provenance: None
        return
    records = record_set(read_records(forget, columns=columns or None), read_key(None, ledger))
    known = Details(method=method, forget_set=records)
    actor = os.environ.get(ACTOR_VARIABLE) or None
    with recorded_run(Ledger(ledger), request_id, known, actor=actor) as finish:
        yield lambda provenance: finish(
            run_details(provenance, method).model_copy(update={"forget_set": records})
        )


@contextmanager
def recorded_run(
    ledger: Ledger, request_id: str, details: Details, *, actor: str | None = None
) -> Iterator[Callable[[Details], None]]:
    """Record that a run starts, and how it ends, whichever way that is.

    An unknown or closed request is refused before the run starts.

    Args:
        ledger: Where to.
        request_id: The request the run serves.
        details: What is known beforehand.
        actor: A role or pseudonym.

    Yields:
        A function that takes what is known at the end. A run that ends without calling it is
        recorded as failed or, after Ctrl-C, as interrupted.
    """
    ledger.append("run_started", request_id, details, actor=actor)
    known: list[Details] = []
    ending: Decision = "failed"
    try:
        yield known.append
        ending = "done" if known else "failed"
    except (Interrupted, KeyboardInterrupt):
        ending = "interrupted"
        raise
    finally:
        last = (known or [Details()])[-1].model_copy(update={"decision": ending})
        ledger.append("run_finished", request_id, last, actor=actor)


def run_details(provenance: Mapping[str, Any], method: str | None = None) -> Details:
    """What the provenance of a result says, without paths.

    Args:
        provenance: As from `Provenance.to_dict`.
        method: For results that name none.
    """
    given = provenance
    config, where = given.get("config") or {}, given.get("environment") or {}
    mixed = (config.get("inputs") or {}).get("unlearned")
    output = given.get("output_weights_sha256")
    sets = {f"{name}_set": _set(given[name]) for name in ("forget", "retain") if given.get(name)}
    values: dict[str, Any] = {
        "base_model": _model(given, "input_weights_sha256"),
        "mixed_with": None if mixed is None else _model(mixed, "weights_sha256"),
        "method": config.get("method") or method,
        "config_digest": digest_of(config),
        "env_digest": digest_of(where),
        **sets,
    }
    if where.get("unbelief"):
        values["code"] = {
            "version": where["unbelief"],
            "commit": where.get("git_commit"),
            "dirty": where.get("git_dirty"),
        }
    if output:
        adapter = config.get("lora") is not None and not config.get("merge", True)
        values["output_model"] = {
            "weights_sha256": output,
            "dtype": config.get("dtype"),
            "adapter": adapter,
        }
    return Details.model_validate(values)


def details_of(folder: Path) -> Details:
    """What the record of a model folder says, with the digest of the weights that are there.

    Args:
        folder: Made by `unlearn`, `calibrate` or `patch`.

    Raises:
        RequestError: There is no such record, it is something else, or there are no weights.
    """
    for name, method in RECORDS.items():
        try:
            provenance = json.loads((folder / name).read_text(encoding="utf-8"))["provenance"]
            run_details(provenance, method)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        digest = provenance.get("output_weights_sha256") or weights_sha256(folder)
        return run_details({**provenance, "output_weights_sha256": digest}, method)
    raise RequestError(
        f"there is no {', '.join(RECORDS)} here that a run wrote",
        where=str(folder),
        remedy="give the output folder of `unbelief unlearn`, `calibrate` or `patch`",
    )


def model_name(source: str) -> str:
    """A hub id as it is, a folder by its last name: paths tell about machines and people."""
    path = Path(source).expanduser()
    return path.resolve().name if path.exists() or path.is_absolute() else source


def _model(given: Mapping[str, Any], digest: str) -> dict[str, Any]:
    return {
        "id": model_name(str(given["source"])),
        "revision": given.get("revision"),
        "weights_sha256": given.get(digest),
    }


def _set(digest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "n": digest["n"],
        "keyed_digest": digest.get("hmac_sha256"),
        "key_id": digest.get("key_id"),
    }
