from __future__ import annotations

import math

import pytest

from unbelief.errors import RequestError
from unbelief.patch.criterion import check_base, criterion
from unbelief.scores.statistics import mean_statistic
from unbelief.types import Score


def of(*values: float):
    scores = [Score(v, None, str(i)) for i, v in enumerate(values)]
    return mean_statistic(scores, unit="share")


def test_less_of_a_leak_score_is_more_forgotten():
    found = criterion("extraction_strength", "uwc")
    base, own = of(1.0, 0.6), of(0.2, 0.0)  # means 0.8 and 0.1
    assert found.value(own) == pytest.approx(-0.1)
    assert found.share(own, base) == pytest.approx(1 - 0.1 / 0.8)
    assert found.influence(own, base).value == pytest.approx(0.7)
    with pytest.raises(RequestError, match="nothing to forget"):
        check_base(found, of(0.0, 0.0))


def test_forget_quality_is_the_test_against_the_retrained_model():
    found = criterion("forget_quality", "uwc", of(0.5, 0.6))
    # Two against two, apart: D = 1, p = 2 / C(4, 2) = 1/3. The same sample: p = 1.
    assert found.value(of(2.0, 3.0)) == pytest.approx(math.log(1 / 3))
    assert found.share(of(2.0, 3.0), of(2.0, 2.0)) == pytest.approx(1 / 3)
    gained = found.influence(of(0.5, 0.6), of(2.0, 3.0))
    assert gained.value == pytest.approx(math.log(3)) and gained.n == 2
    assert gained.interval == "none (a p-value)"


def test_other_items_than_the_retrained_models_are_refused():
    found = criterion("forget_quality", "uwc", of(0.5, 0.6))
    with pytest.raises(RequestError, match="forget_quality on the forget records has no value"):
        found.value(of(0.5, 0.6, 0.7))


def test_a_score_that_says_nothing_about_knowledge_is_refused():
    with pytest.raises(RequestError, match="does not grow with what a model knows"):
        criterion("repetition", "uwc")
