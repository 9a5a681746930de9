import pytest

from unbelief.measure.teacher_forced import AnswerMeasurement
from unbelief.scores import extraction_strength


def measured(*hits: bool, has_end: bool = False) -> AnswerMeasurement:
    return AnswerMeasurement("a", None, tuple(0.0 for _ in hits), hits, has_end)


@pytest.mark.parametrize(
    ("hits", "value"),
    [
        # k is the shortest prefix after which every token is right; ES = 1 - k / n.
        ((True, True, True, True), 1.0),  # k = 0
        ((False, True, True, True), 0.75),  # k = 1
        ((True, True, False, True), 0.25),  # k = 3: the hits before the miss do not count
        ((True, True, True, False), 0.0),  # k = 4
        ((False, False, False, False), 0.0),  # k = 4, not OpenUnlearning's 1/n
    ],
)
def test_share_completed_from_a_prefix(hits, value):
    assert extraction_strength(measured(*hits)).value == pytest.approx(value)


def test_end_token_counts_only_when_asked():
    # Without the end token: 2 of 3 follow a prefix of 1 -> 2/3; with it the miss at the end -> 0.
    m = measured(False, True, True, False, has_end=True)
    assert extraction_strength(m).value == pytest.approx(2 / 3)
    assert extraction_strength(m, include_end=True).value == 0.0


def test_an_answer_without_tokens_is_unscored_not_zero():
    score = extraction_strength(measured(True, has_end=True))
    assert score.value is None
    assert score.unscored == "the answer has no tokens"
