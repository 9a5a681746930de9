from __future__ import annotations

import pytest

from unbelief.scores.conventions import metric
from unbelief.study.protocol import (
    attack_of,
    faithfulness,
    harmonic,
    knowledge,
    quantisation_robustness,
    relearning_robustness,
    second_opinions,
)
from unbelief.study.reliability import Reading


def test_auc_by_hand():
    # With 0.9 0.5, without 0.1 0.5 0.6: 0.9 beats all three, 0.5 beats 0.1, ties 0.5, loses to 0.6.
    # (3 + 1 + ½ + 0) / 6.
    found = faithfulness([0.9, 0.5], [0.1, 0.5, 0.6])
    assert found.value == pytest.approx(4.5 / 6) and found.n == 5
    assert found.low is not None and found.low <= 0.75 <= found.high
    # A pool of one has no interval, an empty one no value.
    assert faithfulness([0.9], [0.1, 0.2]).low is None
    none = faithfulness([], [0.1])
    assert none.value is None and "no models with and without" in next(iter(none.reasons))


def test_robustness_formulas_by_hand():
    # The retrained model gains 0.2 by relearning, the unlearned one 0.5: R = 0.4.
    assert relearning_robustness((0.1, 0.3), (0.2, 0.7)) == pytest.approx(0.4)
    # It gains less than the retrained model: 1. Nothing gained, or lost: 1. Retrained falls: 0.
    assert relearning_robustness((0.1, 0.3), (0.2, 0.3)) == 1
    assert relearning_robustness((0.1, 0.3), (0.2, 0.1)) == 1
    assert relearning_robustness((0.3, 0.1), (0.2, 0.4)) == 0
    # Rounding shows 0.5 where 0.2 was seen before: Q = 0.4; it hides some: 1; nothing: 1.
    assert quantisation_robustness(0.2, 0.5) == pytest.approx(0.4)
    assert quantisation_robustness(0.5, 0.2) == 1
    assert quantisation_robustness(0.0, 0.0) == 1
    assert quantisation_robustness(0.0, 0.2) == 0


def test_harmonic_mean():
    assert harmonic(0.5, 1.0) == pytest.approx(2 / 3)
    assert harmonic(0.0, 1.0) == 0 and harmonic(None, 1.0) is None


def test_metrics_are_turned_towards_knowledge():
    assert knowledge(0.3, metric("extraction_strength")) == 0.3
    assert knowledge(0.3, metric("truth_ratio_closer_to_1")) == pytest.approx(0.7)
    assert knowledge(3.0, metric("perplexity")) == pytest.approx(0.25)
    assert knowledge(None, metric("perplexity")) is None


def reading(model, pool, attack, before, after, side="forget", name="probability") -> Reading:
    return Reading(
        model=model, pool=pool, attack=attack, side=side, metric=name, before=before, after=after
    )


def test_the_whole_protocol_by_hand():
    four = "quantise:bits=4"
    readings = [
        reading("original", "with", "relearn", 0.9, 0.9),
        reading("retrained", "retrained", "relearn", 0.1, 0.3),
        reading("a", "unlearned", "relearn", 0.2, 0.7),  # R = 0.4
        reading("b", "unlearned", "relearn", 0.1, 0.2),  # R = 1
        reading("a", "unlearned", "quantise:bits=8", 0.2, 0.2),  # not the one that is meant
        reading("a", "unlearned", four, 0.2, 0.5),  # Q = 0.4
        reading("b", "unlearned", four, 0.1, 1.0),  # spoilt: utility falls from 0.8 to 0.63
        reading("a", "unlearned", four, 0.8, 0.65, side="retain"),
        reading("b", "unlearned", four, 0.8, 0.63, side="retain"),  # below 0.8·0.8 = 0.64
    ]
    (one,) = second_opinions(readings, {"probability": metric("probability")})
    assert one.faithfulness.value == 1  # 0.9 against 0.1
    assert one.relearning.value == pytest.approx(0.7)
    assert one.quantisation.value == pytest.approx(0.4) and one.left_out == ("b",)
    # HM(0.7, 0.4) = 0.56 / 1.1; overall HM(1, that).
    robust = 0.56 / 1.1
    assert one.robustness == pytest.approx(robust)
    assert one.overall == pytest.approx(2 * robust / (1 + robust))


def test_without_a_retrained_model_there_is_no_robustness():
    (one,) = second_opinions([reading("a", "unlearned", "relearn", 0.2, 0.7)], {})
    assert one.relearning.value is None and one.robustness is None and one.overall is None
    assert "no retrained model" in next(iter(one.relearning.reasons))


def test_four_bits_are_what_the_protocol_means():
    names = ("quantise:bits=8", "quantize:bits=4", "relearn:scope=full")
    made = [reading("a", "unlearned", name, 0.1, 0.1) for name in names]
    assert attack_of(made, "quantise") == "quantize:bits=4"
    assert attack_of(made, "relearn") == "relearn:scope=full"
    assert attack_of(made[:1], "quantise") == "quantise:bits=8"
    assert attack_of([], "quantise") is None
