from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from unbelief.auto.journal import Journal
from unbelief.auto.judging import Point, Trial
from unbelief.auto.options import AutoOptions
from unbelief.auto.portfolio import Entry, Strength, ranges
from unbelief.auto.search import Space, rounded, search
from unbelief.auto.searching import Searching

NAMES = ("wga", "tnpo", "bs-t", "npo", "graddiff")


def space() -> Space:
    entries = tuple(Entry(name=n, method=n, forget_weight=0.2, source="") for n in NAMES)
    return Space(entries=entries, rate=1e-3, ranges={e.name: ranges(e, 1e-3) for e in entries})


class Runner:
    """Every method forgets the same and costs what is written here; trials get no better."""

    costs: ClassVar = dict(zip(NAMES, (0.5, 0.1, 0.4, 0.2, 0.3), strict=True))

    def __init__(self) -> None:
        self.tried: list[tuple[str, Strength]] = []

    def __call__(self, number: int, entry: Entry, strength: Strength) -> Trial:
        self.tried.append((entry.name, strength))
        point = Point(
            step=1, leak={}, utility=1.0, told=None, excess=0.0, below=0.0, lost=0.0,
            unlike=self.costs[entry.name], keeps=True, reached=True,
        )  # fmt: skip
        return Trial(
            number=number, entry=entry.name, strength=strength, points=(point,), ended="",
            seconds=1.0, allowed=0.05,
        )  # fmt: skip


def test_methods_are_halved_and_the_best_goes_on_to_the_end_of_its_chain() -> None:
    runner = Runner()
    trials, why = search(space(), runner, lambda _entry, _trials: True, most=100)
    names = [name for name, _ in runner.tried]
    # Five methods once; the best ceil(5/2) = 3, the best 2, then the best alone. A chain that
    # reached the level has six moves, so tnpo takes seven trials in all, and then the next one.
    assert names[:5] == list(NAMES)
    assert names[5:8] == ["tnpo", "npo", "graddiff"]
    assert names[8:10] == ["tnpo", "npo"]
    assert names[10:14] == ["tnpo"] * 4
    assert names[14:18] == ["npo"] * 4
    assert len(trials) == 5 * 7 and {names.count(n) for n in NAMES} == {7}
    assert len(set(runner.tried)) == len(trials)
    assert "to its end" in why


def test_no_more_trials_than_allowed() -> None:
    runner = Runner()
    trials, why = search(space(), runner, lambda _entry, _trials: True, most=6)
    assert len(trials) == len(runner.tried) == 6 and "6 trials" in why


def test_a_trial_that_would_not_fit_does_not_begin() -> None:
    runner = Runner()

    def fits(entry: Entry, trials: Sequence[Trial]) -> bool:
        return entry.name != "tnpo" and len(trials) < 7

    _, why = search(space(), runner, fits, most=100)
    # tnpo is never run; of the rest the best two, then the best, whose trials are the sixth and
    # the seventh; then nothing fits any more.
    names = [name for name, _ in runner.tried]
    assert names[:4] == ["wga", "bs-t", "npo", "graddiff"] and len(names) == 7
    assert set(names[4:]) <= {"npo", "graddiff", "bs-t"} and "tnpo" not in names
    assert why == "no further trial fitted into the budget"
    assert search(space(), runner, lambda _entry, _trials: False, most=9)[0] == []


def test_the_same_outcomes_give_the_same_list() -> None:
    first, second = Runner(), Runner()
    for runner in (first, second):
        search(space(), runner, lambda _entry, _trials: True, most=20)
    assert first.tried == second.tried


def test_strengths_have_three_digits() -> None:
    found = rounded(Strength(learning_rate=0.00123456, forget_weight=0.14142))
    assert (found.learning_rate, found.forget_weight) == (0.00123, 0.141)


def test_what_an_earlier_start_did_is_done_again_in_the_same_order(tmp_path: Path) -> None:
    """It ran tnpo first, because wga did not fit then; afterwards it had begun the final run."""
    journal, entries = Journal(tmp_path), {e.name: e for e in space().entries}
    trial = Runner()(0, entries["tnpo"], Strength(learning_rate=1e-3, forget_weight=0.2))
    journal.keep_trial(trial, {"step_seconds": 2.0})
    journal.keep("prepared", {"seconds": 3.5, "steps": 8, "pace": {}})
    again = Searching(
        shop=None,  # type: ignore[arg-type]  # nothing is run
        journal=journal,
        options=AutoOptions(budget=100),
        wanted=space().entries,
    )
    assert journal.spent == 4.5 and again.clock.before == 4.5
    assert journal.trial(0) == trial and journal.steps_of(0) == 2.0
    assert [e for e in entries if again._fits(entries[e], [])] == ["tnpo"]
    journal.keep("final", {"trial": 0, "step": 1})
    assert not again._fits(entries["wga"], [trial])
