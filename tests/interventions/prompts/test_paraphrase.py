from __future__ import annotations

from tests.interventions.made import FORGET, context
from unbelief.interventions.prompts.paraphrase import Paraphrase


def test_paraphrase_of_the_data_beats_the_template() -> None:
    found = Paraphrase().apply(FORGET, context())
    prompts = {r.id: r.prompt for r in found.records}
    assert prompts["f1"] == "the red book is by whom?"
    assert prompts["f2"] == "Could you tell me: where was Boris born?"
    assert prompts["f5"][-1].content == "Could you tell me: when was he born?"
    assert found.how == {
        "f1": "paraphrased_prompt",
        "f2": "template tell-me",
        "f5": "template tell-me",
    }


def test_what_is_neither_paraphrased_nor_a_question_is_reported() -> None:
    found = Paraphrase().apply(FORGET, context())
    assert found.unattacked.keys() == {"f3", "f4"}
    assert "does not end with a question mark" in found.unattacked["f3"]


def test_templates_may_be_left_out() -> None:
    found = Paraphrase(template="none").apply(FORGET[:2], context())
    assert [r.id for r in found.records] == ["f1"]
    assert "template is none" in found.unattacked["f2"]


def test_braces_in_a_question_stay() -> None:
    from dataclasses import replace

    record = replace(FORGET[1], prompt="what is {question} in {0}?")
    (found,) = Paraphrase().apply([record], context()).records
    assert found.prompt == "Could you tell me: what is {question} in {0}?"
