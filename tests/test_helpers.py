from __future__ import annotations

import pytest
import torch

from tests.helpers import (
    ASSISTANT,
    BOS,
    EOS,
    FAMILIES,
    USER,
    VOCABULARY,
    tiny_model,
    tiny_tokenizer,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_tiny_seeded_and_finite(family: str) -> None:
    model = tiny_model(family)
    assert sum(p.numel() for p in model.parameters()) < 100_000
    ids = torch.arange(7, 19)[None]
    logits = model(ids).logits
    assert logits.shape == (1, 12, VOCABULARY)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, tiny_model(family)(ids).logits)
    assert not torch.equal(logits, tiny_model(family, seed=1)(ids).logits)


def test_the_families_differ_where_a_hand_called_head_goes_wrong() -> None:
    ids = torch.arange(7, 19)[None]
    for family in ("gemma2", "granite", "cohere"):
        model = tiny_model(family)
        hidden = model.model(ids).last_hidden_state
        assert (model.lm_head(hidden) - model(ids).logits).abs().max() > 0.05, family
    assert tiny_model("phi").lm_head.bias.abs().max() > 0.05
    tied = tiny_model("llama-tied")
    assert tied.lm_head.weight is tied.model.embed_tokens.weight


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_character_tokenizers_round_trip(kind: str) -> None:
    tokenizer = tiny_tokenizer(kind)
    text = "Who is it?\nAnswer: the inn."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer) <= VOCABULARY


def test_word_tokenizer_and_variants() -> None:
    word = tiny_tokenizer("word", chat=False, pad="eos", add_bos=True)
    ids = word.encode("Ada was born in Paris .")
    assert ids[0] == BOS
    assert word.decode(ids, skip_special_tokens=True) == "Ada was born in Paris ."
    assert word.pad_token_id == word.eos_token_id == EOS
    assert word.chat_template is None
    assert tiny_tokenizer(pad="none").pad_token_id is None


def test_chat_template_marks_the_roles_and_ends_the_answer() -> None:
    tokenizer = tiny_tokenizer("char")
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ids = tokenizer.apply_chat_template(messages, return_dict=False)
    a, b = tokenizer.convert_tokens_to_ids(["a", "b"])
    assert ids == [USER, a, ASSISTANT, b, EOS]
