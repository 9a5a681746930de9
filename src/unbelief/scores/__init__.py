"""One measurement to one score, lists of scores to estimates; no model here."""

from unbelief.scores.exact_recitation import exact_recitation
from unbelief.scores.extraction_strength import extraction_strength

__all__ = ["exact_recitation", "extraction_strength"]
