"""Benchmarks' folders: the same records and ids however the files are laid out."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbelief.data.benchmark import BenchmarkData
from unbelief.errors import DataError, RequestError

ROWS = [{"question": f"q {i}", "answer": f"a {i}"} for i in range(3)]


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("layout", "split"),
    [
        ("part.jsonl", None),
        ("part.json", None),
        ("part/train-00000-of-00001.parquet", None),
        ("data/part.parquet", None),
        ("part/one.jsonl", "one"),
        ("part/one-00000-of-00001.parquet", "one"),
        ("part/data/one.jsonl", "one"),
    ],
)
def test_every_layout_gives_the_same_records(tmp_path: Path, layout: str, split: str | None):
    write = write_table if layout.endswith("parquet") else write_lines
    write(tmp_path / layout, ROWS)
    records = BenchmarkData(str(tmp_path)).read("part", split)
    stem = "part" if split is None else "part/one"
    assert [r.id for r in records] == [f"{stem}:1", f"{stem}:2", f"{stem}:3"]
    assert [(r.prompt, r.answer) for r in records] == [(r["question"], r["answer"]) for r in ROWS]


def test_shards_are_read_in_order(tmp_path: Path):
    for i in range(2):
        write_table(tmp_path / "part" / f"one-0000{i}-of-00002.parquet", ROWS[i : i + 1])
    records = BenchmarkData(str(tmp_path)).read("part", "one")
    assert [r.answer for r in records] == ["a 0", "a 1"]


def test_an_absent_part_is_told_apart_from_a_broken_one(tmp_path: Path):
    write_lines(tmp_path / "there.jsonl", ROWS)
    (tmp_path / "broken.jsonl").write_text('{"question": 3}\n')
    (tmp_path / "empty.jsonl").write_text("")
    data = BenchmarkData(str(tmp_path))
    records, why = data.read_if_there("gone")
    assert records == [] and why is not None and "gone" in why
    assert data.read_if_there("there")[1] is None
    with pytest.raises(DataError, match=r"broken\.jsonl:1"):
        data.read_if_there("broken")
    with pytest.raises(DataError, match=r"empty\.jsonl.*no records"):
        data.read_if_there("empty")
    with pytest.raises(RequestError, match="there is no gone here") as error:
        data.read("gone")
    assert "there" in str(error.value.remedy)


@pytest.mark.parametrize("source", ["no/such/folder", "nothing", ""])
def test_a_source_that_is_no_folder_and_no_hub_id_is_refused(tmp_path: Path, source: str):
    with pytest.raises(RequestError, match="neither a folder nor a hub id"):
        BenchmarkData(source)


def test_a_file_is_not_a_folder(tmp_path: Path):
    write_lines(tmp_path / "part.jsonl", ROWS)
    with pytest.raises(RequestError, match="neither a folder nor a hub id"):
        BenchmarkData(str(tmp_path / "part.jsonl"))


def test_the_hub_is_asked_by_configuration_and_split(monkeypatch: pytest.MonkeyPatch):
    from unbelief.data import readers
    from unbelief.data.lines import Row

    asked = []

    def rows(name, config, split, limit):
        asked.append((name, config, split))
        if config == "gone":
            raise RequestError("no such configuration", where=name)
        return [Row(f"x:{i}", i, dict(r)) for i, r in enumerate(ROWS, 1)], f"{name}:{config}"

    monkeypatch.setattr(readers.hub, "read_hub_rows", rows)
    data = BenchmarkData("org/name")
    assert [r.id for r in data.read("part")] == ["part:1", "part:2", "part:3"]
    assert data.read("part", "one")[0].id == "part/one:1"
    assert asked == [("org/name", "part", "train"), ("org/name", "part", "one")]
    records, why = data.read_if_there("gone")
    assert records == [] and why == "gone could not be read from the hub: no such configuration"
