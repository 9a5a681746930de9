from __future__ import annotations

import pytest

from unbelief.auto.clock import SLACK, Clock, Pace, draws, rows_per_pair, steps_that_fit
from unbelief.auto.portfolio import PORTFOLIO
from unbelief.errors import RequestError

PACE = Pace(step=1.0, measuring=2.0, starting=5.0, answer=0.5)
ENTRY = {entry.name: entry for entry in PORTFOLIO}


def test_rows_and_answers() -> None:
    # One to keep and two beliefs; with the answer itself one more; else the answer and one to keep.
    assert rows_per_pair(ENTRY["transplant"]) == 3
    assert rows_per_pair(ENTRY["transplant+wga"]) == 4
    assert rows_per_pair(ENTRY["wga"]) == 2
    assert (draws(ENTRY["transplant"]), draws(ENTRY["wga"])) == (8, 0)


def test_the_seconds_of_a_trial() -> None:
    assert PACE.trial(10, 4, 2.0) == 5 + 10 + 8
    assert PACE.trial(10, 4, 3.0) == 5 + 15 + 8


def test_trials_get_shorter_until_enough_of_them_fit() -> None:
    def steps(seconds: float, wanted: int = 100) -> int:
        return steps_that_fit(wanted, 4, PACE, seconds, [ENTRY["wga"]])

    # Nine shares of s seconds each: 13 + steps = s / 1.1.
    assert steps(9 * 1.1 * 120) == 100
    assert steps(9 * 1.1 * 73) == 60
    # 39 steps are too few for so many trials: five shares, and 52 / 1.1 ... of each are steps.
    seconds = 9 * 1.1 * 52
    assert steps(seconds) == int(seconds / 5 / 1.1 - 13)
    # The final run has one share too: two shares of 8 steps are 2 × 21.
    assert steps(2 * 1.1 * 21.01) == 8
    with pytest.raises(RequestError, match="budget is too small") as caught:
        steps(2 * 1.1 * 20)
    assert caught.value.where == "--budget"
    # As many as are wanted, where so few are wanted.
    assert steps(9 * 1.1 * 120, wanted=3) == 3


def test_a_trial_is_predicted_from_its_own_method_once_that_is_known() -> None:
    clock = Clock(budget=100.0, before=30.0)
    assert 30.0 <= clock.spent < 31.0 and clock.left == pytest.approx(70, abs=1)
    wga, transplant = ENTRY["wga"], ENTRY["transplant"]
    assert clock.predicted(wga, 10, 4, PACE, 0) == pytest.approx(SLACK * 23)
    assert clock.predicted(transplant, 10, 4, PACE, 8) == pytest.approx(SLACK * (4 + 28))
    clock.learn(wga, 2.0)
    clock.learn(wga, 1.5)  # the slower one counts
    clock.learn(transplant, None)
    assert clock.predicted(wga, 10, 4, PACE, 0) == pytest.approx(SLACK * (5 + 20 + 8))
    assert clock.predicted(transplant, 10, 4, PACE, 0) == pytest.approx(SLACK * 28)
    assert clock.fits(30, 30) and not clock.fits(40, 31)
