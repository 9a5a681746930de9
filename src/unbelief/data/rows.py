"""Files in, rows out: JSON lines, JSON, CSV/TSV and Parquet, each row with its place.

A row is a mapping from column name to value plus the `file:line` where it starts (for Parquet:
the row number, counted from 1). What the columns mean is decided in `formats`. Files are only
ever opened for reading.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from unbelief.data.json_rows import read_json, read_jsonl
from unbelief.data.lines import Row, suffix_of
from unbelief.data.problems import Problems
from unbelief.data.table_rows import read_csv, read_parquet, read_tsv
from unbelief.errors import RequestError

_READERS = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
}


def read_rows(path: Path, problems: Problems, limit: int | None = None) -> list[Row]:
    """Read the rows of one file, the first `limit` of them if given.

    Args:
        path: A file with one of the accepted endings.
        problems: Where rows that cannot be parsed are noted.
        limit: Number of rows to read; later rows are not looked at.

    Raises:
        DataError: When the file cannot be read on (wrong encoding, broken archive, not a table).
        RequestError: When the file cannot be opened.
    """
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            return read_parquet(path, problems, limit)
        rows = _READERS[suffix](path, problems)
        return list(islice(rows, limit))
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            remedy="check the path and its permissions",
        ) from error
