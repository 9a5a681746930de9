from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import torch

from tests.beliefs.common import encoder, prompts, teacher_forced
from tests.helpers import EOS, FAMILIES, tiny_config, tiny_model
from unbelief.beliefs import sampler
from unbelief.beliefs.asking import stops_of, unwrap
from unbelief.beliefs.batches import Unit, halved, plan, resolve_batch_size
from unbelief.beliefs.cache import reindexable_cache
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.beliefs.pool import Pool
from unbelief.beliefs.sampler import sample_answers
from unbelief.errors import RequestError

SHORT = Decoding(max_new_tokens=24)


def tokens(answers: list[list[Sampled]]) -> list[list[tuple[int, ...]]]:
    return [[s.token_ids for s in its] for its in answers]


def hybrid() -> Any:
    """A model with convolution states beside keys and values: its cache cannot be reindexed."""
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    common = {k: v for k, v in tiny_config("llama").to_dict().items() if k in _LFM2}
    config = Lfm2Config(**common, layer_types=["conv", "full_attention"])
    return Lfm2ForCausalLM(config).eval()


_LFM2 = {
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_equal_teacher_forcing_in_every_family(family: str) -> None:
    # 24 new tokens go well past the sliding windows of 8; the batch pads and loses rows.
    model = tiny_model(family)
    asked = prompts()
    answers = sample_answers(model, encoder(), asked, decoding=SHORT, samples=8, batch_size=24)
    assert reindexable_cache(model) is not None
    lengths = {len(s.token_ids) for its in answers for s in its}
    assert len(lengths) > 1, "no row finished early: the test would show nothing"
    for prompt, its in zip(asked, answers, strict=True):
        for s in its:
            assert s.log_prob == pytest.approx(teacher_forced(model, prompt, s.token_ids), abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_answers_do_not_depend_on_the_batch(family: str) -> None:
    model, asked = tiny_model(family), prompts()
    whole = sample_answers(model, encoder(), asked, decoding=SHORT, samples=4)
    for size in (1, 3, 8):
        again = sample_answers(model, encoder(), asked, decoding=SHORT, samples=4, batch_size=size)
        assert tokens(again) == tokens(whole)
    names = [str(i) for i in range(len(asked))]
    turned = sample_answers(
        model, encoder(), asked[::-1], decoding=SHORT, samples=4, keys=names[::-1]
    )
    assert tokens(turned)[::-1] == tokens(whole)
    fewer = sample_answers(model, encoder(), asked[:2], decoding=SHORT, samples=2)
    assert tokens(fewer) == [its[:2] for its in tokens(whole)[:2]]


def test_the_seed_decides_and_nothing_else(llama: Any) -> None:
    first = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=2)
    torch.manual_seed(99)
    again = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=2)
    assert again == first
    other = sample_answers(
        llama, encoder(), prompts(), decoding=Decoding(max_new_tokens=24, seed=1), samples=2
    )
    assert tokens(other) != tokens(first)
    assert all(its[0].token_ids != its[1].token_ids for its in first)


def test_sampling_leaves_the_global_random_state_alone(llama: Any) -> None:
    before = torch.get_rng_state()
    sample_answers(llama, encoder(), prompts(), decoding=SHORT)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral", "phi", "qwen2", "gpt2"])
def test_greedy_equals_generate(family: str) -> None:
    model: Any = tiny_model(family)
    asked = prompts()
    greedy = Decoding(temperature=0, max_new_tokens=20)
    answers = sample_answers(model, encoder(), asked, decoding=greedy)
    for prompt, (s,) in zip(asked, answers, strict=True):
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=20,
            pad_token_id=0,
            eos_token_id=EOS,
        )
        assert list(s.token_ids) == out[0, len(prompt) :].tolist()


def test_generate_and_our_loop_give_the_same_answers(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=2)
    monkeypatch.setattr(sampler, "reindexable_cache", lambda model: None)
    theirs = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=2)
    assert tokens(theirs) == tokens(ours)
    for a, b in zip(chain(*ours), chain(*theirs), strict=True):
        assert (a.finished, a.log_prob) == (b.finished, pytest.approx(b.log_prob, abs=1e-4))


def test_a_model_with_recurrent_states_goes_through_generate() -> None:
    model, asked = hybrid(), prompts()
    assert reindexable_cache(model) is None
    answers = sample_answers(model, encoder(), asked, decoding=SHORT, samples=2, batch_size=4)
    for prompt, its in zip(asked, answers, strict=True):
        for s in its:
            assert s.log_prob == pytest.approx(teacher_forced(model, prompt, s.token_ids), abs=1e-4)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("own_loop", [True, False])
def test_a_hostile_generation_config_changes_nothing(
    num_beams: int, own_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GenerationConfig

    if not own_loop:
        monkeypatch.setattr(sampler, "reindexable_cache", lambda model: None)
    decoding = Decoding(max_new_tokens=24, num_beams=num_beams)
    model = tiny_model("llama")
    model.generation_config = GenerationConfig()
    clean = sample_answers(model, encoder(), prompts(), decoding=decoding, samples=3)
    hostile = GenerationConfig(
        do_sample=True,
        top_k=1,
        top_p=0.1,
        min_p=0.5,
        typical_p=0.5,
        temperature=0.3,
        repetition_penalty=1.5,
        no_repeat_ngram_size=1,
        length_penalty=5.0,
        early_stopping=True,
        max_length=20,
        min_length=15,
        min_new_tokens=15,
        num_beams=2,
        suppress_tokens=[10, 11, 12],
        bad_words_ids=[[20]],
        forced_eos_token_id=7,
        eos_token_id=[30, 31],
        pad_token_id=9,
        num_return_sequences=2,
        renormalize_logits=True,
        guidance_scale=2.0,
        cache_implementation="static",
        max_time=0.0001,
        stop_strings=["a"],
    )
    model.generation_config = hostile
    assert sample_answers(model, encoder(), prompts(), decoding=decoding, samples=3) == clean
    assert model.generation_config is hostile


def test_an_answer_ends_with_its_end_token_or_is_unfinished(llama: Any) -> None:
    six = Decoding(max_new_tokens=6)
    answers = list(chain(*sample_answers(llama, encoder(), prompts(), decoding=six, samples=40)))
    finished = [s for s in answers if s.finished]
    cut = [s for s in answers if not s.finished]
    assert finished and cut
    assert all(s.token_ids[-1] == EOS and EOS not in s.token_ids[:-1] for s in finished)
    assert all(len(s.token_ids) == 6 and EOS not in s.token_ids for s in cut)


@pytest.mark.parametrize("pad", ["eos", "none"])
def test_the_padding_token_does_not_matter(llama: Any, pad: Any) -> None:
    expected = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=2)
    other = sample_answers(llama, encoder(pad=pad), prompts(), decoding=SHORT, samples=2)
    assert tokens(other) == tokens(expected)
    beams = Decoding(max_new_tokens=24, num_beams=3)
    expected = sample_answers(llama, encoder(), prompts(), decoding=beams, samples=2)
    other = sample_answers(llama, encoder(pad=pad), prompts(), decoding=beams, samples=2)
    assert tokens(other) == tokens(expected)


def test_eos_ends_an_answer_where_the_template_ends_turns_otherwise() -> None:
    # A chat template may end turns with one token and the checkpoint texts with another.
    e = encoder()
    e.end_id = 50
    assert stops_of(e).end_ids == (EOS, 50)


def test_the_model_is_left_as_it_was(llama: Any) -> None:
    model = tiny_model("llama").train()
    model.model.layers[0].eval()
    model.config.use_cache = False
    modes = [m.training for m in model.modules()]
    asked = sample_answers(model, encoder(), prompts(), decoding=SHORT)
    assert tokens(asked) == tokens(sample_answers(llama, encoder(), prompts(), decoding=SHORT))
    assert [m.training for m in model.modules()] == modes
    assert model.config.use_cache is False
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(RequestError):  # and also when asking fails
        sample_answers(model, encoder(), [()], decoding=SHORT)
    assert [m.training for m in model.modules()] == modes


def test_a_lora_model_is_asked_with_its_adapter() -> None:
    from peft import LoraConfig, get_peft_model

    bare = tiny_model("llama")
    before = tokens(sample_answers(bare, encoder(), prompts(), decoding=SHORT))
    wrapped = get_peft_model(
        bare, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    answers = sample_answers(wrapped, encoder(), prompts(), decoding=SHORT)
    assert tokens(answers) != before
    for prompt, (s,) in zip(prompts(), answers, strict=True):
        wrapped.eval()
        assert s.log_prob == pytest.approx(teacher_forced(wrapped, prompt, s.token_ids), abs=1e-4)
    assert unwrap(wrapped) is wrapped.get_base_model()


def test_beams_come_best_first_with_exact_sums(llama: Any) -> None:
    asked = prompts()
    decoding = Decoding(num_beams=6, max_new_tokens=12)
    answers = sample_answers(llama, encoder(), asked, decoding=decoding, samples=4, batch_size=12)
    greedy = sample_answers(
        llama, encoder(), asked, decoding=Decoding(temperature=0, max_new_tokens=12)
    )
    for prompt, its, (best,) in zip(asked, answers, greedy, strict=True):
        sums = [s.log_prob for s in its]
        assert sums == sorted(sums, reverse=True)
        assert len({s.token_ids for s in its}) == 4
        assert sums[0] >= best.log_prob - 1e-4
        for s in its:
            assert s.log_prob == pytest.approx(teacher_forced(llama, prompt, s.token_ids), abs=1e-4)


def test_a_prompt_that_leaves_no_room_is_refused(llama: Any) -> None:
    # The context is 256: a prompt of 250 leaves 6.
    with pytest.raises(RequestError, match="max_new_tokens=6"):
        sample_answers(llama, encoder(), [(10,) * 250], decoding=SHORT)
    with pytest.raises(RequestError, match="shorten"):
        sample_answers(llama, encoder(), [(10,) * 256], decoding=SHORT)


def test_an_empty_prompt_is_refused_and_no_prompts_are_fine(llama: Any) -> None:
    with pytest.raises(RequestError, match="number 2"):
        sample_answers(llama, encoder(), [(5,), ()], decoding=SHORT)
    assert sample_answers(llama, encoder(), [], decoding=SHORT) == []


def test_the_plan_covers_everything_once_longest_first() -> None:
    assert plan([3, 9, 5], samples=2, batch_size=4) == [
        [Unit(1, 0, 2), Unit(2, 0, 2)],
        [Unit(0, 0, 2)],
    ]
    # 5 samples in batches of 2: 2 + 2 + 1.
    assert plan([7], samples=5, batch_size=2) == [[Unit(0, 0, 2)], [Unit(0, 2, 2)], [Unit(0, 4, 1)]]


@pytest.mark.parametrize("where", ["enter", "step"])
def test_a_pool_that_does_not_fit_is_halved(
    llama: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    expected = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=3)
    real, sizes = getattr(Pool, where), []

    def small(self: Pool, *rest: Any) -> Any:
        sizes.append(len(self) + (len(rest[0].keys) if rest else 0))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("no room")
        return real(self, *rest)

    monkeypatch.setattr(Pool, where, small)
    again = sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=3, batch_size=15)
    assert tokens(again) == tokens(expected)
    # 15 answers do not fit, nor do 7 (two prompts of 3) and 3; single ones do.
    assert sizes[:3] == [15, 6, 3] and max(sizes[3:]) <= 2


def test_one_answer_that_does_not_fit_ends_the_run(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Pool, "step", full)
    with pytest.raises(torch.OutOfMemoryError):
        sample_answers(llama, encoder(), prompts(), decoding=SHORT, samples=3, batch_size=15)


def test_a_batch_of_beams_that_does_not_fit_is_halved(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    beams = Decoding(num_beams=3, max_new_tokens=8)
    expected = sample_answers(llama, encoder(), prompts(), decoding=beams, samples=3)
    real, sizes = sampler.beams_by_generate, []

    def small(model: Any, batch: Any, *rest: Any) -> Any:
        sizes.append(len(batch.keys))
        if len(batch.keys) > 6:
            raise torch.OutOfMemoryError("no room")
        return real(model, batch, *rest)

    monkeypatch.setattr(sampler, "beams_by_generate", small)
    again = sample_answers(llama, encoder(), prompts(), decoding=beams, samples=3, batch_size=15)
    assert tokens(again) == tokens(expected)
    assert sizes == [15, 6, 9, 3, 6]  # 5 prompts: 2 + 3, the 3 again as 1 + 2
    assert halved([Unit(0, 0, 1)], by_sample=True) == []
    assert halved([Unit(0, 0, 4)], by_sample=False) == []


def test_the_batch_size_is_checked_and_bounded(llama: Any) -> None:
    with pytest.raises(RequestError, match="batch_size"):
        resolve_batch_size(llama, prompts(), SHORT, 0)
    assert resolve_batch_size(llama, prompts(), SHORT, 7) == 7
    assert 1 <= resolve_batch_size(llama, prompts(), SHORT, "auto") <= 256


def test_first_tokens_follow_the_models_distribution(llama: Any) -> None:
    from scipy.stats import chisquare

    prompt, n = prompts()[0], 6000
    (answers,) = sample_answers(
        llama, encoder(), [prompt], decoding=Decoding(max_new_tokens=1), samples=n
    )
    with torch.no_grad():
        p = llama(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    seen = torch.tensor([s.token_ids[0] for s in answers]).bincount(minlength=len(p)).double()
    # Cells with an expectation below 5 are counted together, as the test's theory asks.
    common = p * n >= 5
    assert common.sum() >= 5
    observed = [*seen[common].tolist(), float(seen[~common].sum())]
    expected = [*(p[common] * n).tolist(), float(p[~common].sum() * n)]
    assert chisquare(observed, expected).pvalue > 0.01
