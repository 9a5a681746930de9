"""Multiple-choice questions of WMDP and MMLU, in files made here."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbelief.data.wmdp import read_wmdp
from unbelief.errors import DataError, RequestError


def question(i: int, **more: object) -> dict[str, object]:
    return {"question": f"q {i}", "choices": ["a", "b", "c", "d"], "answer": i % 4, **more}


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_subjects_and_mmlu(tmp_path: Path):
    write(tmp_path, "wmdp-bio", [question(i) for i in range(5)])
    write(tmp_path, "cyber", [question(i) for i in range(3)])
    (tmp_path / "mmlu").mkdir()
    pq.write_table(
        pa.Table.from_pylist([question(i, subject=f"s{i % 2}") for i in range(4)]),
        tmp_path / "mmlu" / "test-00000-of-00001.parquet",
    )
    data = read_wmdp(str(tmp_path))
    assert {name: len(rows) for name, rows in data.sets.items()} == {
        "bio": 5,
        "chem": 0,
        "cyber": 3,
        "mmlu": 4,
    }
    assert "wmdp-chem" in data.absent["chem"]
    assert data.sets["bio"][2].choices == ("a", "b", "c", "d")
    assert (data.sets["bio"][2].correct_choice, data.sets["bio"][2].answer) == (2, "c")
    assert [r.group for r in data.sets["mmlu"]] == ["s0", "s1", "s0", "s1"]


def test_rows_without_choices_are_refused(tmp_path: Path):
    write(tmp_path, "wmdp-bio", [{"question": "q", "answer": "a"}])
    with pytest.raises(DataError, match=r"wmdp-bio\.jsonl:1: the row has no choices"):
        read_wmdp(str(tmp_path))


def test_a_folder_without_questions_is_refused(tmp_path: Path):
    with pytest.raises(RequestError, match="none of WMDP's questions"):
        read_wmdp(str(tmp_path))
