"""What a model answered, out of everything that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.measure.tables import Example, TextNeed
from unbelief.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One record with the greedy answer, or why there is none.

    Attributes:
        record: What was asked about; under an attack as the question was before it.
        text: The answer as it is; None when the model was not asked.
        why: Why it was not asked; empty when it was.
    """

    record: Record
    text: str | None
    why: str = ""


def answered(examples: Sequence[Example]) -> tuple[Answered, ...]:
    """The greedy answers, in the order of the examples."""
    found = []
    for example in examples:
        text = greedy_text(example)
        why = "" if text is not None else why_not(example)
        found.append(Answered(record=example.record, text=text, why=why))
    return tuple(found)


def greedy_text(example: Example) -> str | None:
    """The greedy answer; None when the model was not asked."""
    for need, texts in example.texts.items():
        if need.decoding.temperature == 0 and texts:
            return texts[0].text
    return None


def why_not(example: Example) -> str:
    """Why there is no answer, in words."""
    reasons = [why for need, why in example.unmeasured.items() if isinstance(need, TextNeed)]
    return reasons[0] if reasons else "nothing was generated"
