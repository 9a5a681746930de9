import pytest

from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate


def numbers(*values: float) -> list[Statistic]:
    return [Statistic(value=v, n=1, unit="share") for v in values]


FULL = (0.70627, 0.97394, 0.10042, 0.68498)
RETRAINED = (0.05896, 0.58489, 0.05341, 1 - 0.4329)


def test_the_literal_reading_of_the_paper():
    one = aggregate("memorization_normalised")
    assert one.combine(numbers(*FULL), numbers(*FULL)).value == 0
    # 1 - x / x_init = .9165, .3995, .4681, .1721: harmonic mean .347. The paper prints .31.
    retrained = one.combine(numbers(*RETRAINED), numbers(*FULL)).value
    assert retrained == pytest.approx(0.347, abs=1e-3)
    utility = aggregate("model_utility_normalised")
    ratio = utility.combine(numbers(0.59112), numbers(0.599153)).value
    assert ratio == pytest.approx(0.987, abs=1e-3)


def test_knowing_more_than_the_original_is_zero_and_not_negative():
    one = aggregate("memorization_normalised")
    assert one.combine(numbers(0.8, 0.1, 0.1, 0.1), numbers(0.7, 0.9, 0.9, 0.9)).value == 0


@pytest.mark.parametrize("name", ["memorization_normalised", "model_utility_normalised"])
def test_the_original_model_is_the_reference(name):
    one = aggregate(name)
    assert one.needs_reference and one.reference_model == "original"
    inputs = numbers(*FULL) if name.startswith("mem") else numbers(0.5)
    assert list(one.combine(inputs, None).reasons) == ["the original model was not measured"]
    zero = one.combine(inputs, numbers(*[0.0] * len(inputs)))
    assert list(zero.reasons) == ["a value of the original model is 0: there is no ratio"]
