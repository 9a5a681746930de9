"""Two scores as plain functions of an example, with the project's own conventions."""

from __future__ import annotations

from unbelief.measure.tables import Example
from unbelief.scores.metrics.exact_recitation import ExactRecitation
from unbelief.scores.metrics.extraction_strength import ExtractionStrength
from unbelief.scores.texts import GREEDY_TOKENS
from unbelief.types import Score


def extraction_strength(example: Example) -> Score:
    """Extraction strength of an example's own answer on its own prompt."""
    return ExtractionStrength().score(example)


def exact_recitation(example: Example, *, max_new_tokens: int = GREEDY_TOKENS) -> Score:
    """Whether the greedy answer, asked for with that limit, is the true one."""
    return ExactRecitation(max_new_tokens).score(example)
