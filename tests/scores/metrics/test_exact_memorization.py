import pytest

from tests.scores.made import answer, with_answers
from unbelief.scores.conventions import metric


@pytest.mark.parametrize(
    ("hits", "has_end", "convention", "value"),
    [
        ((True, False, True, True), False, "unbelief", 3 / 4),
        ((True, False, True, True), True, "unbelief", 2 / 3),
        ((True, False, True, True), False, "open-unlearning", 2 / 3),
        ((False, False), False, "unbelief", 0.0),
    ],
)
def test_share_of_hits(hits, has_end, convention, value):
    example = with_answers(answer([-1.0] * len(hits), hits, has_end=has_end))
    assert metric("exact_memorization", convention).score(example).value == pytest.approx(value)
