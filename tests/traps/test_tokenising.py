"""Traps: prompt + answer tokenised together differ from apart; BOS is added twice."""

from __future__ import annotations

from tests.helpers import BOS, EOS, tiny_tokenizer

from unbelief.tokens import Encoder
from unbelief.types import Record

PROMPT, ANSWER = "Where is it? In", " the tin"


def test_together_differs_from_apart_and_our_boundary_does_not_depend_on_the_answer() -> None:
    tokenizer = tiny_tokenizer("bpe", chat=False)
    together = tokenizer.encode(PROMPT + " " + "the tin")
    apart = tokenizer.encode(PROMPT + " ") + tokenizer.encode("the tin")
    assert tokenizer.convert_ids_to_tokens(together[-6:])[0] != " "
    assert together != apart  # " th" swallows the blank that ended the prompt
    assert len(together) < len(apart)

    encoder = Encoder(tokenizer, template="plain")
    first = encoder.encode(Record(id="1", prompt=PROMPT, answer=ANSWER))
    other = encoder.encode(Record(id="2", prompt=PROMPT, answer="Oslo"))
    assert first.prompt_ids == other.prompt_ids == encoder.encode_prompt(PROMPT)
    assert first.answer_ids[-1] == other.answer_ids[-1] == EOS


def test_rendering_and_tokenising_again_adds_a_second_bos() -> None:
    tokenizer = tiny_tokenizer("char", add_bos=True)
    tokenizer.chat_template = "{{ bos_token }}" + str(tokenizer.chat_template)
    messages = [{"role": "user", "content": "Who?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer.encode(text)[:2] == [BOS, BOS]

    encoded = Encoder(tokenizer).encode(Record(id="1", prompt="Who?", answer="Ada"))
    assert (encoded.prompt_ids + encoded.answer_ids).count(BOS) == 1
