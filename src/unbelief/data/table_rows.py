"""Rows of tables: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbelief.data.lines import Row, numbered_lines
from unbelief.data.problems import Problems, names


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters per field: documents are longer."""
    old = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(old)


def read_csv(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the rows of a comma-separated table with a header (RFC 4180), every cell a text.

    Raises:
        DataError: When the table cannot be read on; rows of a wrong width go to `problems`.
    """
    yield from _read_separated(path, problems, ",")


def read_tsv(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the rows of a tab-separated table; quoting and errors as for `read_csv`.

    Raises:
        DataError: As for `read_csv`.
    """
    yield from _read_separated(path, problems, "\t")


def _read_separated(path: Path, problems: Problems, delimiter: str) -> Iterator[Row]:
    lines = (line for _, line in numbered_lines(path, problems))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    count, start = 0, 1
    while True:
        start = reader.line_num + 1
        where = f"{path}:{start}"
        try:
            with _long_fields():
                cells = next(reader, None)
        except csv.Error as error:
            problems.fail(
                where,
                f"not a valid table: {error} (in the row that starts here)",
                'double the quotes inside a quoted cell (""), close every quote, end lines '
                "with \\n or \\r\\n",
            )
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header = _header(cells, where, delimiter, problems)
            continue
        count += 1
        if len(cells) != len(header):
            problems.add(
                where,
                f"{len(cells)} cells, but the header has {len(header)} columns",
                "quote cells that contain the separator, quotes or line breaks",
            )
            continue
        yield Row(where, count, dict(zip(header, cells, strict=True)))


def _header(cells: list[str], where: str, delimiter: str, problems: Problems) -> list[str]:
    named = [c for c in cells if c]  # spreadsheets and pandas leave an unnamed index column
    twice = sorted({c for c in named if named.count(c) > 1})
    if twice:
        problems.fail(where, f"the column {names(twice)} is there twice", "rename one of them")
    if len(cells) == 1 and delimiter == "," and (";" in cells[0] or "\t" in cells[0]):
        found = "semicolons" if ";" in cells[0] else "tabs"
        remedy = "save it with commas" + ("" if ";" in cells[0] else ", or let it end in .tsv")
        problems.fail(where, f"the columns are separated by {found}, not commas", remedy)
    return cells


def read_parquet(path: Path, problems: Problems, limit: int | None) -> list[Row]:
    """Return the first `limit` rows of a Parquet file; their places are row numbers.

    Raises:
        DataError: When the file is damaged or no Parquet file.
        OSError: When it cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.open("rb").close()  # a missing or forbidden file is told apart from a damaged one
    rows: list[Row] = []
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            twice = sorted({c for c in file.schema_arrow.names if _times(file, c) > 1})
            if twice:
                problems.fail(
                    f"{path}:1", f"the column {names(twice)} is there twice", "rename one of them"
                )
            for batch in file.iter_batches(use_threads=False):
                for values in batch.to_pylist():
                    if limit is not None and len(rows) >= limit:
                        return rows
                    rows.append(Row(f"{path}:{len(rows) + 1}", len(rows) + 1, values))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else "damage"
        problems.fail(
            f"{path}:{len(rows) + 1}",
            f"not a readable Parquet file: {kind} at or after row {len(rows) + 1} "
            f"({type(error).__name__})",
            "write the file again, for example with `pyarrow.parquet.write_table`",
        )
    return rows


def _times(file: Any, column: str) -> int:
    return int(file.schema_arrow.names.count(column))
