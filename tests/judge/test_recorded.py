"""Answers on disk: nothing is asked twice, and a crash loses one answer at most."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.judge.made import ITEMS, Rules, constant
from unbelief.errors import Inconclusive, RequestError
from unbelief.judge import prompts
from unbelief.judge.chats import Outcome, Question
from unbelief.judge.recorded import NOT_RECORDED, Replay, appended
from unbelief.judge.run import Judgement, judge_items


class Failing(Rules):
    """Gives up after some answers."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def answer(self, question: Question) -> Outcome:
        if len(self.asked) > self.after:
            raise Inconclusive("gone")
        return super().answer(question)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out.answers.jsonl"


def verdicts(found: Judgement) -> list[object]:
    return [g.verdict for g in (*found.graded, *(its for _, its, _ in found.controls))]


def test_interrupted_run_asks_only_for_what_is_missing(file: Path) -> None:
    with pytest.raises(Inconclusive):
        judge_items(ITEMS, Failing(5), answers=file)
    assert len(file.read_text().splitlines()) == 1 + 5
    chat = Rules()
    found = judge_items(ITEMS, chat, answers=file)
    assert len(chat.asked) == len(verdicts(found)) - 5
    assert (found.usage.recorded, found.usage.questions) == (5, len(verdicts(found)))
    assert verdicts(found) == verdicts(judge_items(ITEMS, Rules()))


def test_finished_run_asks_nothing_though_fence_and_order_are_new(file: Path) -> None:
    first = judge_items(ITEMS, Rules(), answers=file)
    chat = Rules()
    again = judge_items(list(reversed(ITEMS)), chat, answers=file)
    assert chat.asked == []
    assert {g.item.id: g.verdict for g in first.graded} == {
        g.item.id: g.verdict for g in again.graded
    }


def test_recorded_answers_are_replayed_without_a_judge(file: Path) -> None:
    found = judge_items(ITEMS, Rules(), answers=file)
    replayed = judge_items(ITEMS, Replay(file))
    assert verdicts(found) == verdicts(replayed) and replayed.valid
    assert replayed.judge == {"kind": "test", "model": "rules", "replayed": True}


def test_item_that_was_never_asked_about_is_unscored(file: Path) -> None:
    judge_items(ITEMS[:2], Rules(), answers=file)
    found = judge_items(ITEMS, Replay(file))
    assert [g.unscored for g in found.graded] == [None, None, NOT_RECORDED.reason]


def test_torn_last_answer_is_asked_again(file: Path) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    chat = Rules()
    judge_items(ITEMS, chat, answers=file)
    assert len(chat.asked) == 1
    assert sorted(file.read_bytes().splitlines()) == sorted(content.splitlines())


@pytest.mark.parametrize("cut", [0, 10])
def test_crash_before_the_first_line_starts_anew(file: Path, cut: int) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    file.write_bytes(file.read_bytes()[:cut])
    assert judge_items(ITEMS, Rules(), answers=file).valid


def test_answers_of_another_judge_are_not_mixed_in(file: Path) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    other = Rules(constant, "another")
    with pytest.raises(RequestError, match="another judge's"):
        judge_items(ITEMS, other, answers=file)
    assert not judge_items(ITEMS, other, answers=file, restart=True).valid


def test_answers_to_another_wording_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    monkeypatch.setattr(prompts, "SHA256", "0" * 64)
    with pytest.raises(RequestError, match="another wording"):
        Replay(file)


@pytest.mark.parametrize("content", [b"not json\n", b'{"kind": "other"}\n', b"[]\n"])
def test_other_files_are_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(RequestError, match="not a file of recorded answers"):
        Replay(file)
    with pytest.raises(RequestError, match="not a file of recorded answers"):
        judge_items(ITEMS, Rules(), answers=file)
    assert file.read_bytes() == content


def test_damaged_line_is_named(file: Path) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], b'{"key": 1, "txet": ""}\n', *lines[4:]]))
    with pytest.raises(RequestError, match=r"answers\.jsonl:4"):
        Replay(file)


def test_two_runs_do_not_write_to_one_file(file: Path) -> None:
    chat = Rules()
    with (
        appended(file, chat.describe()),
        pytest.raises(RequestError, match="another run"),
    ):
        judge_items(ITEMS, chat, answers=file)


def test_refused_run_leaves_no_file(file: Path) -> None:
    with pytest.raises(Inconclusive):
        judge_items(ITEMS, Failing(0), answers=file)
    assert not file.exists()


def test_file_is_private_and_its_keys_are_salted(file: Path, tmp_path: Path) -> None:
    judge_items(ITEMS, Rules(), answers=file)
    judge_items(ITEMS, Rules(), answers=tmp_path / "other.jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = [
        {json.loads(line)["key"] for line in path.read_text().splitlines()[1:]}
        for path in (file, tmp_path / "other.jsonl")
    ]
    assert len(keys[0]) == len(keys[1]) and not keys[0] & keys[1]
    text = file.read_text()
    assert ITEMS[0].answer not in text and ITEMS[1].response not in text
