import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.made import RECORD, answer
from unbelief.measure.tables import AnswerNeed, Example
from unbelief.scores.conventions import metric

NAMES = (
    "truth_ratio",
    "truth_ratio_closer_to_1",
    "truth_ratio_true_better",
    "truth_ratio_prob_mean",
)
probabilities = st.floats(1e-6, 1)


def example(right: float, wrong: list[float], *, kind: str = "paraphrase") -> Example:
    """One-token answers with these probabilities."""

    def measured(p: float):
        return answer([math.log(p)], dtype=np.float64)

    return Example(
        record=RECORD if kind == "paraphrase" else replace(RECORD, paraphrases=()),
        answers={
            AnswerNeed(kind): (measured(right),),
            AnswerNeed("perturbed"): tuple(measured(p) for p in wrong),
        },
    )


def values(given: Example, **options: object) -> list[float]:
    return [metric(name, options=options).score(given).value for name in NAMES]


def test_the_four_by_hand():
    # Wrong 0.1 and 0.4: geometric mean 0.2, arithmetic 0.25; right 0.5. r = 0.4 and 0.5.
    given = example(0.5, [0.1, 0.4])
    assert values(given) == pytest.approx([0.4, 0.4, 0.6, 1 / 1.4])
    assert values(given, mean="arithmetic") == pytest.approx([0.5, 0.5, 0.5, 1 / 1.5])


def test_the_four_when_the_truth_is_less_probable():
    # r = 0.4 / 0.1 = 4.
    assert values(example(0.1, [0.4])) == pytest.approx([4, 0.25, 0, 0.2])


def test_epsilon_is_open_unlearnings():
    # As its code: r = w / (c + e), min(r, 1 / (r + e)), c / (c + w + e); a large e to see it.
    c, w, e = 0.1, 0.4, 0.3
    r = w / (c + e)
    expected = [r, min(r, 1 / (r + e)), max(0, 1 - r), c / (c + w + e)]
    assert values(example(c, [w]), epsilon=e) == pytest.approx(expected)
    assert metric("truth_ratio", "open-unlearning").epsilon == 1e-10


def test_what_stands_for_the_truth():
    both = example(0.5, [0.25])
    plain = example(0.5, [0.25], kind="answer")
    of = {c: metric("truth_ratio", options={"correct": c})
          for c in ("paraphrase", "answer", "paraphrase_or_answer")}  # fmt: skip
    assert of["paraphrase"].score(both).value == pytest.approx(0.5)
    assert of["paraphrase_or_answer"].score(both).value == pytest.approx(0.5)
    assert of["paraphrase_or_answer"].score(plain).value == pytest.approx(0.5)
    assert of["answer"].score(plain).value == pytest.approx(0.5)
    assert of["paraphrase"].score(plain).unscored == "the record has no paraphrase"
    assert AnswerNeed("answer") not in of["paraphrase"].needs


def test_a_lost_paraphrase_is_not_replaced_by_the_answer():
    one = metric("truth_ratio", options={"correct": "paraphrase_or_answer"})
    given = example(0.5, [0.25], kind="answer")
    broken = replace(given, record=RECORD)  # the record has a paraphrase that was not measured
    assert one.score(broken).value is None


@given(probabilities, st.lists(probabilities, min_size=1, max_size=5))
@settings(max_examples=30)
def test_they_are_maps_of_one_ratio(right, wrong):
    r, closer, better, share = values(example(right, wrong))
    assert closer == pytest.approx(min(r, 1 / r))
    assert better == pytest.approx(max(0, 1 - r))
    assert share == pytest.approx(1 / (1 + r))


@given(probabilities, st.lists(probabilities, min_size=1, max_size=5))
@settings(max_examples=30)
def test_the_arithmetic_mean_is_never_below_the_geometric(right, wrong):
    given = example(right, wrong)
    arithmetic = metric("truth_ratio", options={"mean": "arithmetic"}).score(given).value
    assert arithmetic >= metric("truth_ratio").score(given).value * (1 - 1e-12)


def test_tiny_probabilities_keep_their_ratio():
    # exp(-800) underflows; the ratio of two such numbers does not. OpenUnlearning's code gives 0.
    given = Example(
        record=RECORD,
        answers={
            AnswerNeed("paraphrase"): (answer([-800.0]),),
            AnswerNeed("perturbed"): (answer([-801.0]),),
        },
    )
    assert metric("truth_ratio").score(given).value == pytest.approx(math.exp(-1))
    assert metric("truth_ratio", "open-unlearning").score(given).value == 0
