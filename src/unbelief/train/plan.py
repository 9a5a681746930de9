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

from unbelief.objectives.base import Counts, kept_tokens
from unbelief.tokens import Encoded, Row

Beliefs = Mapping[str, Sequence[tuple[int, ...]]]


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
        """All rows of a step: targets, beliefs about their prompts, retain rows."""
        out = []
        for index in self.pairs(step):
            out.extend(self.forget_rows(index, beliefs, generation))
        out.extend(
            Row(f"r{i}", "retain", self.retain[i].prompt_ids, self.retain[i].answer_ids)
            for i in self.retain_indices(step)
        )
        return out

    def forget_rows(self, index: int, beliefs: Beliefs, generation: int = 0) -> list[Row]:
        """The target row of a forget record (ω = 1-λ) and its belief rows (ω = λ/N each)."""
        record = self.forget[index]
        answers = beliefs.get(record.record_id, ())
        share = self.belief_weight if answers else 0.0
        target = Row(f"f{index}", "target", record.prompt_ids, record.answer_ids, 1.0 - share)
        return [target] + [
            Row(
                f"f{index}#{j}@{generation}", "belief", record.prompt_ids, ids, share / len(answers)
            )
            for j, ids in enumerate(answers)
        ]

    def step(self, step: int, beliefs: Beliefs, generation: int = 0) -> StepRows:
        """This process's micro-batches of a step.

        Rows are sorted by length over the whole step and dealt out to the processes, so that every
        process has the same amount of work and every forward little padding. All processes have
        the same number of micro-batches, with the same sides in each: where one would lack forget
        or retain rows that another has, it repeats a row at weight 0. Sharded models need this
        lockstep, because every forward of a layer is a meeting of all processes.
        """
        rows = sorted(self.rows(step, beliefs, generation), key=lambda r: (-r.length, r.key))
        counts = {
            kind: Counts(
                pairs=sum(r.kind == ("retain" if kind == "retain" else "target") for r in rows),
                weight=sum(r.weight for r in rows if r.kind == kind),
                tokens=sum(self._counted(r) for r in rows if r.kind == kind),
            )
            for kind in ("target", "belief", "retain")
        }
        return StepRows(self._dealt(rows), counts)

    def _dealt(self, rows: Sequence[Row]) -> tuple[tuple[Row, ...], ...]:
        n_micro = math.ceil(math.ceil(len(rows) / self.world_size) / self.rows_per_forward)
        size, world = self.rows_per_forward, self.world_size
        dealt = [_split(rows[rank::world], n_micro, size) for rank in range(world)]
        return tuple(
            dealt[self.rank][i] + _idle(rows, dealt[self.rank][i], [own[i] for own in dealt])
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


def _split(rows: Sequence[Row], n: int, size: int) -> list[tuple[Row, ...]]:
    # Full ones first, so that the peak does not depend on how many rows a step has.
    return [tuple(rows[i * size : (i + 1) * size]) for i in range(n)]


def _idle(
    rows: Sequence[Row], own: Sequence[Row], everyone: Sequence[Sequence[Row]]
) -> tuple[Row, ...]:
    """Rows at weight 0, the shortest there are, for sides that only other processes have."""
    missing = {_side(r) for part in everyone for r in part} - {_side(r) for r in own}
    shortest = (next(r for r in reversed(rows) if _side(r) == side) for side in sorted(missing))
    return tuple(replace(row, weight=0.0) for row in shortest)


def _side(row: Row) -> str:
    return "retain" if row.kind == "retain" else "forget"
