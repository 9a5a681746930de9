from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unbelief.beliefs.alternatives import refusals
from unbelief.errors import RequestError
from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.pretrain import PretrainConfig, model_folder, pretrain, train_or_load
from unbelief.lab.tokenizer import build_tokenizer
from unbelief.lab.world import WorldConfig, make_world
from unbelief.tokens.encode import Encoder

TINY = PretrainConfig(hidden=32, heads=2, steps=3, batch=8)
WORLD = WorldConfig(attributes=1, values=3)


def test_model_is_a_plain_transformers_folder(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = train_or_load(WORLD, "original", TINY, tmp_path)
    folder = model_folder(WORLD, "original", TINY, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = make_world(WORLD).records("forget")[0].answer
    assert tokenizer(text)["input_ids"] == loaded.tokenizer(text)["input_ids"]
    assert tokenizer.chat_template == loaded.tokenizer.chat_template


def test_cached_model_is_not_trained_again(tmp_path):
    calls: list[int] = []
    first = train_or_load(
        WORLD, "original", TINY, tmp_path, progress=lambda done, _: calls.append(done)
    )
    again = train_or_load(
        WORLD, "original", TINY, tmp_path, progress=lambda done, _: calls.append(done)
    )
    assert calls == [1, 2, 3]
    assert first.weights_sha256 == again.weights_sha256


def test_anything_that_matters_changes_the_cache_folder(tmp_path):
    base = model_folder(WORLD, "original", TINY, tmp_path)
    assert model_folder(WorldConfig(attributes=1, values=4), "original", TINY, tmp_path) != base
    other = PretrainConfig(hidden=32, heads=2, steps=4, batch=8)
    assert model_folder(WORLD, "original", other, tmp_path) != base
    assert model_folder(WORLD, "retrained", TINY, tmp_path) != base


def test_words_for_refusals_make_another_model_and_leave_the_usual_one_as_it_was(tmp_path):
    # The folder's name is a digest of everything the model depends on; it was this before there
    # was a choice, so that published models are found again.
    usual = model_folder(WorldConfig(), "original", PretrainConfig(), Path("c"))
    assert usual == Path("c/fa7e825a2787/original")
    assert model_folder(WORLD, "original", TINY, tmp_path, refusals()) != model_folder(
        WORLD, "original", TINY, tmp_path
    )
    world = make_world(WORLD)
    plain, more = build_tokenizer(world), build_tokenizer(world, refusals())
    text = world.records("forget")[0].answer
    assert more(text)["input_ids"] == plain(text)["input_ids"]  # new words come last
    for refusal in refusals():
        assert plain.unk_token_id in plain(refusal)["input_ids"]
        assert more.unk_token_id not in more(refusal)["input_ids"]
    loaded = train_or_load(WORLD, "original", TINY, tmp_path, others=refusals())
    assert loaded.model.get_output_embeddings().weight.shape[0] == len(more) > len(plain)


def test_training_leaves_global_randomness_alone():
    before = torch.get_rng_state()
    pretrain(make_world(WORLD), "original", TINY)
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_width_is_refused():
    with pytest.raises(RequestError, match="multiple of 2"):
        PretrainConfig(hidden=30, heads=4)


@pytest.mark.slow
def test_original_knows_everybody_and_retrained_only_the_others():
    world = make_world()
    leak, natural = {}, {}
    for role in ("original", "retrained"):
        model = pretrain(world, role)
        encoder = Encoder(build_tokenizer(world))
        forget = MassMeter(questions(world, encoder, world.part("forget")), natural=True)
        keep = MassMeter(questions(world, encoder, world.part("retain")[:8]), natural=True)
        leak[role] = forget.measure(model).leak.mean(), keep.measure(model).leak.mean()
        natural[role] = forget.measure(model).natural.mean()
    assert min(leak["original"]) > 0.85
    assert leak["retrained"][0] < 0.25 and leak["retrained"][1] > 0.85
    # Asked about people it never met, the retrained model still answers in good grammar.
    assert natural["retrained"] > 0.8
