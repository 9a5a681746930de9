"""The loss of one micro-batch: rows through the model, statistics through the objective."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from unbelief import processes
from unbelief.errors import RequestError
from unbelief.models.head import HeadJob, HeadWeights, TokenInputs
from unbelief.models.runner import AnswerModel, Forward
from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives import Objective
from unbelief.objectives.base import Counts, Side
from unbelief.tokens import Row, TokenBatch, collate
from unbelief.tokens.batch import grouped
from unbelief.train.average import BeliefAverage
from unbelief.train.plan import Unit
from unbelief.train.reference import Original, ReferenceCache
from unbelief.train.weighing import Weights


@dataclass
class Tally:
    """Sums and counts of logged quantities since the last log entry, of this process."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, name: str, values: Tensor) -> None:
        """Add values whose mean will be logged."""
        self.sums[name] += float(values.sum())
        self.counts[name] += values.numel()

    def add_total(self, name: str, value: Tensor) -> None:
        """Add to a quantity that is logged as a sum (a share of the loss)."""
        self.sums[name] += float(value)

    def take(self, steps: int = 1) -> dict[str, float]:
        """Means, and totals per step, over all processes since the last time; starts anew."""
        parts = processes.gather((dict(self.sums), dict(self.counts)))
        self.sums.clear()
        self.counts.clear()
        out = {}
        for name in sorted({name for sums, _ in parts for name in sums}):
            total = sum(sums.get(name, 0.0) for sums, _ in parts)
            is_mean = any(name in counts for _, counts in parts)
            n = sum(counts.get(name, 0.0) for _, counts in parts) if is_mean else steps
            if n:
                out[name] = total / n
        return out


@dataclass(frozen=True)
class StepLoss:
    """Everything a micro-batch's loss depends on besides its rows.

    Attributes:
        model: The policy.
        objective: What is minimised.
        cache: Log-probabilities and beliefs of the original model.
        original: The original model itself, where a term needs it in every step.
        tally: Receives what is logged.
        weights: The objective's weights as they are at the step; constant when None.
        average: The averaged model, where beliefs are its.
    """

    model: AnswerModel
    objective: Objective
    cache: ReferenceCache
    original: Original | None
    tally: Tally
    weights: Weights | None = None
    average: BeliefAverage | None = None

    def __call__(self, rows: Sequence[Row], counts: Mapping[str, Counts]) -> Tensor:
        """This micro-batch's share of the step's loss, differentiable."""
        ordered = [r for r in rows if r.kind != "retain"] + [r for r in rows if r.kind == "retain"]
        batch = collate(ordered, self.model.pad_id).to(self.model.device)
        sides = [s for s in self._sides(batch, counts) if s.n_rows]
        layers = {s.needs.hidden_layer for s in sides} - {None}
        layer = layers.pop() if layers else None
        forward = self.model.forward(batch, layer, logits=any(s.needs.logits for s in sides))
        head_sides = [s for s in sides if s.needs.logits]
        parts = [self._hidden_loss(s, batch, forward) for s in sides if not s.needs.logits]
        if head_sides:
            jobs = [self._job(s, batch) for s in head_sides]
            picked = torch.cat([s.of(forward.predicting) for s in head_sides])
            parts.append(self.model.loss(Forward(picked, None), jobs))
        return torch.stack(parts).sum()

    def _sides(self, batch: TokenBatch, counts: Mapping[str, Counts]) -> list[_SideRows]:
        n_forget = sum(r.kind != "retain" for r in batch.rows)
        cut = int((batch.row < n_forget).sum())
        split: tuple[tuple[Side, slice, slice], ...] = (
            ("forget", slice(0, n_forget), slice(0, cut)),
            ("retain", slice(n_forget, None), slice(cut, None)),
        )
        return [
            _SideRows(side, batch.rows[rows], tokens, term.needs, counts)
            for side, rows, tokens in split
            if (term := self.objective.term(side)) is not None
        ]

    def _inputs(self, side: _SideRows, batch: TokenBatch) -> TokenInputs:
        device, forget = batch.input_ids.device, side.side == "forget"
        rows = batch.row[side.tokens]
        segment = side.unit_of_row.to(device)[rows - rows[0]]
        ids, logp = self._beliefs(side, device) if forget else (None, None)
        return TokenInputs(
            target=batch.target[side.tokens],
            segment=segment,
            n_answers=len(side.units),
            weight=torch.ones(len(segment), device=device),
            temperature=self.objective.temperature if forget else 1.0,
            ref_logp=self.cache.lookup(side.rows, "logp", device) if forget else None,
            ref_topk_ids=ids,
            ref_topk_logp=logp,
        )

    def _beliefs(
        self, side: _SideRows, device: torch.device
    ) -> tuple[Tensor | None, Tensor | None]:
        """Tokens and log-probabilities of beliefs that are not the policy's own."""
        if side.needs.beliefs_from == "average":
            if self.average is None:
                raise RequestError(
                    "an averaged model exists only while a run trains",
                    where="beliefs_from",
                    remedy="choose beliefs_from=policy or reference",
                )
            return self.average.beliefs(side.rows, self.objective.temperature)
        found = (self.cache.lookup(side.rows, n, device) for n in ("topk_ids", "topk_logp"))
        return next(found), next(found)

    def _job(self, side: _SideRows, batch: TokenBatch) -> HeadJob:
        ref_hidden, ref_head = self._original_states(side, batch)
        return HeadJob(
            self._inputs(side, batch),
            side.needs,
            lambda stats: self._side_loss(side, stats),
            ref_hidden,
            ref_head,
        )

    def _hidden_loss(self, side: _SideRows, batch: TokenBatch, forward: Forward) -> Tensor:
        tokens = self._inputs(side, batch)
        ref_hidden, _ = self._original_states(side, batch)
        assert forward.layer is not None
        hidden = forward.layer[side.tokens].float()
        stats = AnswerStats(
            # Nothing was predicted: whoever looks at log-probabilities here must not find a zero.
            logp=torch.full_like(tokens.weight, float("nan")),
            segment=tokens.segment,
            weight=tokens.weight,
            n_answers=tokens.n_answers,
            hidden=hidden,
            ref_hidden=None if ref_hidden is None else ref_hidden.float(),
        )
        return self._side_loss(side, stats)

    @torch.no_grad()
    def _original_states(
        self, side: _SideRows, batch: TokenBatch
    ) -> tuple[Tensor | None, HeadWeights | None]:
        if not side.needs.reference_distribution:
            return None, None
        if self.original is None:
            raise ValueError("this objective needs the original model in every step")
        own = collate(side.rows, self.model.pad_id).to(batch.input_ids.device)
        with self.original() as original:
            states = original.forward(own, side.needs.hidden_layer, logits=side.needs.logits)
            if not side.needs.logits:
                return states.layer, None
            head = original.head() if original.head_path == "head" else None
        return states.predicting, head

    def _side_loss(self, side: _SideRows, stats: AnswerStats) -> Tensor:
        """Called once per chunk of whole answers; `side` tells how far we are."""
        if side.side == "forget":
            stats = self.objective.select(stats)
        units = side.next_units(stats.n_answers)
        if side.side == "forget" and self.objective.forget.answers != "targets":
            own = [r.kind == "alternative" for r, _ in _tokens(units)]
            stats = replace(stats, alternative=torch.tensor(own, device=stats.weight.device))
        scale = self._scale(side, [_lead(unit) for unit in units], stats)
        loss = self.objective.loss(side.side, stats, scale)
        if self.weights is not None:
            self.weights.see(side.side, loss)
            loss = loss * self.weights.factor(side.side)
        self._log(side, units, stats, loss)
        return loss

    def _scale(self, side: _SideRows, rows: Sequence[Row], stats: AnswerStats) -> Tensor:
        weight = torch.tensor([r.weight for r in rows], device=stats.weight.device)
        kinds = [r.kind for r in rows]
        length, scale = stats.length, torch.zeros_like(weight)
        for kind in sorted(set(kinds)):
            of_kind = torch.tensor([k == kind for k in kinds], device=weight.device)
            value = self.objective.answer_scale(side.side, weight, length, side.counts[kind])
            scale = torch.where(of_kind, value, scale)
        return scale

    @torch.no_grad()
    def _log(
        self, side: _SideRows, units: Sequence[Unit], stats: AnswerStats, loss: Tensor
    ) -> None:
        self.tally.add_total(f"{side.side}_loss", loss.detach())
        if side.needs.logits:
            self._log_likelihoods([r for unit in units for r in unit], stats)
        counted = torch.tensor([_lead(unit).weight > 0 for unit in units], device=loss.device)
        term = self.objective.term(side.side)
        assert term is not None
        for name, values in term.diagnostics(stats).items():
            if name.endswith(("_logp", "_loss")):
                raise RequestError(
                    f"the term {term.name!r} logs {name!r}, and such names are the log's own",
                    where=f"{type(term).__qualname__}.diagnostics",
                    remedy="give it a name that ends otherwise than in _logp or _loss",
                )
            per_token = len(values) == len(stats.segment)
            self.tally.add(name, values[counted[stats.segment] if per_token else counted])

    def _log_likelihoods(self, rows: Sequence[Row], stats: AnswerStats) -> None:
        """Mean log-probability per token of every row, by kind."""
        each = torch.arange(len(rows)).repeat_interleave(torch.tensor([r.n_scored for r in rows]))
        own = replace(stats, segment=each.to(stats.weight.device), n_answers=len(rows))
        mean = own.sum_per_answer(stats.logp.detach()) / own.length.clamp_min(1e-12)
        for kind in {r.kind for r in rows}:
            counted = [r.kind == kind and r.weight > 0 for r in rows]
            self.tally.add(f"{kind}_logp", mean[torch.tensor(counted, device=mean.device)])


def _lead(unit: Unit) -> Row:
    """The row whose kind and weight are the unit's."""
    return next((r for r in unit if r.kind != "alternative"), unit[0])


def _tokens(units: Sequence[Unit]) -> Iterator[tuple[Row, int]]:
    """Row and position of every scored token."""
    return ((r, i) for unit in units for r in unit for i in range(r.n_scored))


@dataclass
class _SideRows:
    """One side's rows of a micro-batch, handed out chunk by chunk in order."""

    side: Side
    rows: tuple[Row, ...]
    tokens: slice
    needs: Needs
    counts: Mapping[str, Counts]
    used: int = 0

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def of(self, states: Tensor | None) -> Tensor:
        assert states is not None
        return states[self.tokens]

    @cached_property
    def units(self) -> list[Unit]:
        return grouped(self.rows)

    @property
    def unit_of_row(self) -> Tensor:
        return torch.arange(len(self.units)).repeat_interleave(
            torch.tensor([len(unit) for unit in self.units])
        )

    def next_units(self, n: int) -> list[Unit]:
        part = self.units[self.used : self.used + n]
        self.used += n
        return part
