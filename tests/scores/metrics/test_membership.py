import math
import zlib
from dataclasses import replace

import numpy as np
import pytest

from tests.scores.made import RECORD, answer, with_answers
from unbelief.measure.tables import Example, GradientNeed
from unbelief.scores.conventions import metric

FIVE = [-1.0, -2.0, -3.0, -4.0, -5.0]


def test_loss_and_zlib():
    example = with_answers(answer(FIVE))
    assert metric("mia_loss").score(example).value == pytest.approx(3)
    size = len(zlib.compress(RECORD.answer.encode()))
    assert metric("mia_zlib").score(example).value == pytest.approx(3 / size)
    cut = with_answers(answer(FIVE, truncated=True))
    assert metric("mia_zlib").score(cut).unscored == "the length limit cut the answer"


@pytest.mark.parametrize(
    ("k", "value"),
    [(0.4, 4.5), (0.2, 5.0), (0.1, 5.0), (0.59, 4.5), (1.0, 3.0)],  # ⌊5k⌋ tokens, at least 1
)
def test_min_k(k, value):
    one = metric("mia_min_k", options={"k": k})
    assert one.score(with_answers(answer(FIVE))).value == pytest.approx(value)


def test_min_k_conventions_differ_in_the_last_token():
    example = with_answers(answer(FIVE))
    # Without the last: 1 2 3 4, of which ⌊4 * 0.4⌋ = 1 token counts.
    assert metric("mia_min_k", "open-unlearning").score(example).value == pytest.approx(4)
    assert metric("mia_min_k").score(example).value == pytest.approx(4.5)


def test_min_k_plus_plus_standardises():
    # z = (ln π + entropy) / σ: (-1 + 2) / 2 = 0.5 and (-5 + 2) / 1 = -3; k = 0.5 takes the lower.
    example = with_answers(answer([-1.0, -5.0], entropy=[2.0, 2.0], variance=[4.0, 1.0]))
    one = metric("mia_min_k_plus_plus", options={"k": 0.5})
    assert one.score(example).value == pytest.approx(3)


def test_min_k_plus_plus_of_a_certain_model_is_finite():
    # All mass on one token: entropy and variance 0, ln π = 0: z = 0, whatever the floor.
    sure = with_answers(answer([0.0], entropy=[0.0], variance=[0.0]))
    assert metric("mia_min_k_plus_plus").score(sure).value == 0
    # Rounding may leave a variance a hair below 0.
    odd = with_answers(answer([-1.0], entropy=[0.0], variance=[-1e-9]))
    assert metric("mia_min_k_plus_plus").score(odd).value == pytest.approx(1 / math.sqrt(1e-6))
    nan = with_answers(answer([-1.0], entropy=[np.nan]))
    assert "entropy" in metric("mia_min_k_plus_plus").score(nan).unscored


def test_a_uniform_distribution_standardises_to_zero():
    # π = 1/V: ln π is constant, entropy ln V, variance 0.
    v = math.log(7)
    flat = with_answers(answer([-v] * 3, entropy=[v] * 3, variance=[0.0] * 3, dtype=np.float64))
    assert metric("mia_min_k_plus_plus").score(flat).value == pytest.approx(0, abs=1e-6)


def test_reference_needs_the_other_model():
    own = with_answers(answer([-1.0]))
    other = with_answers(answer([-3.0]))
    one = metric("mia_reference")
    assert one.score(replace(own, reference=other)).value == pytest.approx(1 - 3)
    assert one.score(own).unscored == "no reference model was measured"
    assert one.score(replace(own, reference=Example(record=RECORD))).value is None


def test_gradient_norm_is_the_measured_one():
    example = Example(record=RECORD, gradients={GradientNeed(): 2.5})
    assert metric("mia_gradient_norm").score(example).value == 2.5
    first = metric("mia_gradient_norm", options={"order": 1})
    assert first.score(example).unscored == "no gradient was measured"


def test_seen_texts_score_lower():
    seen, unseen = with_answers(answer([-0.1] * 5)), with_answers(answer(FIVE))
    for name in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus"):
        assert metric(name).score(seen).value < metric(name).score(unseen).value, name
