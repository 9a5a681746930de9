from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interventions.made import FORGET, RETAIN, context
from unbelief.interventions.prompts.noise import Noise
from unbelief.types import Record

CONTEXT = context()


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def changed(before: str, after: str) -> int:
    assert len(words(before)) == len(words(after))
    return sum(a != b for a, b in zip(words(before), words(after), strict=True))


@pytest.mark.parametrize(
    ("rate", "count"),
    [(0.05, 1), (0.2, 1), (0.3, 2), (0.5, 2), (1.0, 5)],  # of 5 words: 1.5 and 2.5 become 2
)
def test_a_share_of_the_words_is_replaced(rate: float, count: int) -> None:
    found = Noise(rate=rate).apply(FORGET[:1], CONTEXT)
    assert changed(FORGET[0].prompt, found.records[0].prompt) == count
    assert found.how["f1"] == f"{count} of 5 words replaced"


def test_new_words_are_those_of_other_prompts() -> None:
    (found,) = Noise(rate=1.0).apply(FORGET[:1], CONTEXT).records
    pool = {w for r in RETAIN for w in words(r.prompt)}
    assert set(words(found.prompt)) <= pool - set(words(FORGET[0].prompt))
    assert re.sub(r"\w+", "", found.prompt) == re.sub(r"\w+", "", FORGET[0].prompt)


def test_only_the_last_question_is_touched() -> None:
    (found,) = Noise(rate=1.0).apply(FORGET[4:], CONTEXT).records
    assert found.prompt[:-1] == FORGET[4].prompt[:-1]
    assert changed(FORGET[4].prompt[-1].content, found.prompt[-1].content) == 4


def test_reasons() -> None:
    alone = Noise().apply(FORGET[:1], context(retain=()))
    assert alone.unattacked == {"f1": "no other prompt has new words"}
    mark = Noise().apply([replace(FORGET[0], prompt="?!")], CONTEXT)
    assert mark.unattacked == {"f1": "the question has no words"}


def test_the_seed_decides() -> None:
    drawn = {Noise(rate=0.4, seed=s).apply(FORGET[:1], CONTEXT).records for s in range(8)}
    assert len(drawn) > 4


@given(st.text(alphabet="ab -'?\n", min_size=1), st.floats(0.01, 1))
def test_what_stands_between_words_stays(prompt: str, rate: float) -> None:
    found = Noise(rate=rate).apply([Record(id="r", prompt=prompt, answer="a")], CONTEXT)
    if not found.records:
        assert not words(prompt)
        return
    pattern = r"\w+(?:[-'’./]\w+)*"
    assert re.sub(pattern, "W", found.records[0].prompt) == re.sub(pattern, "W", prompt)
