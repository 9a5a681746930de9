"""Words of the question replaced by words that have nothing to do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from unbelief.interventions.base import Context, Option, PromptIntervention, Unattackable
from unbelief.interventions.seeded import seeded
from unbelief.interventions.turns import question_of, with_question
from unbelief.types import Record

_WORD = re.compile(r"\w+(?:[-'’./]\w+)*")


@dataclass(frozen=True)
class Noise(PromptIntervention):
    """A share of the question's words is replaced by words of other prompts.

    Of n words, max(1, round(rate · n)) are drawn without replacement; each is replaced by a word
    drawn from those of the other prompts (of the attacked records and the retain records) that are
    not in this one. Punctuation, white space, the chat template and the answer stay. Words instead
    of tokens keep the question a text, so that every tokenizer sees the same attack; UWC replaces
    tokens. All draws follow from the seed and the record's id.

    Attributes:
        rate: Share of words, 0 to 1; above 0 at least one word is replaced.
        seed: Of the draws.
    """

    rate: float = 0.05
    seed: int = 0

    name: ClassVar[str] = "noise"
    asks_for: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "none"
    source: ClassVar[str] = (
        "Wang et al. 2025, Towards Effective Evaluations and Comparisons for LLM Unlearning "
        "Methods (token noising)"
    )
    off: ClassVar[Mapping[str, Option]] = {"rate": 0.0}

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must lie between 0 and 1, not {self.rate}")

    def attacked(
        self, records: Sequence[Record], context: Context
    ) -> Sequence[tuple[Record, str] | Unattackable]:
        """Replace words."""
        pool = _words_of([*records, *context.retain])
        return [self._attack(record, pool) for record in records]

    def _attack(self, record: Record, pool: list[str]) -> tuple[Record, str] | Unattackable:
        if self.rate == 0:
            return record, "unchanged"
        try:
            question = question_of(record)
        except Unattackable as reason:
            return reason
        words = list(_WORD.finditer(question))
        own = {word.group().lower() for word in words}
        others = [word for word in pool if word.lower() not in own]
        if not words or not others:
            lacking = "the question has no words" if not words else "no other prompt has new words"
            return Unattackable(lacking)
        generator = seeded(self.seed, "noise", record.id)
        count = max(1, round(self.rate * len(words)))
        chosen = sorted(generator.sample(range(len(words)), count))
        pieces, end = [], 0
        for i in chosen:
            pieces += [question[end : words[i].start()], generator.choice(others)]
            end = words[i].end()
        text = "".join([*pieces, question[end:]])
        return with_question(record, text), f"{count} of {len(words)} words replaced"


def _words_of(records: Sequence[Record]) -> list[str]:
    """Distinct words of the questions of some records, sorted."""
    found: set[str] = set()
    for record in records:
        try:
            found.update(_WORD.findall(question_of(record)))
        except Unattackable:
            continue  # its own refusal is reported where it is attacked
    return sorted(found)
