"""Exact recitation: whether the greedy answer is the record's answer, token for token."""

from __future__ import annotations

from unbelief.measure.recitation import RecitationMeasurement
from unbelief.types import Score

VERSION = 1


def exact_recitation(measurement: RecitationMeasurement) -> Score:
    """1 when every token of the greedy answer equals the true one, the end token included.

    The comparison stops at the true answer's length when the model was cut off there.
    """
    said = measurement.token_ids[: len(measurement.answer_ids)]
    value = float(
        said == measurement.answer_ids and len(measurement.token_ids) <= len(measurement.answer_ids)
    )
    return Score(value, None, measurement.example_id, measurement.group)
