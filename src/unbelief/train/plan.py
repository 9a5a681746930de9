"""What every optimiser step consists of: a pure function of the seed and the step number.

No sampler state, no worker count and no number of processes enters: a step's rows are the same
however it is cut into micro-batches and over processes, which is what makes resuming exact and
1 × 8 accumulation equal 8 × 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unbelief.objectives.base import Answers, Counts, kept_tokens
from unbelief.tokens import Encoded, Row
from unbelief.tokens.batch import grouped

Beliefs = Mapping[str, Sequence[tuple[int, ...]]]
Unit = tuple[Row, ...]
"""Rows that are one answer of the objective: one row, or an answer and its alternative."""


@dataclass(frozen=True)
class StepRows:
    """The rows of one optimiser step over all processes, and their counts.

    Attributes:
        micro_batches: For one process: rows per micro-batch, long rows first.
        counts: Per row kind, over the whole step and all processes.
    """

    micro_batches: tuple[tuple[Row, ...], ...]
    counts: dict[str, Counts]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Forget and retain rows of every step.

    Attributes:
        forget: Encoded forget records.
        retain: Encoded retain records; may be empty.
        pairs_per_step: Forget pairs per optimiser step over all processes.
        epochs: Passes over the forget data.
        max_steps: Overrides `epochs` when positive.
        seed: Of the order.
        belief_weight: λ of BS-S (0 without).
        answers: Which answers to forget prompts the objective sees.
        alternatives: Other answers by record id, taken in turn, `per_step` in each epoch.
        per_step: Alternatives of a record per step.
        target_weight: ω of the target beside alternatives in a mixture; without it there is no
            target row.
        keep_fraction: Share of a forget answer's tokens that loss selection keeps.
        rows_per_forward: Most rows in one forward of one process.
        world_size: Number of processes.
        rank: This process.
    """

    forget: Sequence[Encoded]
    retain: Sequence[Encoded]
    pairs_per_step: int
    epochs: float
    max_steps: int = -1
    seed: int = 0
    belief_weight: float = 0.0
    answers: Answers = "targets"
    alternatives: Beliefs = field(default_factory=dict)
    per_step: int = 1
    target_weight: float = 0.0
    keep_fraction: float = 1.0
    rows_per_forward: int = 16
    world_size: int = 1
    rank: int = 0
    _orders: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per pass over the forget data."""
        return math.ceil(len(self.forget) / self.pairs_per_step)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the run."""
        if self.max_steps > 0:
            return self.max_steps
        return max(1, round(self.epochs * self.steps_per_epoch))

    def pairs(self, step: int) -> list[int]:
        """Forget records of a step; the last step of an epoch may have fewer."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = self._order("forget", epoch, len(self.forget))
        return order[within * self.pairs_per_step : (within + 1) * self.pairs_per_step].tolist()

    def retain_indices(self, step: int) -> list[int]:
        """As many retain records as the step has pairs, drawn without replacement.

        The retain data is walked through in a seeded order, which is drawn again only when all of
        it has been used.
        """
        if not self.retain:
            return []
        epoch, within = divmod(step, self.steps_per_epoch)
        start = epoch * len(self.forget) + within * self.pairs_per_step
        n = len(self.retain)
        return [
            int(self._order("retain", i // n, n)[i % n])
            for i in range(start, start + len(self.pairs(step)))
        ]

    def rows(self, step: int, beliefs: Beliefs, generation: int = 0) -> list[Row]:
        """All rows of a step: targets, beliefs or alternatives to them, retain rows."""
        out, epoch = [], step // self.steps_per_epoch
        for index in self.pairs(step):
            out.extend(self.forget_rows(index, beliefs, generation, epoch))
        out.extend(
            Row(f"r{i}", "retain", self.retain[i].prompt_ids, self.retain[i].answer_ids)
            for i in self.retain_indices(step)
        )
        return out

    def forget_rows(
        self, index: int, beliefs: Beliefs, generation: int = 0, epoch: int | None = None
    ) -> list[Row]:
        """The target row of a forget record (ω = 1-λ) and its belief rows (ω = λ/N each).

        Where the objective sees alternatives: the target row, if it is part of that, and the
        alternative of an epoch, or all of them without one.
        """
        record = self.forget[index]
        if self.answers != "targets":
            return self._with_alternatives(index, epoch)
        answers = beliefs.get(record.record_id, ())
        share = self.belief_weight if answers else 0.0
        target = Row(f"f{index}", "target", record.prompt_ids, record.answer_ids, 1.0 - share)
        return [target] + [
            Row(
                f"f{index}#{j}@{generation}", "belief", record.prompt_ids, ids, share / len(answers)
            )
            for j, ids in enumerate(answers)
        ]

    def _with_alternatives(self, index: int, epoch: int | None) -> list[Row]:
        record = self.forget[index]
        others = self.alternatives[record.record_id]
        pair = f"f{index}" if self.answers == "pairs" else ""
        n, total = self.per_step, len(others)
        chosen = range(total) if epoch is None else [(epoch * n + i) % total for i in range(n)]
        rows = [
            Row(f"f{index}+{j}", "alternative", record.prompt_ids, others[j], 1 / n, pair=pair)
            for j in chosen
        ]
        weight = 1.0 if pair else self.target_weight
        if not weight:
            return rows
        target = Row(f"f{index}", "target", record.prompt_ids, record.answer_ids, weight, pair=pair)
        return [target, *rows]

    def step(self, step: int, beliefs: Beliefs, generation: int = 0) -> StepRows:
        """This process's micro-batches of a step.

        Rows are sorted by length over the whole step and dealt out to the processes, so that every
        process has the same amount of work and every forward little padding. All processes have
        the same number of micro-batches, with the same sides in each: where one would lack forget
        or retain rows that another has, it repeats a row at weight 0. Sharded models need this
        lockstep, because every forward of a layer is a meeting of all processes. A pair of rows is
        never taken apart.
        """
        rows = self.rows(step, beliefs, generation)
        counts = {
            kind: Counts(
                pairs=sum(r.kind == "retain" for r in rows)
                if kind == "retain"
                else len(self.pairs(step)),
                weight=sum(r.weight for r in rows if r.kind == kind),
                tokens=sum(self._counted(r) for r in rows if r.kind == kind),
            )
            for kind in ("target", "belief", "alternative", "retain")
        }
        units = sorted(grouped(rows), key=lambda u: (-max(r.length for r in u), u[0].key))
        return StepRows(self._dealt(units), counts)

    def _dealt(self, units: Sequence[Unit]) -> tuple[tuple[Row, ...], ...]:
        size, world = self.rows_per_forward, self.world_size
        dealt = [_split(units[rank::world], size) for rank in range(world)]
        n_micro = max(len(own) for own in dealt)
        dealt = [own + [()] * (n_micro - len(own)) for own in dealt]
        return tuple(
            dealt[self.rank][i] + _idle(units, dealt[self.rank][i], [own[i] for own in dealt])
            for i in range(n_micro)
        )

    def _counted(self, row: Row) -> int:
        fraction = 1.0 if row.kind == "retain" else self.keep_fraction
        return kept_tokens(row.n_scored, fraction)

    def _order(self, name: str, epoch: int, n: int) -> np.ndarray:
        key = (name, epoch)
        if key not in self._orders:
            salt = 0 if name == "forget" else 1
            self._orders[key] = np.random.default_rng([self.seed, salt, epoch]).permutation(n)
        return self._orders[key]


def _split(units: Sequence[Unit], size: int) -> list[tuple[Row, ...]]:
    # Full ones first, so that the peak does not depend on how many rows a step has.
    parts: list[list[Row]] = []
    for unit in units:
        if not parts or len(parts[-1]) + len(unit) > size:
            parts.append([])
        parts[-1].extend(unit)
    return [tuple(part) for part in parts]


def _idle(
    units: Sequence[Unit], own: Sequence[Row], everyone: Sequence[Sequence[Row]]
) -> tuple[Row, ...]:
    """Rows at weight 0, the shortest there are, for sides that only other processes have."""
    missing = {_side(r) for part in everyone for r in part} - {_side(r) for r in own}
    shortest = (next(u for u in reversed(units) if _side(u[0]) == side) for side in sorted(missing))
    return tuple(replace(row, weight=0.0) for unit in shortest for row in unit)


def _side(row: Row) -> str:
    return "retain" if row.kind == "retain" else "forget"
