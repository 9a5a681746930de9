"""A prompt may end inside the model's own turn: how it is encoded, and where its answer begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers import ASSISTANT, BOS, EOS, USER, tiny_tokenizer
from tests.interventions.made import encoder
from unbelief.errors import DataError
from unbelief.tokens import Encoder
from unbelief.tokens.open_unlearning import OpenUnlearningEncoder
from unbelief.types import Message, Record, own_turn

BEGUN = (Message("user", "Who?"), Message("assistant", "Sure:"))
RECORD = Record(id="r", prompt=BEGUN, answer="Ada")


def ids(text: str) -> tuple[int, ...]:
    return tuple(tiny_tokenizer("char").convert_tokens_to_ids(list(text)))


def test_a_chat_prompt_goes_on_after_the_generation_prompt() -> None:
    encoded = encoder().encode(RECORD)
    assert encoded.prompt_ids == (USER, *ids("Who?"), ASSISTANT, *ids("Sure:"))
    assert encoded.answer_ids == (*ids(" Ada"), EOS)


@pytest.mark.parametrize(
    ("start", "answer", "joined"),
    [("Sure:", "Ada", " Ada"), ("Sure:\n", "Ada", "Ada"), ("Sure:", " Ada", " Ada")],
)
def test_one_space_where_neither_side_has_white_space(start: str, answer: str, joined: str) -> None:
    prompt = (BEGUN[0], Message("assistant", start))
    assert encoder().encode(replace(RECORD, prompt=prompt), answer=answer).answer_ids[:-1] == ids(
        joined
    )


def test_without_a_template_everything_is_one_text() -> None:
    encoded = encoder(template="plain").encode(RECORD)
    assert encoded.prompt_ids == ids("Who? Sure:")
    assert encoded.answer_ids == (*ids(" Ada"), EOS)


def test_earlier_turns_of_the_model_are_not_its_own_start() -> None:
    turns = (*BEGUN, Message("user", "And?"))
    assert own_turn(turns) == "" and own_turn(BEGUN) == "Sure:"
    assert own_turn(None) == own_turn("text") == own_turn(()) == ""
    assert encoder().encode_prompt(turns)[-1] == ASSISTANT


@pytest.mark.parametrize("template", ["chat", "plain"])
def test_the_beginning_of_a_document(template) -> None:
    tokenizer = tiny_tokenizer("char", add_bos=True)
    record = Record(id="d", prompt=(Message("assistant", "The red"),), answer=" book")
    encoded = Encoder(tokenizer, template=template).encode(record)
    assert encoded.prompt_ids == (BOS, *ids("The red"))
    assert encoded.answer_ids == (*ids(" book"), EOS)


def test_open_unlearning_has_no_such_prompts() -> None:
    with pytest.raises(DataError, match="cannot begin the model's own turn"):
        OpenUnlearningEncoder(tiny_tokenizer("char")).encode(RECORD)
