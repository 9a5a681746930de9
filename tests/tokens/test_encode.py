"""Records to token ids: the boundary is exact, templates are obeyed, nothing is added twice."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import ASSISTANT, BOS, CHAT_TEMPLATE, EOS, PAD, SYSTEM, USER, tiny_tokenizer

from unbelief.errors import DataError, RequestError
from unbelief.tokens import Encoder, Row, collate
from unbelief.types import Message, Record

IM_END = "<|im_end|>"
QWEN_LIKE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def char_ids(text: str) -> tuple[int, ...]:
    """One id per character of the `char` tokenizer."""
    return tuple(tiny_tokenizer("char").convert_tokens_to_ids(list(text)))


def record(prompt: Any = "Who?", answer: str = "Ada") -> Record:
    return Record(id="r", prompt=prompt, answer=answer, source="forget.jsonl:3")


def with_template(template: str, **options: Any) -> Any:
    tokenizer = tiny_tokenizer("char", **options)
    tokenizer.chat_template = template
    return tokenizer


# Chat templates


def test_prompt_and_answer_make_up_the_rendered_conversation() -> None:
    tokenizer = tiny_tokenizer("char")
    encoded = Encoder(tokenizer).encode(record())
    assert encoded.prompt_ids == (USER, *char_ids("Who?"), ASSISTANT)
    assert encoded.answer_ids == (*char_ids("Ada"), EOS)
    conversation = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ada"},
    ]
    whole = tokenizer.apply_chat_template(conversation, return_dict=False)
    assert list(encoded.prompt_ids + encoded.answer_ids) == whole


def test_conversations_keep_their_turns() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    encoded = Encoder(tiny_tokenizer("char")).encode(record(turns, "d"))
    a, b, c, d = char_ids("abcd")
    assert encoded.prompt_ids == (USER, a, ASSISTANT, b, EOS, USER, c, ASSISTANT)
    assert encoded.answer_ids == (d, EOS)


def test_system_prompt_stands_first_unless_the_conversation_has_one() -> None:
    encoder = Encoder(tiny_tokenizer("char"), system_prompt="s")
    s, t, u = char_ids("stu")
    assert encoder.encode_prompt("u") == (SYSTEM, s, USER, u, ASSISTANT)
    own = (Message("system", "t"), Message("user", "u"))
    assert encoder.encode_prompt(own) == (SYSTEM, t, USER, u, ASSISTANT)


@pytest.mark.parametrize("add_bos", [True, False])
def test_bos_comes_from_the_template_alone(add_bos: bool) -> None:
    tokenizer = with_template("{{ bos_token }}" + CHAT_TEMPLATE, add_bos=add_bos)
    ids = Encoder(tokenizer).encode(record()).prompt_ids
    assert ids[:2] == (BOS, USER) and ids.count(BOS) == 1


def test_only_the_first_token_after_the_answer_ends_it() -> None:
    # The turn ends with <|im_end|> and a newline; generation stops at <|im_end|>, which is not eos.
    tokenizer = with_template(QWEN_LIKE)
    tokenizer.add_special_tokens({"extra_special_tokens": [IM_END]})
    im_end = tokenizer.convert_tokens_to_ids(IM_END)
    encoder = Encoder(tokenizer)
    assert encoder.end_id == im_end != EOS
    assert encoder.encode(record()).answer_ids == (*char_ids("Ada"), im_end)


def test_an_added_token_that_is_not_special_ends_the_answer_too() -> None:
    tokenizer = with_template(QWEN_LIKE)
    tokenizer.add_tokens([IM_END])
    assert Encoder(tokenizer).end_id == tokenizer.convert_tokens_to_ids(IM_END)


@pytest.mark.parametrize(
    "ending",
    ["\n### ", "", "{% if false %}{{ messages[-1]['content'] }}{% endif %}"],
    ids=["plain text", "nothing", "nothing rendered"],
)
def test_templates_without_an_end_token_take_eos(ending: str) -> None:
    body = "{{ m['content'] }}" if "messages" not in ending else "x"
    template = "{% for m in messages %}" + body + ending + "{% endfor %}"
    assert Encoder(with_template(template)).end_id == EOS


def test_templates_that_strip_do_so_to_prompts_only() -> None:
    tokenizer = with_template(
        CHAT_TEMPLATE.replace("message['content']", "message['content']|trim")
    )
    encoder = Encoder(tokenizer)
    assert encoder.encode_prompt("  Who?\n") == (USER, *char_ids("Who?"), ASSISTANT)
    # The answer is what is to be forgotten, character by character: it never meets the template.
    assert encoder.encode(record(answer=" Ada ")).answer_ids == (*char_ids(" Ada "), EOS)
    assert encoder.end_id == EOS


def test_a_template_that_refuses_a_conversation_is_reported_with_the_row() -> None:
    refusing = (
        "{% for m in messages %}{% if m['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(RequestError, match="System role not supported") as caught:
        Encoder(with_template(refusing), system_prompt="s")
    assert "system_prompt" in (caught.value.remedy or "")
    encoder = Encoder(with_template(refusing))
    with pytest.raises(DataError, match="refuses a conversation of system, user") as row:
        encoder.encode(record((Message("system", "s"), Message("user", "u"))))
    assert row.value.where == "forget.jsonl:3"


def test_auto_takes_the_template_where_there_is_one() -> None:
    assert Encoder(tiny_tokenizer("char", chat=True)).chat
    assert not Encoder(tiny_tokenizer("char", chat=False)).chat
    assert not Encoder(tiny_tokenizer("char", chat=True), template="plain").chat
    with pytest.raises(RequestError, match="no chat template"):
        Encoder(tiny_tokenizer("char", chat=False), template="chat")


def test_a_system_prompt_is_never_dropped_silently() -> None:
    with pytest.raises(RequestError, match="system prompt needs a chat template"):
        Encoder(tiny_tokenizer("char", chat=False), system_prompt="Be kind.")


# Plain text


@pytest.mark.parametrize(
    ("prompt", "answer", "scored"),
    [
        ("Who?", "Ada", " Ada"),  # one space where neither side brings white space
        ("Who? ", "Ada", "Ada"),
        ("Who?\n", "Ada", "Ada"),
        ("Who?", " Ada", " Ada"),
        ("Who?", "\nAda", "\nAda"),
        ("", "Ada", "Ada"),
    ],
)
def test_plain_answers_are_joined_by_one_space_at_most(
    prompt: str, answer: str, scored: str
) -> None:
    encoder = Encoder(tiny_tokenizer("char", chat=False))
    encoded = encoder.encode(record(prompt, answer))
    assert encoded.prompt_ids == char_ids(prompt)
    assert encoded.answer_ids == (*char_ids(scored), EOS)


def test_plain_conversations_are_lines() -> None:
    turns = (Message("system", "s"), Message("user", "u"))
    encoder = Encoder(tiny_tokenizer("char", chat=False))
    assert encoder.encode_prompt(turns) == char_ids("s\nu")


def test_plain_prompts_have_the_bos_their_tokenizer_adds() -> None:
    encoder = Encoder(tiny_tokenizer("char", chat=False, add_bos=True))
    assert encoder.encode_prompt("Who?") == (BOS, *char_ids("Who?"))
    assert encoder.encode(record()).answer_ids.count(BOS) == 0
    without = Encoder(tiny_tokenizer("char", chat=False, add_bos=False))
    assert without.encode_prompt("Who?") == char_ids("Who?")


def test_another_answer_has_the_same_prompt() -> None:
    encoder = Encoder(tiny_tokenizer("bpe", chat=False))
    own, other = encoder.encode(record()), encoder.encode(record(), answer="the inn")
    assert own.prompt_ids == other.prompt_ids
    assert encoder.decode(other.answer_ids) == " the inn"


# Text-only records


def test_a_prompt_is_rendered_once_for_answers_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, asked = Encoder(tiny_tokenizer()), []
    plain = Encoder.encode_prompt
    monkeypatch.setattr(
        Encoder, "encode_prompt", lambda self, prompt: asked.append(prompt) or plain(self, prompt)
    )
    rows = [(record(p), a) for p, a in (("Who?", "Ada"), ("Who?", "Bob"), ("Where?", "Rome"))]
    found = [encoder.encode(its, answer=a) for its, a in (*rows, rows[0])]
    assert asked == ["Who?", "Where?", "Who?"]  # the last one only is remembered
    prompts = [plain(encoder, p) for p in ("Who?", "Who?", "Where?", "Who?")]
    assert [encoded.prompt_ids for encoded in found] == prompts


@pytest.mark.parametrize("chat", [True, False])
def test_documents_are_all_answer(chat: bool) -> None:
    encoder = Encoder(tiny_tokenizer("char", chat=chat, add_bos=True))
    encoded = encoder.encode(record(None, "Ada was"))
    assert encoded.prompt_ids == (BOS,)
    assert encoded.answer_ids == (*char_ids("Ada was"), EOS)
    row = Row("d", "target", encoded.prompt_ids, encoded.answer_ids)
    assert row.n_scored == 8  # every character and the end: BOS predicts the first


def test_a_document_without_bos_loses_its_first_token_only() -> None:
    encoded = Encoder(tiny_tokenizer("char", chat=False)).encode(record(None, "Ada"))
    assert encoded.prompt_ids == ()
    assert Row("d", "target", (), encoded.answer_ids).n_scored == 3  # "d", "a" and the end


# End token, length, emptiness


def test_the_end_token_belongs_to_the_answer_unless_it_is_left_out() -> None:
    encoder = Encoder(tiny_tokenizer("char"), end_token=False)
    assert encoder.encode(record()).answer_ids == char_ids("Ada")
    assert encoder.end_id == EOS  # still what ends a generation
    assert encoder.describe() == {
        "template": "chat",
        "system_prompt": None,
        "end_token_scored": False,
        "end_token_id": EOS,
        "max_length": None,
    }


def test_a_tokenizer_without_end_token_adds_none() -> None:
    tokenizer = tiny_tokenizer("char", chat=False, pad="none")
    tokenizer.eos_token = None
    encoder = Encoder(tokenizer)
    assert encoder.end_id is None
    assert encoder.pad_id == 0
    assert encoder.encode(record()).answer_ids == char_ids(" Ada")


@pytest.mark.parametrize(
    ("max_length", "answer", "truncated"),
    [(8, " Ada", False), (9, " Ada", False), (7, " Ad", True), (5, " ", True)],
)
def test_long_answers_are_cut_and_flagged(max_length: int, answer: str, truncated: bool) -> None:
    # "Who?" has 4 tokens, " Ada" 4; without end token nothing else is added.
    encoder = Encoder(tiny_tokenizer("char", chat=False), end_token=False, max_length=max_length)
    encoded = encoder.encode(record())
    assert encoded.answer_ids == char_ids(answer)
    assert encoded.truncated is truncated


def test_a_cut_answer_has_no_end_token() -> None:
    encoded = Encoder(tiny_tokenizer("char", chat=False), max_length=8).encode(record())
    assert encoded.truncated and EOS not in encoded.answer_ids


@pytest.mark.parametrize(
    ("prompt", "answer", "options", "message"),
    [
        ("Who?", "", {}, "the answer has no tokens"),
        ("Who?", "Ada", {"max_length": 4}, "the prompt alone has 4 tokens, the limit is 4"),
        (None, "A", {"end_token": False}, "single token with nothing before it"),
        (None, "Ada", {"max_length": 1}, "single token with nothing before it"),
    ],
)
def test_rows_without_a_scored_token_are_refused_by_name(
    prompt: str | None, answer: str, options: dict[str, Any], message: str
) -> None:
    encoder = Encoder(tiny_tokenizer("char", chat=False), **options)
    with pytest.raises(DataError, match=message) as caught:
        encoder.encode(record(prompt, answer))
    assert caught.value.where == "forget.jsonl:3" and caught.value.remedy


@pytest.mark.parametrize(("pad", "pad_id"), [("own", PAD), ("eos", EOS), ("none", EOS)])
def test_masks_are_true_masks_whatever_pads(pad: Any, pad_id: int) -> None:
    encoder = Encoder(tiny_tokenizer("char", chat=False, pad=pad))
    assert encoder.pad_id == pad_id
    encoded = [encoder.encode(record("W", answer)) for answer in ("Ada", "A")]
    batch = collate(
        [Row(str(i), "target", e.prompt_ids, e.answer_ids) for i, e in enumerate(encoded)], pad_id
    )
    # "W Ada" and its end are 6 tokens, "W A" and its end 4: ends are seen, padding is not.
    assert batch.attention_mask.tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert batch.input_ids[:, -3:].tolist() == [[*char_ids("da"), EOS], [EOS, pad_id, pad_id]]


def test_decoding_leaves_special_tokens_out() -> None:
    encoder = Encoder(tiny_tokenizer("char"))
    encoded = encoder.encode(record())
    assert encoder.decode(encoded.prompt_ids + encoded.answer_ids) == "Who?Ada"
