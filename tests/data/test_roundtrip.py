"""Records written as rows are read back equal, whatever their text, in every kind of file."""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unbelief.data import as_row, read_records
from unbelief.errors import DataError
from unbelief.types import Message, Record

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda t: bool(t.strip())
)
# In a cell, a text that starts with "[" means a JSON list: lists are always written as JSON.
lists = st.lists(texts, max_size=3).map(tuple)
optional = st.one_of(st.none(), texts)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    turns: list[Message] = []
    if draw(st.booleans()):
        turns.append(Message("system", draw(texts)))
    for _ in range(draw(st.integers(0, 2))):
        turns += [Message("user", draw(texts)), Message("assistant", draw(texts))]
    return (*turns, Message("user", draw(texts)))


@st.composite
def record_lists(draw: st.DrawFn, kind: str) -> list[Record]:
    prompts: dict[str, st.SearchStrategy[Any]] = {
        "text": st.none(),
        "conversation": conversations(),
    }
    records: list[Record] = []
    for i in range(draw(st.integers(1, 4))):
        choices = tuple(draw(st.lists(texts, min_size=2, max_size=4))) if kind == "choices" else ()
        correct = draw(st.integers(0, len(choices) - 1)) if choices else None
        records.append(
            Record(
                id=f"{i}{draw(texts)}",
                prompt=draw(prompts.get(kind, texts)),
                answer=choices[correct] if correct is not None else draw(texts),
                group=draw(optional),
                paraphrased_prompt=draw(optional),
                paraphrases=draw(lists),
                perturbed=draw(lists),
                choices=choices,
                correct_choice=correct,
            )
        )
    return records


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8", None, "\n"
    )


def write_gz(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\r\n" for r in rows).encode()))


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(json.dumps(rows, indent=2).encode("utf-8-sig"))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(k for r in rows for k in r))
    pq.write_table(pa.table({c: [r.get(c) for r in rows] for c in columns}), path)


def write_separated(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    columns = list(dict.fromkeys(k for r in rows for k in r))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, delimiter=delimiter)
        writer.writeheader()
        for row in rows:
            cells = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
            writer.writerow(cells)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    write_separated(path, rows, ",")


def write_tsv(path: Path, rows: list[dict[str, Any]]) -> None:
    write_separated(path, rows, "\t")


WRITERS = {
    ".jsonl": write_jsonl,
    ".jsonl.gz": write_gz,
    ".json": write_json,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".tsv": write_tsv,
}


def read_back(ending: str, records: list[Record], folder: Path) -> list[Record]:
    path = folder / f"records{ending}"
    WRITERS[ending](path, [as_row(r) for r in records])
    return [replace(r, source="") for r in read_records(path)]


@pytest.mark.parametrize("ending", WRITERS)
@SETTINGS
@given(data=st.data())
def test_read_back_equal(ending: str, tmp_path: Path, data: st.DataObject) -> None:
    # A conversation in a cell of a table would be a text: tables hold prompts as text.
    kinds = ["prompt", "text", "choices"]
    if ending not in (".csv", ".tsv"):
        kinds.append("conversation")
    records = data.draw(record_lists(data.draw(st.sampled_from(kinds))))
    assert read_back(ending, records, tmp_path) == records


@SETTINGS
@given(cell=st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(cell: str, tmp_path: Path) -> None:
    """No content of a file gets past the errors made for people."""
    for ending in (".jsonl", ".json", ".csv", ".tsv"):
        path = tmp_path / f"f{ending}"
        path.write_bytes(cell.encode("utf-8", "surrogatepass"))
        try:
            read_records(path)
        except DataError as error:
            assert error.where is not None and error.where.startswith(f"{path}:")
            assert error.remedy


@SETTINGS
@given(content=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_with_a_place(content: bytes, tmp_path: Path) -> None:
    for ending in (".jsonl", ".json.gz", ".csv", ".parquet"):
        path = tmp_path / f"f{ending}"
        path.write_bytes(content)
        try:
            read_records(path)
        except DataError as error:
            assert error.where is not None and error.where.startswith(f"{path}:")
            assert error.remedy
