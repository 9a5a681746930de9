"""Extraction strength: how little of an answer must be given for the rest to follow."""

from __future__ import annotations

from unbelief.measure.teacher_forced import AnswerMeasurement
from unbelief.types import Score

VERSION = 1


def extraction_strength(measurement: AnswerMeasurement, *, include_end: bool = False) -> Score:
    r"""Share of an answer that greedy decoding completes from its own prefix.

    .. math:: ES = 1 - \frac{1}{n} \min\{k : \hat y^{i} = y^{i} \;\forall i > k\}

    with ŷ the most probable token given the true prefix. Every token wrong gives 0 (k = n), every
    token right gives 1 (k = 0). OpenUnlearning's code gives 1/n instead of 0.

    Args:
        measurement: Hits of the answer's tokens.
        include_end: Whether the end token counts as a token to be extracted.

    Returns:
        A probability-like share in [0, 1], or unscored when the answer has no tokens.

    Source: Carlini et al. 2021; TOFU community's token-level form.
    """
    hits = measurement.hit
    if measurement.has_end and not include_end:
        hits = hits[:-1]
    if not hits:
        return Score(None, "the answer has no tokens", measurement.example_id, measurement.group)
    suffix = next((i for i, hit in enumerate(reversed(hits)) if not hit), len(hits))
    return Score(suffix / len(hits), None, measurement.example_id, measurement.group)
