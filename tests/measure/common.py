"""Records, and measurements by their definitions: one unpadded row, full logits, no packing."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.beliefs.decoding import Decoding
from unbelief.measure.plan import Plan
from unbelief.measure.tables import AnswerNeed, Example, GradientNeed, TextNeed
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder
from unbelief.types import Record

OWN = AnswerNeed()
PARAPHRASES = AnswerNeed("paraphrase")
PERTURBED = AnswerNeed("perturbed")
CHOICES = AnswerNeed("choice")
OTHER_QUESTION = AnswerNeed("answer", "paraphrased")
ANSWERS = (OWN, PARAPHRASES, PERTURBED, CHOICES, OTHER_QUESTION)
GREEDY = TextNeed(Decoding(temperature=0.0, max_new_tokens=9))
SAMPLED = TextNeed(Decoding(max_new_tokens=6, seed=3), samples=3)
BEGUN = TextNeed(Decoding(temperature=0.0, max_new_tokens=5), prefix="She ")
NORM = GradientNeed()
ALL = (*ANSWERS, GREEDY, SAMPLED, BEGUN, NORM)


def record(i: int, **values: Any) -> Record:
    """A record that has everything; its texts have different lengths."""
    return Record(
        **{
            "id": f"r{i}",
            "prompt": f"Where was author {i} born{'?' * (i % 5)}",
            "answer": f"In {'Rome' * (1 + i % 3)}.",
            "group": f"g{i // 2}",
            "paraphrased_prompt": f"Author {i}: born where?",
            "paraphrases": ("It was Rome.",),
            "perturbed": tuple(f"In {city}." for city in ("Oslo", "Lima", "Kyoto")),
            "choices": ("Rome", "Oslo", "Cairo"),
            "correct_choice": 0,
            "source": f"a.jsonl:{i}",
            **values,
        }
    )


def records(n: int = 6) -> list[Record]:
    return [record(i) for i in range(n)]


def plan(n: int = 6, needs: Any = ALL) -> Plan:
    return Plan({"forget": records(n)}, {"forget": needs})


@cache
def encoder() -> Encoder:
    return Encoder(tiny_tokenizer())


def answer_model(family: str = "llama", seed: int = 0) -> AnswerModel:
    return AnswerModel(tiny_model(family, seed))


@torch.no_grad()
def by_definition(
    model: Any, prompt: tuple[int, ...], answer: tuple[int, ...], hidden: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """Statistics of one answer from the model's own logits."""
    ids = torch.tensor([prompt + answer])
    mask = torch.ones_like(ids)
    mask[0, list(hidden)] = 0
    positions = torch.arange(ids.shape[1])[None]
    masks = {"attention_mask": mask, "position_ids": positions} if hidden else {}
    first = max(len(prompt), 1)
    logp = model(ids, **masks).logits[0, first - 1 : -1].double().log_softmax(-1)
    target = ids[0, first:]
    mean = (logp.exp() * logp).sum(-1)
    return {
        "token_ids": target.numpy(),
        "logp": logp.gather(1, target[:, None])[:, 0].numpy(),
        "hit": (logp.argmax(-1) == target).numpy(),
        "entropy": -mean.numpy(),
        "variance": (logp.exp() * (logp - mean[:, None]) ** 2).sum(-1).numpy(),
    }


def assert_measured(
    found: Any, want: dict[str, np.ndarray], tolerance: float = 2e-5, *, moments: bool = True
) -> None:
    for name in ("token_ids", "hit"):
        assert np.array_equal(getattr(found, name), want[name]), name
    for name in ("logp", "entropy", "variance"):
        value = getattr(found, name)
        if name != "logp" and not moments:
            assert value is None, name
            continue
        np.testing.assert_allclose(value, want[name], atol=tolerance, rtol=tolerance, err_msg=name)
        assert value.dtype == np.float32
    assert (found.token_ids.dtype, found.hit.dtype) == (np.int32, np.bool_)


def same(one: Example, other: Example) -> bool:
    """Whether two examples are equal bit by bit, NaN included."""
    if (one.record, one.texts, one.unmeasured) != (other.record, other.texts, other.unmeasured):
        return False
    if repr(one.gradients) != repr(other.gradients) or one.answers.keys() != other.answers.keys():
        return False
    names = ("token_ids", "logp", "hit", "entropy", "variance")
    return all(
        (left.has_end, left.truncated) == (right.has_end, right.truncated)
        and all(_bits(getattr(left, n)) == _bits(getattr(right, n)) for n in names)
        for need in one.answers
        for left, right in zip(one.answers[need], other.answers[need], strict=True)
    )


def _bits(values: np.ndarray | None) -> bytes | None:
    return None if values is None else values.tobytes()
