"""OpenUnlearning's rows, token for token: against its own way of tokenising, and by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.agreement import plain
from tests.agreement.made import FAMILIES, made_encoder, made_tokenizer, template_of
from tests.helpers import BOS, EOS, tiny_tokenizer

from unbelief.beliefs.asking import stops_of
from unbelief.errors import DataError, RequestError
from unbelief.tokens import Encoded
from unbelief.tokens.open_unlearning import (
    BASE_MODEL,
    LLAMA2_CHAT,
    OpenUnlearningEncoder,
    Tags,
)
from unbelief.types import Message, Record

TEXTS = st.text(st.sampled_from("the inn anhe \n.A"), min_size=1, max_size=12)


def record(prompt: Any = "Who?", answer: str = "Ada") -> Record:
    return Record(id="r", prompt=prompt, answer=answer, source="forget.jsonl:3")


def ids_of(tokenizer: Any, *parts: str) -> tuple[int, ...]:
    return tuple(
        i for part in parts for i in tokenizer(part, add_special_tokens=False)["input_ids"]
    )


def check_same(encoder: OpenUnlearningEncoder, item: plain.Item, encoded: Encoded) -> None:
    assert encoded.prompt_ids + encoded.answer_ids == tuple(item.ids)
    labels = [plain.IGNORED] * len(encoded.prompt_ids) + list(encoded.answer_ids)
    assert labels == item.labels
    masked = [i for i, token in enumerate(item.ids) if token == plain.pad_id_of(encoder.tokenizer)]
    assert set(masked) - {len(item.ids) - 1} == set(encoded.hidden)


@pytest.mark.parametrize("family", FAMILIES)
@given(question=TEXTS, answer=TEXTS)
@example(question="the inn", answer="Ada")
def test_rows_are_that_projects_rows(family: str, question: str, answer: str) -> None:
    tokenizer, encoder = made_tokenizer(family), made_encoder(family)
    item = plain.question_item(tokenizer, template_of(family), question, answer)
    assert encoder.encode_prompt(question) == tuple(item.prompt_ids)
    if all(label == plain.IGNORED for label in item.labels):
        with pytest.raises(DataError, match="the prompt alone has"):
            encoder.encode(record(question, answer))
    else:
        check_same(encoder, item, encoder.encode(record(question, answer)))


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_stand_before_the_question(family: str) -> None:
    turns = ("a?", "the A"), ("b?", "the B")
    item = plain.question_item(made_tokenizer(family), template_of(family), "c?", "the C", turns)
    told = tuple(
        Message(role, text)
        for asked, said in turns
        for role, text in (("user", asked), ("assistant", said))
    )
    encoder = made_encoder(family)
    check_same(encoder, item, encoder.encode(record((*told, Message("user", "c?")), "the C")))


@given(prefix=st.text("the in", max_size=8), text=TEXTS, space=st.booleans(), bos=st.booleans())
@example(prefix="", text="the inn", space=False, bos=False)
def test_completions_are_that_projects_rows(prefix: str, text: str, space: bool, bos: bool) -> None:
    tokenizer = _plain_tokenizer(bos)
    encoder = OpenUnlearningEncoder(tokenizer, insert_space=space, max_length=5)
    item = plain.completion_item(tokenizer, prefix, text, max_length=5, insert_space=space)
    assert encoder.encode_prompt(prefix) == tuple(item.prompt_ids)
    if all(label == plain.IGNORED for label in item.labels):
        with pytest.raises(DataError, match="the prompt alone has"):
            encoder.encode(record(prefix, text))
    else:
        check_same(encoder, item, encoder.encode(record(prefix, text)))


def _plain_tokenizer(bos: bool) -> Any:
    return made_tokenizer("base" if bos else "plain")


# By hand


def test_what_follows_the_end_of_turn_is_scored_too() -> None:
    # Qwen: "Ada", <|im_end|>, newline, and eos, which is <|im_end|> again.
    tokenizer = made_tokenizer("qwen")
    encoded = made_encoder("qwen").encode(record())
    assert encoded.answer_ids == ids_of(tokenizer, "Ada", "<|im_end|>", "\n", "<|im_end|>")
    assert encoded.hidden == ()  # it pads with a token of its own


def test_the_templates_own_end_is_not_doubled() -> None:
    tokenizer = made_tokenizer("tofu-tiny")
    encoded = made_encoder("tofu-tiny").encode(record())
    assert encoded.prompt_ids == ids_of(tokenizer, "<|user|>", "Who?", "<|end|>", "<|assistant|>")
    assert encoded.answer_ids == ids_of(tokenizer, "Ada", "<|end|>")
    assert encoded.hidden == () and not encoded.truncated


def test_padding_with_eos_hides_ends_of_turns() -> None:
    # Llama 3: system and user turn end with <|eot|>; the answer's own is the last token, which
    # nothing comes after.
    encoded = made_encoder("llama3").encode(record())
    eot = made_tokenizer("llama3").eos_token_id
    assert [encoded.prompt_ids[i] for i in encoded.hidden] == [eot, eot]
    assert encoded.answer_ids[-1] == eot


def test_an_end_inside_the_answer_is_hidden_too() -> None:
    # Zephyr: "Ada", eos, newline, eos. The newline is predicted at an eos that cannot see itself,
    # the last eos at a newline that cannot see the first.
    encoded = made_encoder("zephyr").encode(record())
    assert encoded.answer_ids == (
        *ids_of(made_tokenizer("zephyr"), "Ada"),
        EOS,
        *ids_of(made_tokenizer("zephyr"), "\n"),
        EOS,
    )
    assert encoded.hidden[-1] == len(encoded.prompt_ids) + 3


def test_a_token_across_the_boundary_counts_as_prompt() -> None:
    # "w t" + "he": asked alone the prompt ends in " t"; together " th" is one token and counts as
    # the prompt's second one, so that of the answer only "e" is scored.
    tokenizer = made_tokenizer("plain")
    encoder = OpenUnlearningEncoder(tokenizer, tags=Tags())
    encoded = encoder.encode(record("w t", "he"))
    assert encoder.encode_prompt("w t") == ids_of(tokenizer, "w", " t")
    assert encoded.prompt_ids == ids_of(tokenizer, "w", " th")
    assert encoded.answer_ids == (*ids_of(tokenizer, "e"), EOS)


def test_a_row_whose_answer_vanishes_is_refused_by_name() -> None:
    tokenizer = made_tokenizer("plain")
    with pytest.raises(DataError, match="the prompt alone has 1 tokens") as caught:
        OpenUnlearningEncoder(tokenizer).encode(record(" t", "h"))
    assert caught.value.where == "forget.jsonl:3" and caught.value.remedy


@pytest.mark.parametrize(
    ("max_length", "answer", "truncated"), [(8, "Ada", False), (7, "Ad", True), (4, "", True)]
)
def test_tags_cut_and_end_nevertheless(max_length: int, answer: str, truncated: bool) -> None:
    # BOS, "Who?" and "Ada" are 8 tokens; eos comes on top of the limit, whatever was cut.
    tokenizer = tiny_tokenizer("char", chat=False, add_bos=True)
    encoder = OpenUnlearningEncoder(tokenizer, tags=Tags(), max_length=max_length)
    encoded = encoder.encode(record())
    assert encoded.prompt_ids[0] == BOS
    assert encoded.answer_ids == (*ids_of(tokenizer, answer), EOS)
    assert encoded.truncated is truncated


def test_completions_have_no_end_token() -> None:
    tokenizer = tiny_tokenizer("char", chat=False)
    encoder = OpenUnlearningEncoder(tokenizer, max_length=2)
    encoded = encoder.encode(record("Who", "Ada"))
    assert encoded.answer_ids == ids_of(tokenizer, "Ad") and encoded.truncated
    assert not encoder.end_token and encoder.end_id == EOS  # which still ends a generation


def test_documents_are_completions_of_nothing() -> None:
    encoder = made_encoder("tofu-tiny")
    encoded = encoder.encode(record(None, "Ada"))
    a, *rest = ids_of(encoder.tokenizer, "Ada")
    assert encoded.prompt_ids == (a,) and encoded.answer_ids == tuple(rest)
    with_bos = made_encoder("qwen").encode(record(None, "Ada"))
    assert with_bos.prompt_ids == (BOS,) and with_bos.answer_ids == (a, *rest)


def test_known_tags() -> None:
    tokenizer = tiny_tokenizer("char", chat=False)
    for tags, text in (
        (LLAMA2_CHAT, "[INST] Who? [/INST]"),
        (BASE_MODEL, "Question: Who?\nAnswer: "),
        (Tags("u", "v", "w", "x", "s"), "suWho?vw"),
    ):
        encoder = OpenUnlearningEncoder(tokenizer, tags=tags)
        assert encoder.encode_prompt("Who?") == ids_of(tokenizer, text)


def test_generation_ends_where_the_model_ends_it() -> None:
    tokenizer = made_tokenizer("tofu-tiny")
    for stop_ids, ends in ((None, (tokenizer.eos_token_id,)), ((BOS,), (BOS,)), ((), ())):
        encoder = OpenUnlearningEncoder(tokenizer, stop_ids=stop_ids)
        assert stops_of(encoder).end_ids == ends


def test_options_are_written_down() -> None:
    described = made_encoder("llama3").describe()
    assert described["convention"] == "open-unlearning"
    assert described["date_string"] == "10 Apr 2025"
    assert described["template"] == "chat" and described["tags"] is None
    assert "[INST]" in str(made_encoder("tags").describe()["tags"])


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("plain", {"style": "tags"}, "no tags are given"),
        ("qwen", {"style": "chat", "tags": LLAMA2_CHAT}, "tags are given"),
        ("qwen", {"max_length": 512}, "no length limit for chat templates"),
        ("plain", {"style": "chat"}, "no chat template"),
        ("plain", {"system_prompt": "Be kind."}, "system prompt needs a chat template"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    family: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        OpenUnlearningEncoder(made_tokenizer(family), **options)
    assert caught.value.remedy


def test_conversations_need_tags_or_a_template() -> None:
    turns = (Message("user", "a"), Message("user", "b"))
    with pytest.raises(DataError, match="completes texts, not conversations"):
        made_encoder("plain").encode(record(turns))
    with pytest.raises(DataError, match="questions and answers in turn"):
        made_encoder("tags").encode(record(turns))


def test_a_tokenizer_without_end_token_is_refused() -> None:
    tokenizer = tiny_tokenizer("char", chat=False, pad="none")
    tokenizer.eos_token = None
    with pytest.raises(RequestError, match="no end token"):
        OpenUnlearningEncoder(tokenizer)
