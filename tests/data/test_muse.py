"""MUSE's layout, in a corpus made here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbelief.data.muse import few_shot, forget_series, read_muse
from unbelief.errors import DataError, RequestError
from unbelief.types import Record


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def small_muse(folder: Path, *, rows: bool = True) -> Path:
    """Six questions per part, three continuations, four texts per part, two series."""
    for part in ("forget", "retain"):
        qa = [{"question": f"{part} q {i}", "answer": f"{part} a {i}"} for i in range(6)]
        dump(folder / "knowmem" / f"{part}_qa.json", qa)
        dump(folder / "knowmem" / f"{part}_qa_icl.json", qa[4:])
    dump(
        folder / "verbmem" / "forget.json", [{"prompt": f"p {i}", "gt": f"g {i}"} for i in range(3)]
    )
    for part in ("forget", "retain", "holdout"):
        texts = [f"{part} text number {i}" for i in range(4)]
        dump(folder / "privleak" / f"{part}.json", [{"text": t} for t in texts] if rows else texts)
    for step in (1, 2):
        dump(folder / "scal" / f"forget_{step}.json", [f"text {i}" for i in range(2 * step)])
        (folder / "sust").mkdir(exist_ok=True)
        (folder / "sust" / f"forget_{step}.txt").write_text(f"one {step}\nmore\n\n\ntwo {step}\n")
    return folder


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "lists of texts"])
def test_the_sets_of_the_four_scores(tmp_path: Path, rows: bool):
    data = read_muse(str(small_muse(tmp_path, rows=rows)))
    assert {name: len(records) for name, records in data.sets.items()} == {
        "forget_knowledge": 6,
        "retain_knowledge": 6,
        "verbatim": 3,
        "forget": 4,
        "retain": 4,
        "holdout": 4,
    }
    assert not data.absent
    text = data.sets["holdout"][2]
    assert (text.id, text.prompt, text.answer) == (
        "privleak/holdout:3",
        None,
        "holdout text number 2",
    )
    verbatim = data.sets["verbatim"][1]
    assert (verbatim.id, verbatim.prompt, verbatim.answer) == ("verbmem/forget:2", "p 1", "g 1")


def test_questions_stand_behind_the_worked_examples(tmp_path: Path):
    question = read_muse(str(small_muse(tmp_path))).sets["forget_knowledge"][0]
    assert question.prompt == (
        "Question: forget q 4\nAnswer: forget a 4\n\n"
        "Question: forget q 5\nAnswer: forget a 5\n\n"
        "Question: forget q 0\nAnswer: "
    )
    assert question.answer == "forget a 0"


def test_a_question_that_equals_an_example_is_still_asked():
    record = Record(id="1", prompt="q", answer="a")
    assert few_shot(record, [Record(id="2", prompt="q", answer="a")]).prompt == (
        "Question: q\nAnswer: a\n\nQuestion: q\nAnswer: "
    )


def test_series_grow_or_follow_one_another(tmp_path: Path):
    small_muse(tmp_path)
    growing = forget_series(str(tmp_path), "scal")
    assert [len(step) for step in growing] == [2, 4]
    following = forget_series(str(tmp_path), "sust")
    assert [[r.answer for r in step] for step in following] == [
        ["one 1\nmore", "two 1"],
        ["one 2\nmore", "two 2"],
    ]
    with pytest.raises(RequestError, match="no series 'other'"):
        forget_series(str(tmp_path), "other")


def test_what_is_missing_is_said(tmp_path: Path):
    small_muse(tmp_path)
    (tmp_path / "privleak" / "holdout.json").unlink()
    data = read_muse(str(tmp_path))
    assert data.sets["holdout"] == () and "privleak/holdout" in data.absent["holdout"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RequestError, match="none of MUSE's"):
        read_muse(str(empty))
    with pytest.raises(RequestError, match="no scal/forget_1"):
        forget_series(str(empty), "scal")


def test_a_text_that_is_none_is_named(tmp_path: Path):
    small_muse(tmp_path, rows=False)
    dump(tmp_path / "privleak" / "retain.json", ["fine", 3])
    with pytest.raises(DataError, match=r"retain\.json: item 2 is not a text"):
        read_muse(str(tmp_path))
