"""Gradients of whole data sets at one model after the other, and the effects made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from unbelief.diagnose.effect_rows import Sides
from unbelief.diagnose.effects import (
    Effects,
    Gradients,
    Reading,
    RecordEffect,
    Vector,
    dot,
    effects,
    norm,
)
from unbelief.diagnose.parts import Part, parts_of
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import Objective
from unbelief.objectives.base import Counts
from unbelief.tokens import Row
from unbelief.train.checkpoints import trained_parameters
from unbelief.train.step import StepLoss, Tally

Estimator = Literal["exact", "moving-average"]
_NEWEST = 0.4  # weight of the newest batch in the released code's moving average


class EffectMeter:
    """Measures effects on fixed data, at one model after the other.

    Args:
        sides: The data.
        pointwise: Records to forget whose own effects are measured, by position.
        estimator: `exact` takes the gradients of all rows. `moving-average` is what the released
            code computes: batches of `batch` records and as many to keep, each a mean of its own,
            mixed as 0.6 · old + 0.4 · new from the first batch on; for comparison only.
        batch: Records of a batch of the moving average, 4 in the released code.
    """

    def __init__(
        self,
        sides: Sides,
        pointwise: Sequence[int] = (),
        estimator: Estimator = "exact",
        batch: int = 4,
    ):
        self.sides, self.pointwise = sides, tuple(pointwise)
        self.estimator, self.batch = estimator, batch

    def measure(self, model: AnswerModel) -> Reading:
        """Effects at a model's weights, which stay as they are, like its `.grad`.

        Raises:
            RequestError: Its weights are less precise than float32.
        """
        parts = tuple(parts_of(model))
        course: tuple[tuple[float, float], ...] = ()
        with _own_gradients(model):
            if self.estimator == "exact":
                everything = range(len(self.sides.records))
                found = self._gradients(model, everything, self.sides.retain_rows)
            else:
                found, course = self._moving_average(model)
            records = tuple(self._record(model, found, i) for i in self.pointwise)
        return Reading(
            forget_risk=found.risks[0],
            retain_risk=found.risks[1],
            risk_norms=(norm(found.forget_risk), norm(found.retain_risk)),
            effects=self._effects(found, parts),
            parts=parts,
            records=records,
            course=course,
        )

    def _effects(self, found: Gradients, parts: Sequence[Part]) -> dict[str, Effects]:
        own = effects(found, found.forget_term, parts)
        if found.retain_term is None:
            return {"forget_term": own, "step": own}
        kept = effects(found, found.retain_term, parts)
        both = dot(found.forget_term, found.retain_term)
        a, b = self.sides.objective.gradients.share(both, kept.norm**2)
        square = (a * own.norm) ** 2 + 2 * a * b * both + (b * kept.norm) ** 2
        step = Effects(
            {p.name: a * own.on_forget[p.name] + b * kept.on_forget[p.name] for p in parts},
            {p.name: a * own.on_retain[p.name] + b * kept.on_retain[p.name] for p in parts},
            max(square, 0.0) ** 0.5,
        )
        return {"forget_term": own, "retain_term": kept, "step": step}

    def _gradients(
        self, model: AnswerModel, chosen: Sequence[int], retain: Sequence[Row]
    ) -> Gradients:
        """Of all of these rows at once."""
        sides, n = self.sides, len(chosen)
        targets, forget = sides.target_rows(chosen), sides.forget_rows(chosen)
        forget_risk, first = self._gradient(model, sides.risk, targets, n)
        retain_risk, second = self._gradient(model, sides.risk, retain, len(retain))
        forget_term, _ = self._gradient(model, sides.objective, forget, n)
        retain_term = None
        if sides.objective.retain is not None:
            retain_term, _ = self._gradient(model, sides.objective, retain, len(retain))
        return Gradients(forget_risk, retain_risk, forget_term, retain_term, (first, second))

    def _moving_average(
        self, model: AnswerModel
    ) -> tuple[Gradients, tuple[tuple[float, float], ...]]:
        n, kept, average, course = len(self.sides.records), self.sides.retain_rows, None, []
        for start in range(0, n, self.batch):
            chosen = range(start, min(start + self.batch, n))
            newest = self._gradients(model, chosen, [kept[i % len(kept)] for i in chosen])
            average = newest if average is None else average.mixed(newest, _NEWEST)
            term = average.forget_term
            course.append((dot(average.forget_risk, term), dot(average.retain_risk, term)))
        assert average is not None
        return average, tuple(course)

    def _record(self, model: AnswerModel, found: Gradients, index: int) -> RecordEffect:
        """One record's gradients, looked at and thrown away."""
        sides = self.sides
        summed = sides.risk.with_options(reduction="sum")
        fall, nll = self._gradient(model, summed, sides.target_rows([index]), 1)
        pointwise = -dot(found.forget_risk, fall), -dot(found.retain_risk, fall)
        del fall
        counts = sides.counts(sides.forget_rows(), len(sides.records))
        own, _ = self._gradient(model, sides.objective, sides.forget_rows([index]), 1, counts)
        share = dot(found.forget_risk, own), dot(found.retain_risk, own)
        return RecordEffect(sides.records[index].id, -nll, pointwise, share)

    def _gradient(
        self,
        model: AnswerModel,
        objective: Objective,
        rows: Sequence[Row],
        pairs: int,
        counts: Mapping[str, Counts] | None = None,
    ) -> tuple[Vector, float]:
        """Gradient and value of an objective on some rows, accumulated over forwards."""
        sides = self.sides
        loss = StepLoss(model, objective, sides.cache, sides.original, Tally())
        divisors = sides.counts(rows, pairs) if counts is None else counts
        total = 0.0
        # Each gradient is taken away before the next one begins, so that what the answer head adds
        # to `.grad` by itself never meets another loss.
        with model.direct(True):
            for lot in sides.forwards(rows):
                value = loss(lot, divisors)  # not within the model: no autocast of a run's
                value.backward()
                total += float(value.detach())
        out = {}
        for name, parameter in trained_parameters(model.model).items():
            if parameter.grad is not None:
                out[name], parameter.grad = parameter.grad, None
        return out, total


@contextmanager
def _own_gradients(model: AnswerModel) -> Iterator[None]:
    """Full precision, no dropout, and `.grad` as it was when the block ends."""
    parameters = trained_parameters(model.model)
    coarse = {str(p.dtype) for p in parameters.values()} - {"torch.float32", "torch.float64"}
    if coarse:
        raise RequestError(
            f"gradients of {', '.join(sorted(coarse))} weights are too coarse for inner products",
            where="dtype",
            remedy="use float32 weights",
        )
    before = {name: p.grad for name, p in parameters.items()}
    was_training = model.inner.training
    model.inner.eval()
    for parameter in parameters.values():
        parameter.grad = None
    try:
        with torch.enable_grad(), torch.autocast(model.device.type, enabled=False):
            yield
    finally:
        model.inner.train(was_training)
        for name, parameter in parameters.items():
            parameter.grad = before[name]
