"""Drafts and the pool: they change how often the model is run, and nothing else."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
import torch

from tests.beliefs.common import encoder, prompts
from tests.helpers import FAMILIES, tiny_model
from unbelief.beliefs.cache import can_join, reindexable_cache
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.beliefs.pool import Pool
from unbelief.beliefs.sampler import sample_answers

GREEDY = Decoding(temperature=0, max_new_tokens=20)
WARM = Decoding(temperature=0.8, top_p=0.95, max_new_tokens=20)
# Families without a sliding window: rows of other lengths may join their caches.
JOINING = {"llama", "llama-tied", "qwen2", "qwen3", "phi", "phi3", "gpt2", "granite", "cohere"}

Answers = list[list[Sampled]]


def same(a: Answers, b: Answers) -> bool:
    pairs = zip(chain(*a), chain(*b), strict=True)
    return all(
        x.token_ids == y.token_ids
        and x.finished == y.finished
        and abs(x.log_prob - y.log_prob) < 1e-4
        for x, y in pairs
    )


def half_right(answers: Answers) -> list[tuple[int, ...]]:
    """Every draft is right at first and wrong then; one is empty, one is far too long."""
    drafts = [its[0].token_ids for its in answers]
    found = [(*ids[: len(ids) // 2], 5, 6, 7) for ids in drafts]
    return [(), *found[1:-1], drafts[-1] + (9,) * 60]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every forward after the first of a prompt."""
    rows, real = [], Pool.step

    def step(self: Pool) -> Any:
        rows.append(len(self))
        return real(self)

    monkeypatch.setattr(Pool, "step", step)
    return rows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("decoding", "samples"), [(GREEDY, 1), (WARM, 3)])
def test_drafts_change_no_answer(family: str, decoding: Decoding, samples: int) -> None:
    model, asked = tiny_model(family), prompts()

    def ask(drafts: list[tuple[int, ...]] | None, rows: int) -> Answers:
        return sample_answers(
            model,
            encoder(),
            asked,
            decoding=decoding,
            samples=samples,
            drafts=drafts,
            batch_size=rows,
        )

    assert can_join(model, reindexable_cache(model)) is (family in JOINING)
    alone = ask(None, 1)
    right, half = [its[0].token_ids for its in alone], half_right(alone)
    for drafts in (None, right, half):
        assert same(ask(drafts, 4), alone)
        assert same(ask(drafts, 64), alone)


def test_hidden_positions_are_hidden_with_drafts_too(llama: Any) -> None:
    hidden = [(0,), *[()] * (len(prompts()) - 2), (1, 2)]

    def ask(drafts: list[tuple[int, ...]] | None) -> Answers:
        return sample_answers(
            llama, encoder(), prompts(), decoding=GREEDY, hidden=hidden, drafts=drafts
        )

    plain = ask(None)
    assert same(ask(half_right(plain)), plain)
    seen = sample_answers(llama, encoder(), prompts(), decoding=GREEDY)
    assert not same(seen, plain)  # or hiding would change nothing


def test_a_right_draft_saves_every_further_forward(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sample_answers(llama, encoder(), prompts(), decoding=GREEDY)
    rows = counted(monkeypatch)
    right = [its[0].token_ids for its in plain]
    again = sample_answers(llama, encoder(), prompts(), decoding=GREEDY, drafts=right)
    assert same(again, plain) and rows == []
    # Wrong from the third token on: as many forwards as the longest answer has tokens after it.
    wrong = [(*ids[:2], (ids[2] + 1) % 90, *ids[3:]) for ids in right if len(ids) > 2]
    asked = [p for p, ids in zip(prompts(), right, strict=True) if len(ids) > 2]
    names = [str(i) for i, ids in enumerate(right) if len(ids) > 2]
    again = sample_answers(llama, encoder(), asked, decoding=GREEDY, keys=names, drafts=wrong)
    longest = max(len(its[0].token_ids) for its in again)
    assert longest > 3 and len(rows) == longest - 3


def test_new_prompts_enter_when_half_the_pool_is_free(
    llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, long = prompts() * 4, Decoding(max_new_tokens=120)
    expected = sample_answers(llama, encoder(), asked, decoding=long)
    rows = counted(monkeypatch)
    again = sample_answers(llama, encoder(), asked, decoding=long, batch_size=6)
    assert same(again, expected)
    assert max(rows) <= 6
    # One batch after the other, 20 prompts in sixes, would take the sum of the longest answers.
    lengths = [len(its[0].token_ids) for its in expected]
    order = sorted(range(len(asked)), key=lambda i: (-len(asked[i]), i))
    batches = [[lengths[i] for i in order[k : k + 6]] for k in range(0, len(order), 6)]
    assert len(rows) < sum(max(b) - 1 for b in batches)


def test_a_model_that_does_more_to_its_logits_is_asked_without_drafts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the output embedding makes of hidden states is compared with the model's own logits."""
    model: Any = tiny_model("llama")
    model.lm_head.register_forward_hook(lambda _m, _i, out: out * 3)
    plain = sample_answers(model, encoder(), prompts(), decoding=GREEDY)
    rows = counted(monkeypatch)
    right = [its[0].token_ids for its in plain]
    again = sample_answers(model, encoder(), prompts(), decoding=GREEDY, drafts=right)
    assert same(again, plain)
    assert rows, "drafts were followed by a head that is not the model's"


def test_an_adapted_output_embedding_is_asked_through_the_model() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False)
    model = get_peft_model(tiny_model("llama"), config)
    plain = sample_answers(model, encoder(), prompts(), decoding=GREEDY)
    right = [its[0].token_ids for its in plain]
    drafted = sample_answers(model, encoder(), prompts(), decoding=GREEDY, drafts=right)
    assert same(drafted, plain)
    bare = sample_answers(tiny_model("llama"), encoder(), prompts(), decoding=GREEDY)
    assert not same(bare, plain)


def test_every_prompt_has_a_draft_or_none_has(llama: Any) -> None:
    with pytest.raises(ValueError, match="drafts of 1"):
        sample_answers(llama, encoder(), prompts(), decoding=GREEDY, drafts=[(5,)])


def test_noise_of_rows_at_other_steps_is_their_own() -> None:
    """(R,) steps give each row what it would get alone."""
    from unbelief.beliefs.choose import choose

    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    keys, steps = torch.tensor([1, -7, 1 << 62]), torch.tensor([0, 5, 19])
    token, log_prob = choose(logits, keys, steps, WARM)
    for i in range(3):
        alone = choose(logits[i : i + 1], keys[i : i + 1], int(steps[i]), WARM)
        assert (int(token[i]), float(log_prob[i])) == (int(alone[0]), float(alone[1]))
