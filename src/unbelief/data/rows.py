"""Files in, rows out: JSON lines, JSON, CSV/TSV and Parquet, each row with its place.

A row is a mapping from column name to value plus the `file:line` where it starts (for Parquet:
the row number, counted from 1). What the columns mean is decided in `formats`. Files are only
ever opened for reading.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from unbelief.data.problems import Problems, describe, names
from unbelief.errors import RequestError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Accepted file endings; all but Parquet may be followed by `.gz`."""

_UTF8 = "save the file as UTF-8 (for example `iconv -f {} -t UTF-8 IN > OUT`)"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        where: `file:line` where the row starts.
        number: Position among the rows of its file, from 1.
        values: Column name to value.
    """

    where: str
    number: int
    values: dict[str, Any]


def suffix_of(path: Path) -> str:
    """Return the accepted ending of a path (`.jsonl` for `a.jsonl.gz`), or an empty string."""
    name = path.name.lower()
    bare = name.removesuffix(".gz")
    for suffix in SUFFIXES:
        if bare.endswith(suffix) and not (suffix == ".parquet" and bare != name):
            return suffix
    return ""


def stem_of(path: Path) -> str:
    """Return the file name without `.gz` and its data ending."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name[: -len(suffix_of(path))] if suffix_of(path) else name


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
            return _read_parquet(path, problems, limit)
        rows = _READERS[suffix](path, problems)
        return list(islice(rows, limit))
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            remedy="check the path and its permissions",
        ) from error


# ---------------------------------------------------------------------------- text lines


def _lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    r"""Yield (line number, line with its end) decoded from UTF-8; only `\n` ends a line."""
    number = 0
    with _open(path) as stream:
        try:
            for number, raw in enumerate(stream, start=1):
                yield number, _decode(raw, f"{path}:{number}", problems, first=number == 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problems.fail(
                f"{path}:{number + 1}",
                f"the gzip archive is damaged or cut off here ({error})",
                "copy or download the file again; `gzip -t FILE` tells whether it is whole",
            )


def _open(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # GzipFile is one in all but name
    return path.open("rb")


def _decode(raw: bytes, where: str, problems: Problems, *, first: bool) -> str:
    if first:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            problems.fail(where, "the file is UTF-16, not UTF-8", _UTF8.format("UTF-16"))
        if raw.startswith(b"\x1f\x8b"):
            problems.fail(
                where, "the file is gzip-compressed", "let its name end in .gz, or decompress it"
            )
        if raw.startswith(b"PAR1"):
            problems.fail(where, "the file is Parquet", "let its name end in .parquet")
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.fail(
            where,
            f"byte 0x{raw[error.start]:02x} at position {error.start + 1} is not UTF-8",
            _UTF8.format("LATIN1") + "; the present encoding may be another one",
        )


# ---------------------------------------------------------------------------------- JSON


class _NotJson(ValueError):
    """Valid for Python's parser, but not JSON or not unambiguous."""


def _no_constants(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not a JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = names(sorted({key for key in keys if keys.count(key) > 1}))
        raise _NotJson(f"the key {twice} is there twice")
    return values


_DECODER = json.JSONDecoder(parse_constant=_no_constants, object_pairs_hook=_unique_keys)


def _json_fault(error: Exception) -> str:
    """Say what is wrong with a JSON text, without quoting it."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} (character {error.colno})"
    if isinstance(error, _NotJson):
        return f"not valid JSON: {error}"
    if isinstance(error, RecursionError):
        return "not a table row: nested too deeply"
    return "a number with more digits than can be read"


_JSON_FAULTS = (ValueError, RecursionError)
_JSON_REMEDY = "mend this line; write rows with `json.dumps` (null for a missing value)"


def _read_jsonl(path: Path, problems: Problems) -> Iterator[Row]:
    count = 0
    for number, line in _lines(path, problems):
        if not line.strip():
            continue
        count += 1
        where = f"{path}:{number}"
        try:
            values = _DECODER.decode(line)
        except _JSON_FAULTS as error:
            if count == 1 and line.strip() in ("{", "["):
                problems.fail(
                    where,
                    "JSON spread over several lines; here every line is one row",
                    "write one object per line, or a list of objects in a .json file",
                )
            problems.add(where, _json_fault(error), _JSON_REMEDY)
            continue
        if isinstance(values, dict):
            yield Row(where, count, values)
        else:
            problems.add(
                where,
                f"the row is {describe(values)}, not an object with columns",
                'write rows as objects, {"prompt": ..., "answer": ...}; a list of objects '
                "belongs into a .json file",
            )


def _read_json(path: Path, problems: Problems) -> Iterator[Row]:
    text = "".join(line for _, line in _lines(path, problems))
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "{":
        # Several hubs serve JSON lines under the ending .json.
        yield from _read_jsonl(path, problems)
        return
    if text[start : start + 1] != "[":
        if text.strip():
            _fail_json(path, text, start, "the file is not a list of rows", problems)
        return
    yield from _items(path, text, start + 1, problems)


def _items(path: Path, text: str, position: int, problems: Problems) -> Iterator[Row]:
    """Decode a JSON list item by item, so that every row knows its line."""
    count, line, seen, separator = 0, 1, 0, ""
    while True:
        position = _skip_space(text, position)
        mark = text[position : position + 1]
        if mark == "]" and separator != ",":
            break
        if separator == "" and count > 0:
            if mark != ",":
                _fail_json(path, text, position, "expected ',' or ']' after a row", problems)
            separator, position = ",", position + 1
            continue
        line, seen = line + text.count("\n", seen, position), position
        where = f"{path}:{line}"
        try:
            values, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            _fail_json(path, text, error.pos, f"not valid JSON: {error.msg}", problems)
        except _JSON_FAULTS as error:
            problems.fail(
                where, f"{_json_fault(error)} (in the row that starts here)", _JSON_REMEDY
            )
        count, separator = count + 1, ""
        if isinstance(values, dict):
            yield Row(where, count, values)
        else:
            problems.add(
                where,
                f"the row is {describe(values)}, not an object with columns",
                'write rows as objects, {"prompt": ..., "answer": ...}',
            )
    if text[position + 1 :].strip():
        _fail_json(path, text, position + 1, "there is more text after the list", problems)


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\n", "\r"):
        position += 1
    return position


def _fail_json(path: Path, text: str, at: int, message: str, problems: Problems) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    remedy = "write a list of objects, [{...}, {...}], or one object per line in a .jsonl file"
    problems.fail(f"{path}:{line}", message, remedy)


# ----------------------------------------------------------------------------- CSV, TSV


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit of 131,072 characters per field: documents are longer."""
    old = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(old)


def _read_csv(path: Path, problems: Problems) -> Iterator[Row]:
    yield from _read_separated(path, problems, ",")


def _read_tsv(path: Path, problems: Problems) -> Iterator[Row]:
    yield from _read_separated(path, problems, "\t")


def _read_separated(path: Path, problems: Problems, delimiter: str) -> Iterator[Row]:
    lines = (line for _, line in _lines(path, problems))
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


_READERS = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}


# ------------------------------------------------------------------------------- Parquet


def _read_parquet(path: Path, problems: Problems, limit: int | None) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.open("rb").close()  # a missing or forbidden file is told apart from a damaged one
    rows: list[Row] = []
    try:
        with pq.ParquetFile(path) as file:
            twice = sorted({c for c in file.schema_arrow.names if _times(file, c) > 1})
            if twice:
                problems.fail(
                    f"{path}:1", f"the column {names(twice)} is there twice", "rename one of them"
                )
            for batch in file.iter_batches():
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
