"""Refusals drawn for records, and the prompt that asks for another answer."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.helpers import tiny_tokenizer
from unbelief.beliefs.alternatives import asking_for_another, drawn_refusals, refusals
from unbelief.errors import DataError, RequestError
from unbelief.tokens import Encoder
from unbelief.types import Message, Record

RECORDS = [Record(id=f"f{i}", prompt=f"Who is {i}?", answer="Nobody.") for i in range(40)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(tiny_tokenizer())


def test_the_list_has_no_line_twice_and_no_stray_space() -> None:
    lines = refusals()
    assert len(set(lines)) == len(lines) >= 20
    assert all(line == line.strip() for line in lines)


def test_a_draw_belongs_to_the_record_and_the_seed(encoder: Encoder) -> None:
    drawn = drawn_refusals(encoder, RECORDS, 3, seed=7)
    assert drawn_refusals(encoder, RECORDS[5:6], 3, seed=7) == {"f5": drawn["f5"]}
    assert drawn_refusals(encoder, RECORDS, 3, seed=8) != drawn
    assert all(len(set(texts)) == 3 for texts in drawn.values())
    # 40 records draw from 20 lines; by far not all the same one (20⁻³⁹).
    assert len(Counter(texts[0] for texts in drawn.values())) > 5


def test_a_refusal_is_an_answer_like_any_other(encoder: Encoder) -> None:
    known = {encoder.encode(RECORDS[0], answer=text).answer_ids for text in refusals()}
    assert set(drawn_refusals(encoder, RECORDS[:1], 5, seed=0)["f0"]) < known
    assert all(ids[-1] == encoder.end_id for ids in known)


def test_more_refusals_than_there_are_cannot_be_drawn(encoder: Encoder) -> None:
    with pytest.raises(RequestError, match=f"there are {len(refusals())} refusals") as caught:
        drawn_refusals(encoder, RECORDS, 1000, seed=0)
    assert caught.value.where == "samples"


def test_the_question_shows_what_to_stay_away_from() -> None:
    asked = asking_for_another(RECORDS[3])
    assert (asked.id, asked.answer) == ("f3", "Nobody.")
    assert "Who is 3?" in str(asked.prompt) and "True answer: Nobody." in str(asked.prompt)
    turns = (Message("user", "Hello."), Message("assistant", "Yes?"), Message("user", "Who am I?"))
    asked = asking_for_another(Record(id="t", prompt=turns, answer="Ada."))
    assert "Hello.\nYes?\nWho am I?" in str(asked.prompt)


def test_a_document_has_no_alternative(encoder: Encoder) -> None:
    document = Record(id="d", prompt=None, answer="Once upon a time.")
    with pytest.raises(DataError, match="without a prompt"):
        drawn_refusals(encoder, [document], 1, seed=0)
    with pytest.raises(DataError, match="without a prompt"):
        asking_for_another(document)
