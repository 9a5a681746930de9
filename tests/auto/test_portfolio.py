from __future__ import annotations

import pytest

from unbelief.auto.portfolio import (
    PORTFOLIO,
    Strength,
    entries,
    first,
    first_rate,
    following,
    ranges,
)
from unbelief.errors import RequestError
from unbelief.objectives import build_objective
from unbelief.study.spaces import Range

ALLOWED = {
    "learning_rate": Range(name="learning_rate", low=1e-4, high=4e-3, log=True, source=""),
    "forget_weight": Range(name="forget_weight", low=0.05, high=2.0, log=True, source=""),
}
START = Strength(learning_rate=1e-3, forget_weight=0.2)


def at(rate: float, weight: float) -> Strength:
    return Strength(learning_rate=rate, forget_weight=weight)


def same(found: Strength | None, rate: float, weight: float) -> bool:
    return found is not None and (found.learning_rate, found.forget_weight) == pytest.approx(
        (rate, weight)
    )


def test_every_entry_can_be_built_and_begins_within_its_ranges() -> None:
    for entry in PORTFOLIO:
        objective = build_objective(
            entry.method, {**entry.options, "forget_weight": entry.forget_weight}
        )
        assert objective.retain is not None
        allowed, begin = ranges(entry, 1e-3), first(entry, 1e-3)
        assert allowed["learning_rate"].holds(begin.learning_rate)
        assert allowed["forget_weight"].holds(begin.forget_weight)


def test_methods_may_be_named() -> None:
    assert entries("") == PORTFOLIO
    named = entries("wga, npo")
    assert [e.name for e in named] == ["wga", "npo"]
    assert named[1].forget_weight == pytest.approx(0.1)  # a tenth of NPO's own 1
    for wrong, says in (("wga,wga", "twice"), ("ga", "no retain term"), ("nnpo", "unknown method")):
        with pytest.raises(RequestError, match=says):
            entries(wrong)


def test_the_first_rate_follows_the_width() -> None:
    # 5e-4 (256 / d)^2 between 5e-6 and 5e-4; ten times that for adapters, at most 1e-3.
    assert first_rate(128, lora=False) == 5e-4
    assert first_rate(512, lora=False) == pytest.approx(1.25e-4)
    assert first_rate(8192, lora=False) == 5e-6
    assert first_rate(8192, lora=True) == pytest.approx(5e-5)
    assert first_rate(512, lora=True) == 1e-3


def test_what_became_of_a_trial_says_where_its_chain_goes() -> None:
    def after(*tried: tuple[Strength, str, float]) -> Strength | None:
        return following(tried, ALLOWED)  # type: ignore[arg-type]

    assert same(after((START, "idle", 1.0)), 3e-3, 0.2)
    assert same(after((START, "weak", 1.0)), 1e-3, 0.4)
    assert same(after((START, "diverged", 1.0)), 2.5e-4, 0.2)
    # Harmful: the rate first, then the weight, then the rate again.
    assert same(after((START, "harmful", 1.0)), 5e-4, 0.2)
    slower = (START, "harmful", 1.0), (at(5e-4, 0.2), "harmful", 1.0)
    assert same(after(*slower), 5e-4, 0.1)
    # At the end of the weight's range the rate goes on: 0.05 / 2 is below it, and so is
    # 0.05 / sqrt 2.
    low = (START, "harmful", 1.0), (at(5e-4, 0.05), "harmful", 1.0)
    assert same(after(*low), 2.5e-4, 0.05)


def test_a_knob_turned_up_in_vain_gives_way_to_the_other() -> None:
    def after(*tried: tuple[Strength, str, float]) -> Strength | None:
        return following(tried, ALLOWED)  # type: ignore[arg-type]

    first = (START, "weak", 0.6)
    # γ was doubled and the cost fell by a fortieth: now the rate is doubled, and γ stays.
    assert same(after(first, (at(1e-3, 0.4), "weak", 0.585)), 2e-3, 0.4)
    # It fell by a sixth, or by exactly a tenth: γ goes on. It rose: the rate.
    assert same(after(first, (at(1e-3, 0.4), "weak", 0.5)), 1e-3, 0.8)
    assert same(after((START, "weak", 1.0), (at(1e-3, 0.4), "weak", 0.9)), 1e-3, 0.8)
    assert same(after(first, (at(1e-3, 0.4), "weak", 0.7)), 2e-3, 0.4)
    # The rate was turned, in vain or not: γ comes first, as ever.
    turned = first, (at(1e-3, 0.4), "weak", 0.585), (at(2e-3, 0.4), "weak", 0.58)
    assert same(after(*turned), 2e-3, 0.8)
    # A move down is not held against its knob.
    gentler = (START, "harmful", 0.6), (at(1e-3, 0.1), "weak", 0.6)
    assert same(after(*gentler), 1e-3, 0.1 * 2**0.5)
    # Idle: the rate was tripled in vain, so γ; where it helped, the rate again.
    idle = (at(2e-4, 0.2), "idle", 1.0)
    assert same(after(idle, (at(6e-4, 0.2), "idle", 0.95)), 6e-4, 0.6)
    assert same(after(idle, (at(6e-4, 0.2), "idle", 0.8)), 1.8e-3, 0.2)
    # At the edge of the other knob's range the first goes on: twice 4e-3 is outside.
    edge = (at(4e-3, 0.2), "weak", 0.6), (at(4e-3, 0.4), "weak", 0.6)
    assert same(after(*edge), 4e-3, 0.8)


def test_a_chain_that_reached_the_level_is_searched_around_its_best_and_ends() -> None:
    tried = [(START, "reached", 0.3), (at(2e-3, 0.2), "reached", 0.5)]
    visited = []
    while (step := following(tried, ALLOWED)) is not None:
        visited.append((step.learning_rate, step.forget_weight))
        tried.append((step, "reached", 0.9))
    r = 0.5**0.5
    assert [x for pair in visited for x in pair] == pytest.approx(
        [
            *(1e-3, 0.1),
            *(1e-3, 0.2 * r),
            *(5e-4, 0.2),
            *(1e-3 * r, 0.2),
            *(1e-3, 0.4),
            *(1e-3, 0.2 / r),
        ]
    )


def test_a_move_to_where_a_trial_was_is_halved_in_ratios() -> None:
    tried = [(at(5e-4, 0.2), "idle", 1.0), (at(1.5e-3, 0.2), "harmful", 1.0)]
    # Back to 7.5e-4 is new; from there idle again: 2.25e-3 is new; but from a trial at 3 × this
    # rate the same step was made before, so its root is taken.
    tried.append((at(5e-4 * 3**-1, 0.2), "idle", 1.0))
    found = following(tried, ALLOWED)  # type: ignore[arg-type]
    assert same(found, 5e-4 * 3**-0.5, 0.2)
