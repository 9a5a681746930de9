"""Text files as numbered lines: endings, compression and encoding."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unbelief.data.problems import Problems

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


def numbered_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
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
