import math
from dataclasses import replace

import numpy as np
import pytest

from tests.scores.made import RECORD, answer
from unbelief.measure.tables import AnswerNeed, Example
from unbelief.scores.base import Unscorable
from unbelief.scores.conventions import metric
from unbelief.scores.metrics.choice import chance


def measured(*probabilities: float):
    return answer([math.log(p) for p in probabilities], dtype=np.float64)


def of_perturbed(right, *wrong) -> Example:
    needs = {AnswerNeed("answer"): (right,), AnswerNeed("perturbed"): wrong}
    return Example(record=RECORD, answers=needs)


def of_choices(*choices, **record) -> Example:
    given = replace(RECORD, **record)
    return Example(record=given, answers={AnswerNeed("choice"): choices})


def test_probability_by_hand():
    # Right: tokens 0.5 and 0.5, normalised 0.5, plain 0.25. Wrong: one token 0.25 each.
    example = of_perturbed(measured(0.5, 0.5), measured(0.25), measured(0.25))
    normalised = metric("choice_probability")
    plain = metric("choice_probability", "tofu")
    assert normalised.score(example).value == pytest.approx(0.5 / 1.0)
    assert plain.score(example).value == pytest.approx(0.25 / 0.75)
    theirs = metric("choice_probability", "open-unlearning", {"epsilon": 0.5})
    assert theirs.score(example).value == pytest.approx(0.5 / 1.5)


def test_plain_probabilities_of_long_answers_do_not_underflow():
    # Each is exp(-2000): 0 in double precision; the shares are 1/2 and 1/2.
    long = answer([-2.0] * 1000)
    plain = metric("choice_probability", options={"normalised": False})
    assert plain.score(of_perturbed(long, long)).value == pytest.approx(0.5)


def test_the_false_answers_may_be_the_other_choices():
    example = of_choices(measured(0.1), measured(0.3), measured(0.1), measured(0.1),
                         correct_choice=1)  # fmt: skip
    one = metric("choice_probability", options={"among": "choices"})
    assert one.score(example).value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("normalise", "value"),
    [
        # Wholes: 0.09 against 0.2; per token 0.3 against 0.2; per character (11 and 2):
        # ln 0.09 / 11 = -0.219 against ln 0.2 / 2 = -0.805.
        ("none", 0.0),
        ("tokens", 1.0),
        ("characters", 1.0),
    ],
)
def test_accuracy_depends_on_normalisation(normalise, value):
    example = of_choices(measured(0.3, 0.3), measured(0.2), choices=("Netherlands", "UK"),
                         correct_choice=0)  # fmt: skip
    one = metric("choice_accuracy", options={"normalise": normalise})
    assert one.score(example).value == value


def test_ties_go_to_the_earlier_choice():
    def accuracy(correct: int):
        example = of_choices(measured(0.5), measured(0.5), choices=("A", "B"),
                             correct_choice=correct)  # fmt: skip
        return metric("choice_accuracy").score(example).value

    assert (accuracy(0), accuracy(1)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"correct_choice": None}, "the record does not say which choice is correct"),
        ({"choices": ("A",)}, "the record has fewer than two choices"),
        ({"choices": ("A", "B", "C")}, "not every choice was measured"),
    ],
)
def test_what_cannot_be_scored(record, reason):
    example = of_choices(measured(0.5), measured(0.25), **{"choices": ("A", "B"), **record})
    assert metric("choice_accuracy").score(example).unscored == reason
    one = metric("choice_probability", options={"among": "choices"})
    assert one.score(example).unscored == reason


def test_chance():
    assert chance(RECORD) == pytest.approx(1 / 4)
    with pytest.raises(Unscorable):
        chance(replace(RECORD, choices=()))
