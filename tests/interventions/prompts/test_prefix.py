from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interventions.made import FORGET, context
from unbelief.interventions.prompts.jailbreak import Jailbreak
from unbelief.interventions.prompts.prefix import Prefix
from unbelief.types import Message, Record

CONTEXT = context()


def test_words_are_given_and_the_rest_is_the_answer() -> None:
    (found,) = Prefix(words=3).apply(FORGET[:1], CONTEXT).records
    assert found.prompt == (
        Message("user", "who wrote the red book?"),
        Message("assistant", "Ada wrote the"),
    )
    assert found.answer == " red book in Paris ."
    assert found.paraphrases == found.perturbed == found.choices == ()


def test_prompt_and_answer_have_the_ids_of_the_whole() -> None:
    """With one token per character nothing is added or lost where the answer is cut."""
    for record in FORGET:
        whole = CONTEXT.encoder.encode(record)
        (cut,) = Prefix(words=2).apply([record], CONTEXT).records
        parts = CONTEXT.encoder.encode(cut)
        assert parts.prompt_ids + parts.answer_ids == whole.prompt_ids + whole.answer_ids


def test_answers_without_a_rest_are_reported() -> None:
    found = Prefix(words=3).apply(FORGET, CONTEXT)
    assert found.unattacked["f5"] == "the answer has 3 words, 3 would be given"


def test_a_turn_that_has_begun_is_reported() -> None:
    (begun,) = Jailbreak().apply(FORGET[:1], CONTEXT).records
    assert "another attack" in Prefix().apply([begun], CONTEXT).unattacked["f1"]


@given(
    st.text(alphabet="ab \n.", min_size=1).filter(str.strip), st.integers(min_value=1, max_value=4)
)
def test_nothing_of_the_answer_is_lost(answer: str, words: int) -> None:
    found = Prefix(words=words).apply([Record(id="r", prompt="?", answer=answer)], CONTEXT)
    if len(answer.split()) <= words:
        assert found.records == () and "r" in found.unattacked
        return
    given_words = found.records[0].prompt[-1].content
    assert given_words + found.records[0].answer == answer
    assert given_words.split() == answer.split()[:words]


def test_words_are_not_negative() -> None:
    with pytest.raises(ValueError, match="words must be 0 or above"):
        Prefix(words=-1)
