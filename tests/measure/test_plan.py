"""What is planned, and in which words something is not."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from tests.measure.common import ALL, GREEDY, OWN, PARAPHRASES, record, records
from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError
from unbelief.measure.plan import (
    Plan,
    Unmeasurable,
    asked,
    need_from_dict,
    need_to_dict,
    texts_of,
)
from unbelief.measure.tables import AnswerKind, AnswerNeed, GradientNeed, Need, TextNeed
from unbelief.types import Message


def test_a_need_asked_for_twice_is_one_need() -> None:
    plan = Plan(
        {"a": records(2), "b": records(1), "c": ()},
        {"a": (OWN, GREEDY, OWN), "b": (GREEDY, PARAPHRASES)},
    )
    assert plan.needs == {"a": (OWN, GREEDY), "b": (GREEDY, PARAPHRASES), "c": ()}
    assert plan.all_needs == (OWN, GREEDY, PARAPHRASES)
    assert list(plan.sets) == ["a", "b", "c"] and plan.sets["a"] == tuple(records(2))


def test_needs_of_an_unknown_set_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="forgte"):
        Plan({"forget": records(1)}, {"forgte": (OWN,)})


def test_two_records_of_one_id_are_refused_with_both_places() -> None:
    twice = [*records(2), record(1, source="b.jsonl:7")]
    with pytest.raises(RequestError) as caught:
        Plan({"forget": twice}, {})
    error = caught.value
    assert "'forget'" in error.message and "'r1'" in error.message
    assert error.where == "b.jsonl:7" and error.remedy and "a.jsonl:1" in error.remedy
    with pytest.raises(RequestError, match="before it"):
        Plan({"forget": [replace(r, source="") for r in twice]}, {})


def test_one_id_may_be_in_two_sets() -> None:
    assert Plan({"forget": records(2), "same": records(2)}, {}).all_needs == ()


def test_a_decoding_that_cannot_give_its_samples_is_refused() -> None:
    greedy = TextNeed(Decoding(temperature=0.0), samples=2)
    with pytest.raises(RequestError, match="greedy decoding gives one answer"):
        Plan({"forget": records(1)}, {"forget": (greedy,)})


@pytest.mark.parametrize("kind", get_args(AnswerKind))
def test_texts_of_every_kind(kind: AnswerKind) -> None:
    full = record(1)
    want = {
        "answer": (full.answer,),
        "paraphrase": full.paraphrases,
        "perturbed": full.perturbed,
        "choice": full.choices,
    }
    assert texts_of(full, AnswerNeed(kind)) == want[kind] != ()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("paraphrase", "paraphrases"), ("perturbed", "perturbed answers"), ("choice", "choices")],
)
def test_what_a_record_lacks_is_said_in_words(kind: AnswerKind, words: str) -> None:
    bare = record(0, paraphrases=(), perturbed=(), choices=())
    with pytest.raises(Unmeasurable, match=f"^the record has no {words}$"):
        texts_of(bare, AnswerNeed(kind))


def test_the_paraphrased_prompt_takes_the_prompts_place() -> None:
    own = record(0)
    assert asked(own, "own") is own
    assert asked(own, "paraphrased").prompt == "Author 0: born where?"
    with pytest.raises(Unmeasurable, match="no paraphrased prompt"):
        asked(record(0, paraphrased_prompt=None), "paraphrased")
    assert asked(record(0, prompt=None), "paraphrased").prompt == "Author 0: born where?"


def test_in_a_conversation_it_takes_the_place_of_the_users_last_turn() -> None:
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Where?")]
    talk = tuple(Message(role, text) for role, text in turns)  # type: ignore[arg-type]
    begun = Message("assistant", "Sure,")
    want = (*talk[:3], Message("user", "Author 0: born where?"))
    assert asked(record(0, prompt=talk), "paraphrased").prompt == want
    assert asked(record(0, prompt=(*talk, begun)), "paraphrased").prompt == (*want, begun)


@pytest.mark.parametrize("need", [*ALL, GradientNeed(1.5, drop_last=True)], ids=repr)
def test_needs_survive_being_written_down(need: Need) -> None:
    assert need_from_dict(need_to_dict(need)) == need


def test_unknown_options_of_a_need_are_an_error() -> None:
    with pytest.raises(TypeError):
        need_from_dict({"kind": "gradient", "oder": 2})
