"""The beginning of the true answer, given to the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from unbelief.interventions.base import Context, Option, PromptIntervention, Unattackable
from unbelief.interventions.turns import with_prompt
from unbelief.types import Message, Record, own_turn


@dataclass(frozen=True)
class Prefix(PromptIntervention):
    """Extraction: the first k words of the true answer are put into the model's mouth.

    What is measured then is the rest: the record's answer is what follows those words, and
    paraphrases, perturbed answers and choices, which do not follow them, are taken out. Works for
    documents too. An answer of k words or fewer has no rest and is not attacked.

    Attributes:
        words: k, counted between white space.
    """

    words: int = 5

    name: ClassVar[str] = "prefix"
    asks_for: ClassVar[str] = "prompts, the start of the model's turn, part of the true answer"
    cost: ClassVar[str] = "none"
    source: ClassVar[str] = (
        "Carlini et al. 2023, Quantifying Memorization Across Neural Language Models (extraction "
        "from a prefix)"
    )
    off: ClassVar[Mapping[str, Option]] = {"words": 0}
    splits_answer: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.words < 0:
            raise ValueError(f"words must be 0 or above, not {self.words}")

    def attacked(
        self, records: Sequence[Record], context: Context
    ) -> Sequence[tuple[Record, str] | Unattackable]:
        """Split every answer."""
        return [self._attack(record) for record in records]

    def _attack(self, record: Record) -> tuple[Record, str] | Unattackable:
        if self.words == 0:
            return record, "unchanged"
        prompt = record.prompt
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt or ()
        if own_turn(turns):
            return Unattackable("the model's turn has been started by another attack")
        found = [match.end() for match in re.finditer(r"\S+", record.answer)]
        if len(found) <= self.words:
            return Unattackable(f"the answer has {len(found)} words, {self.words} would be given")
        cut = found[self.words - 1]
        given, rest = record.answer[:cut], record.answer[cut:]
        changed = with_prompt(record, (*turns, Message("assistant", given)))
        changed = replace(
            changed, answer=rest, paraphrases=(), perturbed=(), choices=(), correct_choice=None
        )
        return changed, f"{self.words} words given"
