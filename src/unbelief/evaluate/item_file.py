"""Item scores as a Parquet file beside the results they belong to."""

from __future__ import annotations

import io
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.evaluate.scoring import ItemScores
from unbelief.parquet import read_parquet
from unbelief.types import Score

_COLUMNS = ("line", "example_id", "group", "value", "unscored")


def scores_file(output: Path) -> Path:
    """Where the item scores of a results file are."""
    return output.with_name(f"{output.stem}.scores.parquet")


def scores_bytes(items: ItemScores) -> bytes:
    """Item scores as the content of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        (line, s.example_id, s.group, s.value, s.unscored)
        for line, scores in items.items()
        for s in scores
    ]
    types = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.string())
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
    arrays = [pa.array(list(c), t) for c, t in zip(columns, types, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(_COLUMNS)), sink)
    return sink.getvalue()


def read_scores(results: Path, about: Mapping[str, str]) -> dict[str, tuple[Score, ...]]:
    """The item scores of a results file.

    Args:
        results: The results file.
        about: What it says about them: `file` and `sha256`.

    Raises:
        RequestError: They are missing, or belong to other results.
    """
    file = results.with_name(about["file"])
    remedy = f"put {about['file']} beside it, as `unbelief evaluate` wrote it"
    try:
        content = file.read_bytes()
    except OSError:
        raise RequestError(
            "the item scores of these results are missing", where=str(file), remedy=remedy
        ) from None
    if sha256(content).hexdigest() != about["sha256"]:
        raise RequestError("these are item scores of other results", where=str(file), remedy=remedy)
    found: dict[str, list[Score]] = {}
    columns = read_parquet(content).select(_COLUMNS).to_pydict().values()
    for line, name, group, value, unscored in zip(*columns, strict=True):
        found.setdefault(line, []).append(Score(value, unscored, name, group))
    return {line: tuple(scores) for line, scores in found.items()}
