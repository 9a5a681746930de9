r"""The gradient effect: what a step on an objective does to both risks, by inner products.

With R the negative log-likelihood of answers, D_u the records to forget, D_r those to keep and L a
loss that is minimised, all at the same weights θ,

    e_u = ⟨∇R(D_u), ∇L⟩     effect on the forget risk; forgetting wants it clearly negative
    e_r = ⟨∇R(D_r), ∇L⟩     effect on the retain risk; keeping wants it not negative

**Positive means that the step lowers the risk.** One plain SGD step of rate η changes a risk by
−η e + O(η²) nats. Adam divides by the size of past gradients first, and then this need not hold.
The point-wise effect of a record s is that of its log-likelihood alone, ⟨∇R, ∇ log π(s)⟩.

Effects add up: over the terms of an objective, over the records of a term, over the parts of a
model. Source: Wang et al. 2025, Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go
Beyond (the G-effect).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unbelief.diagnose.parts import Part
from unbelief.train.gradients import inner_product

Vector = dict[str, Tensor]
"""A gradient: a tensor per parameter that has one."""
TERMS = ("forget_term", "retain_term", "step")


@dataclass(frozen=True)
class Effects:
    """What one loss does to both risks, part by part of the model.

    Attributes:
        on_forget: e_u of each part, by its name.
        on_retain: e_r likewise.
        norm: ‖∇L‖.
    """

    on_forget: Mapping[str, float]
    on_retain: Mapping[str, float]
    norm: float

    @property
    def totals(self) -> tuple[float, float]:
        """e_u and e_r of the whole model."""
        return math.fsum(self.on_forget.values()), math.fsum(self.on_retain.values())


@dataclass(frozen=True)
class RecordEffect:
    """One record to forget.

    Attributes:
        record_id: Whose.
        log_prob: log π(s), summed over the answer's tokens, nats.
        pointwise: ⟨∇R(D_u), ∇ log π(s)⟩ and ⟨∇R(D_r), ∇ log π(s)⟩.
        share: What the record adds to e_u and e_r of the forget term.
    """

    record_id: str
    log_prob: float
    pointwise: tuple[float, float]
    share: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The effects at one model.

    Attributes:
        forget_risk: R(D_u), nats.
        retain_risk: R(D_r), nats.
        risk_norms: ‖∇R(D_u)‖ and ‖∇R(D_r)‖.
        effects: Of `forget_term`, `retain_term` (where there is one), and of the `step` that the
            objective's gradient rule makes of them.
        parts: The parts of the model.
        records: Point-wise effects.
        course: With the moving average: e_u and e_r of the forget term after each batch.
    """

    forget_risk: float
    retain_risk: float
    risk_norms: tuple[float, float]
    effects: Mapping[str, Effects]
    parts: tuple[Part, ...]
    records: tuple[RecordEffect, ...] = ()
    course: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Gradients:
    """The four gradients that effects are made of, and the two risks."""

    forget_risk: Vector
    retain_risk: Vector
    forget_term: Vector
    retain_term: Vector | None
    risks: tuple[float, float]

    def mixed(self, other: Gradients, share: float) -> Gradients:
        """(1 − share) · this + share · the other; this one's tensors are used up."""

        def mix(old: Vector, new: Vector) -> Vector:
            for name in old.keys() | new.keys():
                if name not in old:
                    old[name] = torch.zeros_like(new[name])
                old[name].mul_(1 - share)
                if name in new:
                    old[name].add_(new[name], alpha=share)
            return old

        kept, given = self.retain_term, other.retain_term
        old, new = self.risks, other.risks
        return Gradients(
            mix(self.forget_risk, other.forget_risk),
            mix(self.retain_risk, other.retain_risk),
            mix(self.forget_term, other.forget_term),
            None if kept is None or given is None else mix(kept, given),
            tuple((1 - share) * a + share * b for a, b in zip(old, new, strict=True)),  # type: ignore[arg-type]
        )


def effects(found: Gradients, term: Vector, parts: Sequence[Part]) -> Effects:
    """⟨∇R, ∇L⟩ on both sides, part by part."""

    def with_risk(risk: Vector) -> dict[str, float]:
        return {p.name: dot(risk, term, p.parameters) for p in parts}

    return Effects(with_risk(found.forget_risk), with_risk(found.retain_risk), norm(term))


def dot(a: Vector, b: Vector, names: Sequence[str] | None = None) -> float:
    """⟨a, b⟩ over some parameters (all by default); those without a gradient count 0."""
    wanted = a if names is None else names
    return inner_product((a[n], b[n]) for n in wanted if n in a and n in b)


def norm(vector: Vector) -> float:
    """‖v‖."""
    return dot(vector, vector) ** 0.5
