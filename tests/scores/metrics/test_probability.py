import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.made import answer, with_answers
from unbelief.measure.tables import AnswerNeed
from unbelief.scores.conventions import metric

logps = st.lists(st.floats(-20, 0, width=32), min_size=1, max_size=12)


def test_by_hand():
    # Token probabilities 1/2 and 1/8: product 1/16, geometric mean 1/4, loss ln 4, perplexity 4.
    example = with_answers(answer([math.log(0.5), math.log(0.125)], dtype=np.float64))
    assert metric("probability").score(example).value == pytest.approx(0.25)
    assert metric("probability_plain").score(example).value == pytest.approx(1 / 16)
    assert metric("loss").score(example).value == pytest.approx(math.log(4))
    assert metric("perplexity").score(example).value == pytest.approx(4)


@pytest.mark.parametrize(
    ("tokens", "has_end", "value"),
    [
        ("all", True, 0.25),
        ("without_end", True, 0.5),
        ("without_end", False, 0.25),  # there is no end token to leave out
        ("drop_last", False, 0.5),  # OpenUnlearning drops a word of the answer here
    ],
)
def test_which_tokens_count(tokens, has_end, value):
    example = with_answers(answer([math.log(0.5), math.log(0.125)], has_end=has_end))
    one = metric("probability", options={"tokens": tokens})
    assert one.score(example).value == pytest.approx(value)


def test_several_paraphrases_are_averaged_as_probabilities():
    # Probabilities 1/2 and 1/4: mean 3/8; the mean loss is that of their geometric mean.
    need = AnswerNeed("paraphrase")
    example = with_answers(answer([math.log(0.5)]), answer([math.log(0.25)]), need=need)
    options = {"answer": "paraphrase"}
    assert metric("probability", options=options).score(example).value == pytest.approx(3 / 8)
    loss = metric("loss", options=options).score(example).value
    assert loss == pytest.approx(-math.log(0.5 * 0.25) / 2)


@given(logps)
@settings(max_examples=30)
def test_the_four_say_the_same_in_other_words(values):
    example = with_answers(answer(values))
    p = metric("probability").score(example).value
    assert metric("loss").score(example).value == pytest.approx(-math.log(p), abs=1e-9)
    assert metric("perplexity").score(example).value == pytest.approx(1 / p)
    assert metric("probability_plain").score(example).value == pytest.approx(p ** len(values))


def test_a_cut_answer_has_no_probability_of_the_whole():
    example = with_answers(answer([-1.0, -1.0], truncated=True))
    assert metric("probability").score(example).value == pytest.approx(math.exp(-1))
    assert metric("probability_plain").score(example).unscored == "the length limit cut the answer"


def test_an_answer_of_an_end_token_alone_has_no_content():
    example = with_answers(answer([-1.0], has_end=True))
    assert metric("probability").score(example).value == pytest.approx(math.exp(-1))
    empty = metric("probability", options={"tokens": "without_end"}).score(example)
    assert empty.unscored == "the answer has no tokens"


def test_an_overflowing_perplexity_is_unscored():
    score = metric("perplexity").score(with_answers(answer([-1000.0])))
    assert score.value is None and score.unscored == "the result is inf"
