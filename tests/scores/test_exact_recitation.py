import pytest

from unbelief.measure.recitation import RecitationMeasurement
from unbelief.scores import exact_recitation


@pytest.mark.parametrize(
    ("said", "true", "value"),
    [
        ((5, 6, 2), (5, 6, 2), 1.0),
        ((5, 7, 2), (5, 6, 2), 0.0),
        ((5, 6), (5, 6, 2), 0.0),  # cut off before the end token
        ((5, 6, 9, 2), (5, 6, 2), 0.0),  # goes on where the answer ends
        ((2,), (5, 6, 2), 0.0),
    ],
)
def test_token_for_token_with_the_end(said, true, value):
    assert exact_recitation(RecitationMeasurement("a", None, said, true, "")).value == value
