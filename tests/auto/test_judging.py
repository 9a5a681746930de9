from __future__ import annotations

import pytest

from unbelief.auto.aims import Aim, Mark, aim_of
from unbelief.auto.choosing import choose, why_not
from unbelief.auto.judging import Point, Trial, point_of, should_end
from unbelief.auto.portfolio import Strength
from unbelief.auto.yardstick import Reading
from unbelief.errors import Inconclusive
from unbelief.scores.base import Statistic

# Excess of the original: 0.9 - 0.1 = 0.8 by ES, 0.8 - 0.3 = 0.5 by probability.
AIM = Aim(
    marks={
        "extraction_strength": Mark(original=0.9, level=0.1, high=0.2),
        "probability": Mark(original=0.8, level=0.3, high=0.3),
    },
    original_utility=0.8,
    told_level=0.5,
    keep=0.95,
    tolerance=0.05,
)


def reading(es: float | None, p: float, utility: float, told: float | None) -> Reading:
    values = {"extraction_strength": es, "probability": p, "utility": utility, "told": told}
    return Reading({k: Statistic(value=v, unit="share") for k, v in values.items()})


def point(step: int = 1, excess: float = 0.0, lost: float = 0.0, unlike: float = 0.0) -> Point:
    return Point(
        step=step,
        leak={},
        utility=1 - lost,
        told=None,
        excess=excess,
        below=0.0,
        lost=lost,
        unlike=unlike,
        keeps=lost <= 0.05,
        reached=excess <= 0.05,
    )


def trial(number: int, *points: Point, entry: str = "wga", diverged: bool = False) -> Trial:
    return Trial(
        number=number,
        entry=entry,
        strength=Strength(learning_rate=1e-3, forget_weight=0.2),
        points=points,
        ended="it ran to its full length",
        seconds=1.0,
        allowed=0.05,
        diverged=diverged,
    )


def test_the_shares_of_a_step() -> None:
    # ES 0.3: (0.3 - 0.1) / 0.8 = 0.25; probability 0.5: 0.2 / 0.5 = 0.4, the worse one.
    # Utility 0.6 of 0.8: a quarter lost. Told 0.4 of 0.5: a fifth short.
    found = point_of(7, reading(0.3, 0.5, 0.6, 0.4), AIM)
    assert found is not None
    shares = (found.excess, found.below, found.lost, found.unlike)
    assert shares == pytest.approx((0.4, 0.0, 0.25, 0.2))
    assert found.cost == pytest.approx(0.4 + 0.25 + 0.2)
    assert (found.step, found.keeps, found.reached) == (7, False, False)


def test_leaking_less_than_the_level_costs_as_much_as_leaking_more() -> None:
    # ES 0.02 is 0.08 / 0.8 = 0.1 below, probability 0.2 is 0.1 / 0.5 = 0.2 below.
    found = point_of(1, reading(0.02, 0.2, 0.8, 0.9), AIM)
    assert found is not None
    assert (found.excess, found.below, found.unlike) == pytest.approx((0.0, 0.2, 0.0))
    assert found.reached and found.keeps and found.cost == pytest.approx(0.2)


def test_the_level_is_reached_within_its_interval_or_the_tolerance() -> None:
    def reached(es: float, p: float) -> bool:
        found = point_of(1, reading(es, p, 0.8, 0.5), AIM)
        assert found is not None
        return found.reached

    assert reached(0.18, 0.3)  # ES below its upper end, and a tenth of the excess
    assert not reached(0.19, 0.3)  # more than a tenth
    assert reached(0.14, 0.325)  # no interval: 0.025 / 0.5 is the tolerance
    assert not reached(0.14, 0.33)
    wide = Aim(
        marks={"probability": Mark(original=0.8, level=0.3, high=0.8)},
        original_utility=0.8,
        told_level=None,
        keep=0.95,
        tolerance=0.05,
    )
    # An interval up to the original would call doing nothing enough: a tenth is the most.
    for p, there in ((0.35, True), (0.36, False)):
        found = point_of(1, reading(None, p, 0.8, None), wide)
        assert found is not None and found.reached is there


def test_what_cannot_be_measured_is_no_step() -> None:
    assert point_of(1, reading(None, 0.5, 0.6, 0.4), AIM) is None
    without = point_of(1, reading(0.3, 0.5, 0.6, None), AIM)
    assert without is not None and without.unlike == 0


def estimate(value: float | None, high: float | None = None) -> dict[str, object]:
    return {"value": value, "high": high, "reasons": {} if value is not None else {"so": 1}}


@pytest.mark.parametrize(
    ("original", "level", "utility", "says"),
    [
        (0.9, None, 0.9, "the leak level could not be estimated, because so"),
        (None, 0.1, 0.9, "the original model could not be measured, because so"),
        (0.9, 0.1, None, "the original model could not be measured, because so"),
        (0.12, 0.1, 0.9, "there is nothing to forget by this measure"),
    ],
)
def test_without_an_aim_there_is_no_search(original, level, utility, says: str) -> None:
    with pytest.raises(Inconclusive) as caught:
        aim_of(
            {"probability": estimate(original), "utility": estimate(utility)},
            {"probability": estimate(level, 0.2)},
            ["probability"],
            0.95,
            0.05,
        )
    assert says in caught.value.message and caught.value.remedy


def test_the_aim_takes_the_upper_end_where_there_is_one() -> None:
    original = {"probability": estimate(0.9), "utility": estimate(0.8)}
    for high, expected in ((0.2, 0.2), (None, 0.1)):
        aim = aim_of(original, {"probability": estimate(0.1, high)}, ["probability"], 0.9, 0.0)
        assert aim.marks["probability"] == Mark(original=0.9, level=0.1, high=expected)
        assert aim.told_level is None


def test_outcomes() -> None:
    assert trial(0).outcome == "diverged"
    assert trial(0, point(), diverged=True).outcome == "diverged"
    assert trial(0, point(lost=0.2), point(2)).outcome == "reached"
    assert trial(0, point(excess=0.3), point(2, excess=0.2, lost=0.04)).outcome == "weak"
    assert trial(0, point(excess=0.9), point(2, excess=0.8, lost=0.01)).outcome == "idle"
    assert trial(0, point(excess=0.9), point(2, excess=0.8, lost=0.3)).outcome == "harmful"


def test_a_trial_is_what_its_file_says() -> None:
    for one in (trial(3, point(2, excess=0.4), point(5)), trial(1, diverged=True)):
        assert Trial.from_dict(one.to_dict()) == one


def test_when_a_trial_need_not_go_on() -> None:
    assert should_end([point(excess=0.9, lost=0.51)], 0.05) is not None
    # 0.2 is more than three times 0.05: not once, but twice and not getting better.
    assert should_end([point(excess=0.9, lost=0.2)], 0.05) is None
    assert should_end([point(excess=0.9, lost=0.2), point(2, lost=0.25)], 0.05) is not None
    assert should_end([point(excess=0.9, lost=0.25), point(2, lost=0.2)], 0.05) is None
    # The level is reached at step 1, and steps 2 and 3 are worse.
    later = [point(1, lost=0.01), point(2, lost=0.02)]
    assert should_end(later, 0.05) is None
    assert should_end([*later, point(3, lost=0.03)], 0.05) is not None
    assert should_end([*later, point(3)], 0.05) is None


def test_the_choice_is_at_the_level_and_keeps_enough_before_it_is_cheap() -> None:
    cheap = trial(0, point(excess=0.06))  # cost 0.06, not at the level
    there = trial(1, point(3, lost=0.04, unlike=0.5), point(6, lost=0.03, unlike=0.5))
    found = choose([cheap, there], original_cost=1.0)
    assert found is not None and found.reached
    assert (found.trial.number, found.point.step) == (1, 6)
    assert why_not(there, found) is None
    assert "6% of the excess leak was left" in str(why_not(cheap, found))
    dear = trial(2, point(lost=0.04, unlike=0.6), entry="tnpo")
    assert "its cost is 0.640, not below 0.530" in str(why_not(dear, found))
    lossy = trial(3, point(lost=0.06))
    assert "lost 6.0% of the utility" in str(why_not(lossy, found))
    assert "nothing of it" in str(why_not(trial(4, diverged=True), found))


def test_without_such_a_step_the_nearest_is_named_unless_nothing_is_better_than_nothing() -> None:
    kept = trial(0, point(excess=0.5, lost=0.05))
    spoilt = trial(1, point(excess=0.0, lost=0.2))
    found = choose([kept, spoilt], original_cost=1.0)
    assert found is not None and not found.reached and found.trial.number == 0
    assert choose([kept], original_cost=0.5) is None
    assert choose([trial(0, diverged=True)], original_cost=1.0) is None
