from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.calibrate.search import TOLERANCE, find_alpha


def test_a_line_is_cut_where_it_crosses_the_bar():
    # M(a) = 1 - 0.29 a >= 0.9 for a <= 0.3448. On the grid of 0.1 the largest feasible is 0.3.
    # Halving (0.3, 0.4]: 0.35 gives 0.8985, near the bar but below it; 0.325 gives 0.90575, 0.00575
    # above; 0.3375 gives 0.902125, within 0.005, which ends the search.
    found = find_alpha(lambda a: 1 - 0.29 * a, keep=0.9, grid=0.1)
    assert found.alpha == pytest.approx(0.3375)
    assert found.kept == pytest.approx(0.902125)
    assert found.monotone and found.binding
    assert found.first_infeasible == pytest.approx(0.35)
    assert found.largest_rise == 0
    assert [t.stage for t in found.curve].count("bisection") == 3
    assert len(found.curve) == 14


def test_the_bisection_narrows_to_its_width():
    # M(a) = 2 up to a = 0.32, then 0: the bar of 1 is never near. (0.3, 0.35] is halved to
    # 0.325 (no), 0.3125 (yes), 0.31875 (yes), 0.321875 (no): width 0.003125 <= 0.005.
    found = find_alpha(lambda a: 2.0 * (a <= 0.32), keep=0.5)
    assert found.alpha == pytest.approx(0.31875)
    assert found.bar == 1.0 and found.kept == 1.0
    halves = [t.alpha for t in found.curve if t.stage == "bisection"]
    assert halves == pytest.approx([0.3125, 0.31875, 0.321875, 0.325])


def test_a_dip_is_flagged_and_the_largest_feasible_taken():
    # Below the bar at 0.3 alone: 1, 1, 1, 0.5, 1, 1, then 0 from 0.6 on.
    def dipping(alpha: float) -> float:
        return 0.5 if abs(alpha - 0.3) < 0.01 else float(alpha < 0.55)

    found = find_alpha(dipping, keep=0.9, grid=0.1, width=0.1)
    assert found.alpha == pytest.approx(0.5)
    assert not found.monotone
    assert found.first_infeasible == pytest.approx(0.3)
    assert found.largest_rise == pytest.approx(0.5)  # from 0.3 to 0.4


def test_a_rise_above_the_bar_is_no_flag_but_is_told():
    # 1, 0.95, 1.2, 0.2: all that is below the largest feasible point is feasible too.
    values = {0.0: 1.0, 1 / 3: 0.95, 2 / 3: 1.2, 1.0: 0.2}
    found = find_alpha(lambda a: values.get(a, 0.0), keep=0.9, grid=1 / 3, width=0.5)
    assert found.alpha == pytest.approx(2 / 3)
    assert found.monotone and found.largest_rise == pytest.approx(0.25)


def test_an_unlearned_model_that_keeps_enough_is_taken_whole():
    found = find_alpha(lambda a: 1 - 0.01 * a, keep=0.95)
    assert found.alpha == 1 and not found.binding
    assert found.first_infeasible is None
    assert len(found.curve) == 21


def test_nothing_but_the_original_keeps_enough():
    found = find_alpha(lambda a: float(a == 0), keep=0.95)
    assert found.alpha == 0 and found.kept == 1


def test_an_original_that_knows_nothing_is_no_measure():
    with pytest.raises(ValueError, match=r"0\.0, so there is no share"):
        find_alpha(lambda a: 0.0, keep=0.95)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=11, max_size=11),
    keep=st.floats(0.1, 1.0),
)
def test_whatever_the_curve_the_answer_was_tried_and_is_feasible(values, keep):
    values = [0.5, *values[1:]]

    def curve(alpha: float) -> float:  # a line between the given points
        i = min(int(alpha * 10), 9)
        share = alpha * 10 - i
        return values[i] * (1 - share) + values[i + 1] * share

    found = find_alpha(curve, keep=keep, grid=0.1)
    assert curve(found.alpha) >= keep * 0.5
    larger = [t for t in found.curve if t.alpha > found.alpha]
    assert not any(t.feasible for t in larger)
    if found.binding:  # either narrow, or the last point is near the bar
        next_one = min(larger, key=lambda t: t.alpha)
        last = [t for t in found.curve if t.stage == "bisection"]
        near = any(t.feasible and t.value - found.bar <= TOLERANCE * 0.5 for t in last)
        assert near or next_one.alpha - found.alpha <= 0.005 + 1e-9
