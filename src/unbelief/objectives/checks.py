"""What a term must be: checked where it comes from another package, and at every loss."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.stats import AnswerStats
from unbelief.plugins import missing_words

if TYPE_CHECKING:
    from unbelief.objectives.base import Term

_LEVELS = ("token", "sequence")


def incomplete(term: type[Term]) -> str | None:
    """What a term of another package lacks, in words; None: nothing."""
    if getattr(term, "level", None) not in _LEVELS:
        return f"has no level, one of {', '.join(_LEVELS)}"
    known = {f.name for f in fields(term)}
    for name, preset in term.presets.items():
        for option, _ in preset.options:
            if option not in known:
                return f"has a preset {name!r} with an unknown option {option!r}"
    return missing_words(term, ("name", "source"))


def values_of(term: Term, stats: AnswerStats) -> Tensor:
    """A term's values; what has another shape would be spread or summed into another loss."""
    values = term.values(stats)
    size = len(stats.segment) if term.level == "token" else stats.n_answers
    found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    if found != (size,):
        per = "scored token" if term.level == "token" else "answer"
        raise RequestError(
            f"values of the term {term.name!r} are {found}, and one per {per} is ({size},)",
            where=f"{type(term).__module__}.{type(term).__qualname__}.values",
            remedy="return one number each, unreduced; `level` says of what",
        )
    return values
