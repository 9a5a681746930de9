"""Responses in: what is read, what is refused, and what no judge gets to see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unbelief.errors import DataError, RequestError
from unbelief.judge.items import Item, check_items, read_items
from unbelief.types import Message

ROW = {"prompt": "who?", "answer": "Ada", "response": "nobody"}


def written(tmp_path: Path, *rows: Any) -> Path:
    file = tmp_path / "said.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_columns(tmp_path: Path) -> None:
    full = ROW | {"id": 7, "group": "g", "label": "npo", "paraphrases": ["it was Ada"]}
    turns = [{"role": "user", "content": "who?"}]
    other = {"question": turns, "answer": "Ada", "response": "", "method": "npo"}
    assert read_items(written(tmp_path, full, other)) == (
        Item(
            id="7",
            prompt="who?",
            answer="Ada",
            response="nobody",
            group="g",
            label="npo",
            paraphrases=("it was Ada",),
        ),
        Item(id="said:2", prompt=(Message("user", "who?"),), answer="Ada", response=""),
    )


def test_documents_have_no_prompt(tmp_path: Path) -> None:
    (item,) = read_items(written(tmp_path, {"answer": "Ada", "response": "x"}))
    assert item.prompt is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "who?", "answer": "Ada"}, "no column 'response'"),
        ({"prompt": "who?", "response": "Ada"}, "no column 'answer'"),
        (ROW | {"response": None}, "'response' is null"),
        (ROW | {"response": 5}, "'response' is a number"),
        (ROW | {"answer": ""}, "'answer' is empty"),
        (ROW | {"prompt": ""}, "'prompt' is empty"),
        (ROW | {"paraphrases": [1]}, r"paraphrases\[0\]"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_items(written(tmp_path, ROW, row))
    assert "said.jsonl:2" in str(caught.value)


def test_ids_are_unique_within_a_label(tmp_path: Path) -> None:
    rows = [ROW | {"id": "a", "label": label} for label in ("npo", "ga")]
    assert len(read_items(written(tmp_path, *rows))) == 2
    with pytest.raises(DataError, match=r"said\.jsonl:3: the id is there twice under this label"):
        read_items(written(tmp_path, *rows, rows[0]))


def test_nothing_to_judge(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no responses"):
        read_items(written(tmp_path))
    with pytest.raises(RequestError, match="no such file"):
        read_items(tmp_path / "absent.jsonl")
    one = Item(id="a", prompt=None, answer="b", response="c")
    with pytest.raises(DataError, match="same id"):
        check_items([one, one])
