"""The budget: wall time over all starts of a search, and whether another trial fits into it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from unbelief.auto.portfolio import Entry
from unbelief.errors import RequestError

ROOM = ((8, 40), (4, 20), (2, 8), (1, 8))
"""How many trials are to fit beside the final run, and the fewest steps for which so many are
wanted: rather fewer trials than such as are too short to end anywhere."""
SLACK = 1.1
"""Times are taken a little longer than measured."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What was measured before the first trial.

    Attributes:
        step: Seconds of an optimiser step with two rows per pair.
        measuring: Seconds of asking a model once.
        starting: Seconds from the start of a run to its first step.
        answer: Seconds of an answer that the original is asked for.
    """

    step: float
    measuring: float
    starting: float
    answer: float

    def trial(self, steps: int, measurements: int, rows: float) -> float:
        """Seconds of a whole trial whose steps have `rows` rows per pair."""
        return self.starting + steps * self.step * rows / 2 + measurements * self.measuring


def rows_per_pair(entry: Entry) -> float:
    """Rows of a pair in a step: two, or one to keep beside the beliefs and the answer."""
    per_step = float(entry.options.get("per_step", 0))
    if not per_step:
        return 2.0
    return 1 + per_step + ("inner" in entry.options)


def draws(entry: Entry) -> int:
    """Answers that are asked for per record before the first trial: some leak, so twice as many."""
    return 2 * int(entry.options.get("samples", 0))


def steps_that_fit(
    wanted: int, measurements: int, pace: Pace, seconds: float, entries: Sequence[Entry]
) -> int:
    """Steps of a trial: as wanted, or fewer, so that several trials fit (`ROOM`).

    Args:
        wanted: Steps without a budget.
        measurements: Times a trial is measured.
        pace: Measured times.
        seconds: What is left of the budget.
        entries: The methods.

    Raises:
        RequestError: Not even short trials fit.
    """
    rows = max(map(rows_per_pair, entries))
    for trials, fewest in ROOM:
        share = seconds / (trials + 1) / SLACK
        steps = wanted
        while steps > 1 and pace.trial(steps, min(measurements, steps), rows) > share:
            steps -= 1
        if steps >= min(fewest, wanted) and pace.trial(steps, 1, rows) <= share:
            return steps
    least = SLACK * 2 * pace.trial(min(fewest, wanted), min(measurements, wanted), rows)
    raise RequestError(
        f"the budget is too small: after the preparation {seconds:.0f} s are left, and one trial "
        f"with the final run takes {least:.0f} s",
        where="--budget",
        remedy="give more minutes, fewer records per step, or a smaller --set limit",
    )


@dataclass
class Clock:
    """Seconds spent, over all starts.

    Attributes:
        budget: Seconds in all.
        before: Seconds that earlier starts spent.
    """

    budget: float
    before: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _known: dict[str, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.budget - self.spent

    def learn(self, entry: Entry, step: float | None) -> None:
        """Take a trial's own seconds per step."""
        if step is not None:
            self._known[entry.name] = max(step, self._known.get(entry.name, 0.0))

    def predicted(
        self, entry: Entry, steps: int, measurements: int, pace: Pace, answers: int
    ) -> float:
        """Seconds of a trial, from its method's own steps where there were any.

        Args:
            entry: Its method.
            steps: Optimiser steps.
            measurements: Times it is measured.
            pace: Measured times.
            answers: Answers the original is asked for first.
        """
        asking, known = answers * pace.answer, self._known.get(entry.name)
        if known is None:
            return SLACK * (asking + pace.trial(steps, measurements, rows_per_pair(entry)))
        training = pace.starting + steps * known + measurements * pace.measuring
        return SLACK * (asking + training)

    def deadline(self, reserve: float) -> float:
        """Monotonic time at which a trial must end, so that `reserve` seconds are left."""
        return time.monotonic() + self.left - reserve

    def fits(self, seconds: float, reserve: float) -> bool:
        """Whether something can begin and leave what the final run needs."""
        return seconds + reserve <= self.left
