from __future__ import annotations

import pytest

from unbelief.errors import RequestError
from unbelief.objectives.methods import build_objective, methods
from unbelief.study.rules import control_options, costs, measured_at, weigh
from unbelief.study.spaces import Range, first_guess, space_of
from unbelief.study.testbed import distance

RATES = (1e-4, 3e-3)


@pytest.mark.parametrize("method", sorted(methods()))
def test_every_method_can_be_built_from_the_ends_and_the_first_guess_of_its_ranges(method):
    space = space_of(method, RATES)
    assert space[0].name == "learning_rate" and all(r.source for r in space)
    names = [r.name for r in space]
    assert len(set(names)) == len(names)
    guess = first_guess(method, space)
    assert all(r.holds(guess[r.name]) for r in space)
    ends = [guess]
    ends += [{r.name: r.choices[i] if r.choices else (r.low, r.high)[i] for r in space}
             for i in (0, -1)]  # fmt: skip
    for options in ends:
        rest = {k: v for k, v in options.items() if k != "learning_rate"}
        has_retain = build_objective(method).retain is not None
        built = build_objective(method, rest)
        assert (built.retain is not None) == has_retain
        assert ("forget_weight" in rest) == (has_retain and "retain_weight" not in rest)


def test_the_first_guess_is_the_methods_own_default():
    guess = first_guess("bs-t", space_of("bs-t", RATES))
    assert (guess["weight"], guess["top_k"], guess["forget_weight"]) == (0.2, 20, 1.0)
    # The middle of the ratios: sqrt(1e-4 · 3e-3).
    assert guess["learning_rate"] == pytest.approx(5.477e-4, rel=1e-3)


def test_an_unknown_method_is_told():
    with pytest.raises(RequestError, match="unknown method"):
        space_of("bst", RATES)


def test_a_range_without_room_is_a_bug():
    with pytest.raises(ValueError, match="no room"):
        Range(name="x", low=1, high=1, source="")
    with pytest.raises(ValueError, match="ratios"):
        Range(name="x", low=0, high=1, log=True, source="")


def test_distance_is_the_sum_of_its_parts():
    retrained = {"forgetting": 0.8, "naturalness": 0.9, "utility": 0.95}
    # Leak 0.5 against 0.2: 0.3; naturalness 0.1 below; utility 0.02 above counts too.
    values, why = distance({"forgetting": 0.5, "naturalness": 0.8, "utility": 0.97}, retrained)
    assert why == {}
    assert values["distance"] == pytest.approx(0.3 + 0.1 + 0.02)
    # Leaking less than the retrained model is no merit.
    values, _ = distance({"forgetting": 1.0, "naturalness": 0.9, "utility": 0.95}, retrained)
    assert values["distance"] == pytest.approx(0)


def test_a_distance_that_cannot_be_computed_says_why():
    assert "no retrained" in distance({"forgetting": 1.0}, None)[1]["distance"]
    values, why = distance({"forgetting": 1.0, "utility": 1.0}, {"forgetting": 1.0})
    assert values == {} and "naturalness could not be measured" in why["distance"]


def test_costs_turn_what_should_be_high_around():
    assert costs({"distance": 0.3, "utility": 0.9}, ("distance", "utility")) == pytest.approx(
        (0.3, 0.1)
    )
    assert weigh((0.3, 0.1), "sum") == pytest.approx(0.4)
    assert weigh((0.3, 0.1), "worst") == 0.3


def test_steps_of_measurement_are_equally_far_apart():
    assert measured_at(24, 3) == (8, 16, 24)
    assert measured_at(2, 4) == (1, 2)  # no step twice, none before the first


def test_the_control_of_bs_t_has_its_gradient_ascent_alone():
    # γ = 2 and λ = 0.2: gradient ascent at 2 · 0.8; nothing else is left of the belief term.
    options = {"learning_rate": 1e-3, "forget_weight": 2.0, "weight": 0.2, "top_k": 5}
    assert control_options(options) == {"learning_rate": 1e-3, "forget_weight": 1.6}
