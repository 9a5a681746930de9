"""Every number of an item under `open-unlearning`, from measurement to score, against plain code.

Right-padded batches under a mask of ids, full logits, the last label dropped by position: that is
`plain`. Packed prompts, the answer head and explicit spans: that is the package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.agreement import plain
from tests.agreement.made import (
    ASKED,
    half_taught_model,
    made_encoder,
    made_records,
    made_tokenizer,
    template_of,
)
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import AnswerNeed, Example, GradientNeed
from unbelief.models.runner import AnswerModel
from unbelief.scores.conventions import metric

RECORDS = made_records("forget")


@dataclass(frozen=True)
class Side:
    """One model on the made records of one family, measured both ways.

    Attributes:
        examples: Ours.
        items: Theirs, per kind of answer (for false answers a list per record).
    """

    model: Any
    pad_id: int
    examples: tuple[Example, ...]
    answer: list[plain.Item]
    true: list[plain.Item]
    false: list[list[plain.Item]]

    def losses(self, items: list[plain.Item]) -> np.ndarray:
        return plain.average_losses(self.model, items, self.pad_id)

    def false_losses(self) -> np.ndarray:
        return np.stack([self.losses([its[j] for its in self.false]) for j in range(3)], axis=1)

    def ours(self, name: str, **options: object) -> np.ndarray:
        one = metric(name, "open-unlearning", options)
        scores = [one.score(example) for example in self.examples]
        assert not [s.unscored for s in scores if s.unscored]
        return np.array([s.value for s in scores])


@cache
def side(family: str, seed: int = 0) -> Side:
    tokenizer, template = made_tokenizer(family), template_of(family)
    model = half_taught_model(family, seed)

    def item(record: Any, text: str) -> plain.Item:
        return plain.question_item(tokenizer, template, record.prompt, text)

    needs = (
        AnswerNeed("answer"),
        AnswerNeed("paraphrase"),
        AnswerNeed("perturbed"),
        GradientNeed(2.0, drop_last=True),
        GradientNeed(1.0, drop_last=True),
    )
    measured = measure_examples(
        AnswerModel(model), made_encoder(family), Plan({"forget": RECORDS}, {"forget": needs})
    )
    return Side(
        model,
        plain.pad_id_of(tokenizer),
        measured["forget"],
        [item(r, r.answer) for r in RECORDS],
        [item(r, r.paraphrases[0]) for r in RECORDS],
        [[item(r, text) for text in r.perturbed] for r in RECORDS],
    )


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Per item to 1e-4, of the value where that is above 1."""
    assert ours.shape == theirs.shape
    np.testing.assert_array_less(np.abs(ours - theirs), 1e-4 * np.maximum(1, np.abs(theirs)))
    assert theirs.std() > 0 or len(theirs) == 1  # constants would agree by chance


pytestmark = pytest.mark.parametrize("family", ASKED)


def test_probability_and_loss(family: str) -> None:
    s = side(family)
    losses = s.losses(s.answer)
    agree(s.ours("loss"), losses)
    agree(s.ours("mia_loss"), losses)
    agree(s.ours("probability"), np.exp(-losses))
    agree(s.ours("probability", answer="paraphrase"), np.exp(-s.losses(s.true)))


def test_exact_memorization(family: str) -> None:
    s = side(family)
    agree(s.ours("exact_memorization"), plain.exact_memorization(s.model, s.answer, s.pad_id))


def test_extraction_strength(family: str) -> None:
    s = side(family)
    agree(s.ours("extraction_strength"), plain.extraction_strength(s.model, s.answer, s.pad_id))


@pytest.mark.parametrize("k", [0.4, 0.2, 1.0])
def test_min_k(family: str, k: float) -> None:
    s = side(family)
    agree(s.ours("mia_min_k", k=k), plain.min_k(s.model, s.answer, s.pad_id, k))
    theirs = plain.min_k_plus_plus(s.model, s.answer, s.pad_id, k)
    agree(s.ours("mia_min_k_plus_plus", k=k), theirs)


def test_zlib(family: str) -> None:
    s = side(family)
    losses = s.losses(s.answer)
    agree(s.ours("mia_zlib"), plain.zlib_scores(made_tokenizer(family), losses, s.answer))


@pytest.mark.parametrize("order", [2.0, 1.0])
def test_gradient_norm(family: str, order: float) -> None:
    s = side(family)
    theirs = plain.gradient_norms(s.model, s.answer, s.pad_id, order)
    agree(s.ours("mia_gradient_norm", order=order), theirs)


def test_reference(family: str) -> None:
    own, other = side(family, 0), side(family, 1)
    both = tuple(replace(a, reference=b) for a, b in zip(own.examples, other.examples, strict=True))
    ours = replace(own, examples=both).ours("mia_reference")
    agree(ours, own.losses(own.answer) - other.losses(other.answer))


def test_choices(family: str) -> None:
    s = side(family)
    theirs = plain.probability_w_options(s.losses(s.answer), s.false_losses())
    agree(s.ours("choice_probability"), theirs)


def test_truth_ratios(family: str) -> None:
    s = side(family)
    correct, wrong = s.losses(s.true), s.false_losses()
    ratios = plain.truth_ratios(correct, wrong)
    agree(s.ours("truth_ratio"), ratios)
    for name, mean in (
        ("truth_ratio_closer_to_1", plain.closer_to_1_better(ratios)),
        ("truth_ratio_true_better", plain.true_better(ratios)),
        ("truth_ratio_prob_mean", plain.prob_mean(correct, wrong)),
    ):
        assert s.ours(name).mean() == pytest.approx(mean, abs=1e-4)
    # Real authors and world facts have no paraphrase: the answer is the truth.
    agree(
        s.ours("truth_ratio", correct="answer"),
        plain.truth_ratios(s.losses(s.answer), s.false_losses()),
    )
