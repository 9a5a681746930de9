"""The order of trials: successive halving over methods, a directed search over strength in each.

In the first round every method of the portfolio has one trial. Each further round gives one more
to the better half of the round before, until one method is left, which goes on while its chain
knows where to go; then the next best takes over. No trial begins that would overrun the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from unbelief.auto.judging import Trial
from unbelief.auto.portfolio import Entry, Range, Strength, first, following

Run = Callable[[int, Entry, Strength], Trial]
Fits = Callable[[Entry, Sequence[Trial]], bool]


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where a search goes.

    Attributes:
        entries: Methods, in the order of their first trials.
        rate: First learning rate.
        ranges: Of the knobs, by entry.
    """

    entries: tuple[Entry, ...]
    rate: float
    ranges: Mapping[str, Mapping[str, Range]]


def search(space: Space, run: Run, fits: Fits, most: int) -> tuple[list[Trial], str]:
    """Run trials until nothing is left to try, or the budget is spent.

    Args:
        space: Methods and ranges.
        run: Runs a trial (or reads it, if it was run before).
        fits: Whether a trial of an entry can begin.
        most: Largest number of trials.

    Returns:
        The trials in order, and why there are no more.
    """
    trials: list[Trial] = []
    due = [(entry, rounded(first(entry, space.rate))) for entry in space.entries]
    alive = len(space.entries)
    while due:
        before = len(trials)
        for entry, strength in due:
            if len(trials) >= most:
                return trials, f"the {most} trials that were allowed are done"
            if fits(entry, trials):
                trials.append(run(len(trials), entry, strength))
        if len(trials) == before:
            return trials, "no further trial fitted into the budget"
        alive = max(1, math.ceil(alive / 2))
        due = _due(space, trials, alive)
    return trials, "every chain of trials was followed to its end"


def _due(space: Space, trials: Sequence[Trial], alive: int) -> list[tuple[Entry, Strength]]:
    """One more trial for each of the best entries whose chains go on."""
    nexts = [(entry, _next(space, entry, trials)) for entry in _ranked(space, trials)]
    return [(entry, strength) for entry, strength in nexts if strength is not None][:alive]


def _ranked(space: Space, trials: Sequence[Trial]) -> list[Entry]:
    """Entries by the least cost of a step so far; those without any come last.

    Whether a step keeps enough does not count here: what a chain lost too much of, its next trial
    loses less of.
    """

    def cost(entry: Entry) -> float:
        points = [p for t in trials if t.entry == entry.name for p in t.points]
        return min((p.cost for p in points), default=math.inf)

    return sorted(space.entries, key=cost)


def _next(space: Space, entry: Entry, trials: Sequence[Trial]) -> Strength | None:
    chain = [
        (t.strength, t.outcome, t.best.cost if t.best else math.inf)
        for t in trials
        if t.entry == entry.name
    ]
    if not chain:
        return None
    found = following(chain, space.ranges[entry.name])
    return None if found is None else rounded(found)


def rounded(strength: Strength) -> Strength:
    """Three significant digits: what is said is what is run."""
    return replace(
        strength,
        learning_rate=float(f"{strength.learning_rate:.3g}"),
        forget_weight=float(f"{strength.forget_weight:.3g}"),
    )
