"""What every aggregate promises, tried on each one that is found."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from tests.scores.made import scores
from unbelief.scores.base import Aggregate, Statistic
from unbelief.scores.conventions import CONVENTIONS, aggregate
from unbelief.scores.options import option_names
from unbelief.scores.registry import aggregates
from unbelief.scores.statistics import mean_statistic, missing

NAMES = list(aggregates())
INPUTS = {"model_utility": 9, "memorization": 4, "memorization_normalised": 4, "harmonic_mean": 3,
          "agg": 2, "utility": 2, "utility_original_fluency": 2, "mia_auc": 2,
          "mia_tpr_at_fpr": 2}  # fmt: skip


def made(name: str) -> list[Aggregate]:
    """The aggregate under every convention that has its own options for it."""
    return [aggregate(name, c) for c in CONVENTIONS if c == "unbelief" or name in CONVENTIONS[c]]


def drawn(name: str, seed: int, *, backwards: bool = False) -> list[Statistic]:
    rng = np.random.default_rng(seed)
    out = []
    for i in range(INPUTS.get(name, 1)):
        items = scores(rng.uniform(0.05, 0.95, 120).tolist(), [str(j % 30) for j in range(120)])
        if backwards:
            items = items[::-1]
        out.append(mean_statistic(items, unit="share", stream=str(i), draws=60))
    return out


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_complete(name: str) -> None:
    kind = aggregates()[name]
    assert kind.summary and kind.source and kind.unit and kind.version >= 1
    assert kind.limits[0] < kind.limits[1]
    assert name == name.lower()
    text = inspect.getdoc(kind) or ""
    for option in option_names(kind):
        assert f"{option}:" in text, f"{name}: {option} is not explained"


@pytest.mark.parametrize("name", NAMES)
def test_values_are_finite_and_within_limits_and_intervals_in_order(name: str) -> None:
    for one in made(name):
        for seed in range(6):
            result = one.combine(drawn(name, seed), drawn(name, seed + 100))
            estimate = result.estimate("unbelief")
            assert one.limits[0] - 1e-9 <= estimate.value <= one.limits[1] + 1e-9
            assert estimate.n > 0 and estimate.unit
            if estimate.low is not None:
                assert one.limits[0] - 1e-9 <= estimate.low <= estimate.high
                assert estimate.high <= one.limits[1] + 1e-9 and estimate.interval
            else:
                assert result.interval.startswith("none")


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_items_does_not_matter(name: str) -> None:
    one = aggregate(name)
    forward = one.combine(drawn(name, 0), drawn(name, 1))
    backward = one.combine(drawn(name, 0, backwards=True), drawn(name, 1, backwards=True))
    assert forward.value == pytest.approx(backward.value, rel=1e-10, abs=1e-13)
    if forward.draws is not None:
        np.testing.assert_allclose(forward.draws, backward.draws, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_input_is_no_number_and_says_why(name: str) -> None:
    one = aggregate(name)
    for i in range(INPUTS.get(name, 1)):
        inputs = drawn(name, 0)
        inputs[i] = missing("the model was too large", unit="share")
        result = one.combine(inputs, drawn(name, 1))
        assert result.value is None and result.draws is None and result.reasons


@pytest.mark.parametrize("name", [n for n in NAMES if aggregates()[n].needs_reference])
def test_a_missing_reference_is_no_number_and_says_why(name: str) -> None:
    result = aggregate(name).combine(drawn(name, 0), None)
    assert result.value is None and len(result.reasons) == 1


@pytest.mark.parametrize("name", [n for n in NAMES if not aggregates()[n].needs_reference])
def test_a_reference_that_is_not_needed_changes_nothing(name: str) -> None:
    one = aggregate(name)
    alone, beside = one.combine(drawn(name, 0), None), one.combine(drawn(name, 0), drawn(name, 1))
    assert alone.value == beside.value


@pytest.mark.parametrize("name", [n for n in NAMES if n != "harmonic_mean"])
def test_a_wrong_number_of_inputs_is_a_bug(name: str) -> None:
    inputs = drawn(name, 0)
    with pytest.raises(ValueError, match="made of"):
        aggregate(name).combine([*inputs, inputs[0]], None)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_without_resamples_still_have_a_value(name: str) -> None:
    inputs = [replace(one, draws=None) for one in drawn(name, 0)]
    others = [replace(one, draws=None) for one in drawn(name, 1)]
    assert aggregate(name).combine(inputs, others).value is not None


@pytest.mark.parametrize("name", NAMES)
def test_results_bear_the_version_of_their_definition(name: str, monkeypatch) -> None:
    monkeypatch.setattr(aggregates()[name], "version", 7)
    one = aggregate(name)
    lost = [missing("it was lost", unit="share") for _ in drawn(name, 0)]
    for inputs in (drawn(name, 0), lost):
        result = one.combine(inputs, drawn(name, 1))
        # The distance to a missing number says so in that number's terms.
        assert result.version == 7 or (name == "distance_to_retrained" and inputs is lost)
