"""Terms, objectives, and the one place that reduces.

A term is a frozen dataclass: its fields are its hyper-parameters, `needs` says what it asks of the
model, `values` is its formula. It never sees a model, a batch or another term. Token terms return
one value per scored token, sequence terms one per answer; both unreduced. An `Objective` puts one
forget term and at most one retain term together and reduces them, by global counts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.checks import values_of
from unbelief.objectives.gradients import SUM, GradientRule
from unbelief.objectives.weights import CONSTANT, PrimalDual, WeightRule

Reduction = Literal["sequence_mean", "token_mean", "sum"]
Level = Literal["token", "sequence"]
Side = Literal["forget", "retain"]
Answers = Literal["targets", "alternatives", "pairs", "mixture"]


@dataclass(frozen=True)
class Preset:
    """A method one can ask for by name: a term with its customary surroundings.

    Attributes:
        summary: One line for `unbelief methods`.
        options: Field values of the term that differ from its defaults.
        retain: Name of the retain term used when retain data is given, or None for none at all.
        forget_weight: γ in γ · forget + α · retain.
        weights: How the weights move, where there is a retain term.
        gradients: What a step is made of, where there is a retain term.
        around: Whether `inner` may name another method whose term it takes.
    """

    summary: str
    options: tuple[tuple[str, float | int | str | bool], ...] = ()
    retain: str | None = "nll"
    forget_weight: float = 1.0
    weights: str = "constant"
    gradients: str = "sum"
    around: bool = False

    @property
    def needs_retain(self) -> bool:
        """Whether its steps are made of both terms, so that without one it is another method."""
        return self.weights != "constant" or self.gradients != "sum"


@dataclass(frozen=True)
class Term(ABC):
    """Base of forget and retain terms.

    Class attributes:
        name: How the command line calls it.
        side: Whether it is for rows to forget or rows to keep.
        level: Whether `values` has one entry per token or per answer.
        source: Paper and equation.
        presets: Methods this term offers; the default is one under its own name.
    """

    name: ClassVar[str]
    side: ClassVar[Side]
    level: ClassVar[Level]
    source: ClassVar[str]
    presets: ClassVar[dict[str, Preset]] = {}

    @property
    def needs(self) -> Needs:
        """What the term asks of the model."""
        return Needs()

    @abstractmethod
    def values(self, stats: AnswerStats) -> Tensor:
        """The unreduced loss, minimised: (T,) for token terms, (A,) for sequence terms."""

    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """Named quantities worth logging, (T,) or (A,) each, without gradient."""
        return {}

    def __rmul__(self, weight: float) -> WeightedTerm:
        return WeightedTerm(self, float(weight))

    def __add__(self, other: Term | WeightedTerm) -> Objective:
        return WeightedTerm(self, 1.0) + other


@dataclass(frozen=True)
class ForgetTerm(Term):
    """A term for rows to forget.

    Class attributes:
        answers: Which answers to a forget prompt it sees: the target (and beliefs about it), an
            alternative alone, target and alternative as one entry, or (`mixture`) several
            alternatives and perhaps the target, each by itself.
    """

    side: ClassVar[Side] = "forget"
    answers: ClassVar[Answers] = "targets"


@dataclass(frozen=True)
class RetainTerm(Term):
    """A term for rows to keep."""

    side: ClassVar[Side] = "retain"
    level: ClassVar[Level] = "token"


@dataclass(frozen=True)
class WeightedTerm:
    """A term and its coefficient: what `0.8 * GA()` is."""

    term: Term
    weight: float

    def __add__(self, other: Term | WeightedTerm) -> Objective:
        second = WeightedTerm(other, 1.0) if isinstance(other, Term) else other
        if not isinstance(second, WeightedTerm):
            raise TypeError(f"an objective adds terms, and {other!r} is not one")
        sides = {self.term.side: self, second.term.side: second}
        if set(sides) != {"forget", "retain"}:
            raise TypeError("an objective is one forget term plus one retain term")
        forget, retain = sides["forget"], sides["retain"]
        assert isinstance(forget.term, ForgetTerm) and isinstance(retain.term, RetainTerm)
        return Objective(
            forget.term, retain.term, forget_weight=forget.weight, retain_weight=retain.weight
        )


def kept_tokens(length: int, fraction: float) -> int:
    """int(q·n) tokens, at least one; all of them at q = 1."""
    return length if fraction == 1 else max(1, int(fraction * length))


@dataclass(frozen=True)
class Counts:
    """What a whole optimiser step holds, over all processes and micro-batches.

    Attributes:
        pairs: Forget pairs (prompts with their answer), or retain rows.
        weight: Σω over the rows of this kind (of N beliefs with λ/N each: λ per pair).
        tokens: Scored tokens of the rows of this kind, for `token_mean`.
    """

    pairs: int
    weight: float
    tokens: float


@dataclass(frozen=True)
class Objective:
    """γ · forget + α · retain, with one explicit reduction.

    Attributes:
        forget: The forget term.
        retain: The retain term, or None.
        forget_weight: γ.
        retain_weight: α.
        reduction: `sequence_mean` is the mean over answers of the mean over their tokens,
            `token_mean` the mean over all tokens of the step (long answers weigh more), `sum` the
            mean over answers of the sum over their tokens. Sequence terms (NPO, SimNPO) have one
            value per answer, which is averaged whichever is chosen.
        temperature: T of temperature scaling: forget rows see softmax(z / T).
        keep_fraction: q of loss selection: of each forget answer only the int(q·n) tokens (at
            least one) named by `keep` count.
        keep: `highest_prob` keeps the most probable tokens (the released code of the tutorial),
            `lowest_prob` the least probable (its text).
        weights: How γ and α move while training goes on; constant by default.
        gradients: What a step is made of: the sum of both gradients by default.
    """

    forget: ForgetTerm
    retain: RetainTerm | None = None
    forget_weight: float = 1.0
    retain_weight: float = 1.0
    reduction: Reduction = "sequence_mean"
    temperature: float = 1.0
    keep_fraction: float = 1.0
    keep: Literal["highest_prob", "lowest_prob"] = "highest_prob"
    weights: WeightRule = CONSTANT
    gradients: GradientRule = SUM

    def __post_init__(self) -> None:
        if not isinstance(self.forget, ForgetTerm):
            raise TypeError(f"{self.forget!r} is not a forget term")
        if not (self.retain is None or isinstance(self.retain, RetainTerm)):
            raise TypeError(f"{self.retain!r} is not a retain term")
        for name in ("forget_weight", "retain_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not 0 < self.keep_fraction <= 1:
            raise ValueError(f"keep_fraction must lie in (0, 1], not {self.keep_fraction}")
        if self.reduction not in ("sequence_mean", "token_mean", "sum"):
            raise ValueError(f"unknown reduction {self.reduction!r}")
        if self.keep not in ("highest_prob", "lowest_prob"):
            raise ValueError(f"unknown keep {self.keep!r}")
        if isinstance(self.weights, PrimalDual) and not (self.retain and self.retain_weight):
            raise ValueError("weights=primal-dual needs a retain term of positive retain_weight")
        if self.gradients.apart:
            self._check_apart()

    def _check_apart(self) -> None:
        name = f"gradients={self.gradients.name}"
        if not (self.retain and self.retain_weight):
            raise ValueError(f"{name} needs a retain term of positive retain_weight")
        if isinstance(self.weights, PrimalDual):
            raise ValueError(
                f"weights=primal-dual moves α, and with {name} the step does not depend on α"
            )

    def with_options(self, **changes: float | str | RetainTerm | None) -> Objective:
        """A copy with some fields replaced; unknown names raise."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def term(self, side: Side) -> Term | None:
        """The term that handles a side."""
        return self.forget if side == "forget" else self.retain

    def answer_scale(self, side: Side, weight: Tensor, length: Tensor, counts: Counts) -> Tensor:
        """Coefficient of each answer's token sum (or of its value), (A,).

        Args:
            side: Which term.
            weight: (A,) ω of each row within its pair.
            length: (A,) token weight of each answer.
            counts: The whole step's counts for this kind of row.
        """
        term = self.term(side)
        assert term is not None
        coefficient = self.forget_weight if side == "forget" else self.retain_weight
        if term.level == "token" and self.reduction == "token_mean":
            share = counts.weight / counts.pairs
            return coefficient * share / counts.tokens * (weight > 0)
        scale = coefficient * weight / counts.pairs
        if term.level == "token" and self.reduction == "sequence_mean":
            return scale / length.clamp_min(1e-12)
        return scale

    def loss(self, side: Side, stats: AnswerStats, scale: Tensor) -> Tensor:
        """Σ over answers of scale · (token sum or value): this side's share of the loss."""
        term = self.term(side)
        assert term is not None
        values = values_of(term, stats)
        per_answer = stats.sum_per_answer(values) if term.level == "token" else values
        return (per_answer * scale).sum()

    def kept(self, length: int) -> int:
        """How many of an answer's tokens loss selection keeps."""
        return kept_tokens(length, self.keep_fraction)

    def select(self, stats: AnswerStats) -> AnswerStats:
        """Forget statistics with unselected tokens at weight 0."""
        if self.keep_fraction == 1.0:
            return stats
        return stats.with_weight(stats.weight * self._selection(stats))

    def _selection(self, stats: AnswerStats) -> Tensor:
        sign = -1.0 if self.keep == "highest_prob" else 1.0
        key = sign * stats.logp.detach()
        kept = torch.zeros_like(stats.weight)
        for answer in range(stats.n_answers):
            # A token without weight is not there: it takes nobody's place.
            tokens = ((stats.segment == answer) & (stats.weight > 0)).nonzero().squeeze(1)
            best = key[tokens].argsort(stable=True)[: self.kept(len(tokens))]
            kept[tokens[best]] = 1.0
        return kept

    def describe(self) -> dict[str, object]:
        """Names and values of everything that defines the objective, for provenance."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        composed = ("forget", "retain", "weights", "gradients")
        return {**own, **{name: describe(getattr(self, name)) for name in composed}}


def describe(term: Term | WeightRule | GradientRule | None) -> dict[str, object] | None:
    """A term or a rule as plain data: its name and its fields."""
    if term is None:
        return None
    out: dict[str, object] = {"name": term.name}
    for f in fields(term):
        value = getattr(term, f.name)
        out[f.name] = describe(value) if isinstance(value, Term) else value
    return out
