"""What gradient effects are measured on: rows, their counts, and what the original model said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from unbelief.beliefs.fill import encode_all
from unbelief.beliefs.sampler import sample_answers
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, GA, NLL, AlternativeTerm, Objective
from unbelief.objectives.base import Counts
from unbelief.tokens import Encoder, Row
from unbelief.tokens.batch import grouped
from unbelief.train.plan import Beliefs, Plan
from unbelief.train.reference import (
    FrozenCopy,
    Original,
    ReferenceCache,
    frozen_twin,
    needs_original,
)
from unbelief.train.supply import alternatives_of, asks_model, decoding_of, questions
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Forget and retain data of an objective, with everything that belongs to the original model.

    Attributes:
        objective: Whose terms are looked at.
        records: Records to forget.
        plan: One step over all of them; its own retain side is empty.
        beliefs: Beliefs by record id; empty without BS-S.
        retain_rows: All records to keep.
        cache: Log-probabilities and beliefs of the original model.
        original: The original itself, where a term needs it.
    """

    objective: Objective
    records: tuple[Record, ...]
    plan: Plan
    beliefs: Beliefs
    retain_rows: tuple[Row, ...]
    cache: ReferenceCache
    original: Original

    @classmethod
    def of(
        cls,
        model: AnswerModel,
        encoder: Encoder,
        objective: Objective,
        forget: Sequence[Record],
        retain: Sequence[Record],
        *,
        seed: int = 0,
        rows_per_forward: int = 16,
    ) -> Sides:
        """Encode records and ask the original model what the objective wants to know of it.

        Args:
            model: The original model, with its weights as they are before unlearning.
            encoder: Records to tokens.
            objective: Whose terms are looked at.
            forget: Records to forget.
            retain: Records to keep.
            seed: Of belief sampling and of drawn alternatives.
            rows_per_forward: Most rows of one forward; it changes memory and time only.

        Raises:
            RequestError: A side is empty, or the rows would change with the model.
        """
        for name, records in (("forget", forget), ("retain", retain)):
            if not records:
                raise RequestError(
                    "effects are inner products with the gradients of both sides, and this one "
                    "is empty",
                    where=name,
                    remedy="give records to forget and records to keep",
                )
        term = objective.forget
        if isinstance(term, BSS) and term.policy == "on-policy":
            raise RequestError(
                "beliefs that are sampled again change with the model",
                where="policy",
                remedy="use off-policy beliefs: --method bs-s",
            )
        asked = _asked(model, encoder, objective, forget, seed)
        own = isinstance(term, AlternativeTerm) and asked
        plan = Plan(
            forget=encode_all(encoder, forget),
            retain=[],
            pairs_per_step=len(forget),
            epochs=1,
            seed=seed,
            belief_weight=term.weight if isinstance(term, BSS) else 0.0,
            answers=term.answers,
            alternatives=asked if own else alternatives_of(term, None, encoder, forget, seed),
            keep_fraction=objective.keep_fraction,
            rows_per_forward=rows_per_forward,
        )
        kept = [encoder.encode(record) for record in retain]
        twin = frozen_twin(model) if needs_original(objective) else None
        made = cls(
            objective=objective,
            records=tuple(forget),
            plan=plan,
            beliefs=asked if isinstance(term, BSS) else {},
            retain_rows=tuple(
                Row(f"r{i}", "retain", e.prompt_ids, e.answer_ids) for i, e in enumerate(kept)
            ),
            cache=ReferenceCache(term.needs, objective.temperature),
            original=FrozenCopy(lambda: twin or _unavailable(), keep=True),
        )
        made.cache.fill(model, made.forget_rows())
        return made

    def forget_rows(self, chosen: Sequence[int] | None = None) -> list[Row]:
        """Rows of some records to forget (all by default): targets, beliefs or alternatives."""
        indices = range(len(self.records)) if chosen is None else chosen
        return [r for i in indices for r in self.plan.forget_rows(i, self.beliefs, 0, 0)]

    def target_rows(self, chosen: Sequence[int] | None = None) -> list[Row]:
        """The records' own answers as rows of a risk (`risk`)."""
        indices = range(len(self.records)) if chosen is None else chosen
        own = self.plan.forget
        return [Row(f"f{i}", "retain", own[i].prompt_ids, own[i].answer_ids) for i in indices]

    @cached_property
    def risk(self) -> Objective:
        """R: the negative log-likelihood of `retain` rows, reduced as the objective is."""
        return Objective(GA(), NLL(), reduction=self.objective.reduction)

    def counts(self, rows: Sequence[Row], pairs: int) -> dict[str, Counts]:
        """What reductions divide by when these rows are all there is.

        Args:
            rows: Rows of one side.
            pairs: Records they came from.
        """
        forget = self.objective
        return {
            kind: Counts(
                pairs=pairs,
                weight=sum(r.weight for r in rows if r.kind == kind),
                tokens=sum(
                    r.n_scored if kind == "retain" else forget.kept(r.n_scored)
                    for r in rows
                    if r.kind == kind
                ),
            )
            for kind in ("target", "belief", "alternative", "retain")
        }

    def forwards(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows in lots of one forward, pairs together, rows of similar length beside each other."""
        units = sorted(grouped(rows), key=lambda u: -max(r.length for r in u))
        lots: list[list[Row]] = []
        for unit in units:
            if not lots or len(lots[-1]) + len(unit) > self.plan.rows_per_forward:
                lots.append([])
            lots[-1].extend(unit)
        return lots


def _asked(
    model: AnswerModel,
    encoder: Encoder,
    objective: Objective,
    records: Sequence[Record],
    seed: int,
) -> Beliefs:
    """Answers of the original model, where the term wants some, by record id."""
    term = objective.forget
    if not asks_model(term):
        return {}
    if not isinstance(term, BSS | AlternativeTerm):
        raise RequestError(
            f"the rows of {term.name} are made from the retain data, for one run",
            where="method",
            remedy="choose another method: of this one no gradient effects are computed",
        )
    asked = [encoder.encode(r) for r in questions(term, records)]
    found = sample_answers(
        model.model,
        encoder,
        [e.prompt_ids for e in asked],
        decoding=decoding_of(term, seed),
        samples=term.samples,
        keys=[r.id for r in records],
        hidden=[e.hidden for e in asked],
    )
    pairs = zip(records, found, strict=True)
    return {record.id: [a.token_ids for a in answers] for record, answers in pairs}


def _unavailable() -> AnswerModel:
    raise RuntimeError("the original model was needed but not kept")
