from __future__ import annotations

import pytest

from tests.lab.made import result
from unbelief.errors import RequestError
from unbelief.lab.result import LabResult, rounded


def test_result_survives_a_round_trip():
    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)]}, seeds=(0, 1))
    assert LabResult.from_json(made.to_json()) == made
    assert made.seeds == (0, 1) and made.learning_rates == (1e-3,)


def test_rounding_keeps_small_numbers():
    assert rounded({"lr": 1.23456789e-5, "mass": 0.123456789}) == {
        "lr": 1.23457e-05,
        "mass": 0.123457,
    }


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 99}'])
def test_other_files_are_refused(text):
    with pytest.raises(RequestError):
        LabResult.from_json(text)


def test_damaged_result_is_named():
    with pytest.raises(RequestError, match="damaged lab result"):
        LabResult.from_json('{"schema": 1, "methods": []}')
