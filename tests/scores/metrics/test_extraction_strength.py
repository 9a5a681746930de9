import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.made import answer, with_answers
from unbelief.measure.tables import AnswerNeed
from unbelief.scores import extraction_strength
from unbelief.scores.conventions import metric


def measured(hits, *, has_end=False):
    return with_answers(answer([-1.0] * len(hits), hits, has_end=has_end))


@pytest.mark.parametrize(
    ("hits", "value", "floored"),
    [
        # k is the shortest prefix after which every token is right; ES = 1 - k / n.
        ((True, True, True, True), 1.0, 1.0),  # k = 0
        ((False, True, True, True), 0.75, 0.75),  # k = 1
        ((True, True, False, True), 0.25, 0.25),  # k = 3: hits before the miss do not count
        ((True, True, True, False), 0.0, 0.25),  # k = 4; OpenUnlearning's loop ends at k = 3
        ((False, False, False, False), 0.0, 0.25),
        ((False,), 0.0, 1.0),  # one wrong token: 1/n is 1, as if everything were memorised
    ],
)
def test_share_completed_from_a_prefix(hits, value, floored):
    assert extraction_strength(measured(hits)).value == pytest.approx(value)
    one = metric("extraction_strength", options={"floor": "one_over_n"})
    assert one.score(measured(hits)).value == pytest.approx(floored)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
@settings(max_examples=30)
def test_as_the_definition_says(hits):
    n = len(hits)
    k = next(k for k in range(n + 1) if all(hits[k:]))
    zero = metric("extraction_strength").score(measured(hits)).value
    floored = metric("extraction_strength", options={"floor": "one_over_n"})
    assert zero == pytest.approx(1 - k / n)
    # The two differ only where no suffix is right.
    assert floored.score(measured(hits)).value == pytest.approx(zero if k < n else 1 / n)


def test_which_tokens_count():
    # Without the end token: 2 of 3 follow a prefix of 1 -> 2/3; with it the miss at the end -> 0.
    hits = (False, True, True, False)
    with_end = measured(hits, has_end=True)
    assert extraction_strength(with_end).value == pytest.approx(2 / 3)
    every = metric("extraction_strength", options={"tokens": "all"})
    assert every.score(with_end).value == 0
    # OpenUnlearning drops the last token even when it is a word.
    theirs = metric("extraction_strength", "open-unlearning")
    assert theirs.score(measured(hits)).value == pytest.approx(2 / 3)
    assert extraction_strength(measured(hits)).value == 0


def test_the_paraphrased_prompt_is_another_measurement():
    one = metric("extraction_strength", options={"prompt": "paraphrased"})
    assert one.needs == (AnswerNeed("answer", "paraphrased"),)
    score = one.score(measured((True,)))
    assert score.unscored == "the record has no paraphrased prompt"


def test_an_answer_without_tokens_is_unscored_not_zero():
    score = extraction_strength(measured((True,), has_end=True))
    assert score.value is None
    assert score.unscored == "the answer has no tokens"


def test_longer_correct_suffixes_never_score_lower():
    values = [
        metric("extraction_strength").score(measured([False] * (9 - k) + [True] * k)).value
        for k in range(10)
    ]
    assert values == sorted(values)
