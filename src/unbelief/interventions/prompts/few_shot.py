"""Examples of questions and answers before the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from unbelief.interventions.base import Context, Need, Option, PromptIntervention, Unattackable
from unbelief.interventions.seeded import seeded
from unbelief.interventions.turns import turns_of, with_turns_before_question
from unbelief.types import Message, Record


@dataclass(frozen=True)
class FewShot(PromptIntervention):
    """Questions about kept records with their true answers, as earlier turns.

    Examples show the format and the tone of an answer and never the answer itself: a record of the
    same id, question, answer or group is no example of another. Which ones are drawn depends on
    the seed and the record's id. Retain records of several turns, with a system message or without
    a prompt are not used.

    Attributes:
        shots: Examples before the question.
        seed: Of the draw.
    """

    shots: int = 3
    seed: int = 0

    name: ClassVar[str] = "few-shot"
    asks_for: ClassVar[str] = "prompts; retain data of the same format"
    cost: ClassVar[str] = "longer prompts: about `shots` more questions and answers each"
    source: ClassVar[str] = "Brown et al. 2020, Language Models are Few-Shot Learners"
    off: ClassVar[Mapping[str, Option]] = {"shots": 0}

    def __post_init__(self) -> None:
        if self.shots < 0:
            raise ValueError(f"shots must be 0 or above, not {self.shots}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """Retain data, unless nothing is shown."""
        return ("retain",) if self.shots else ()

    def attacked(
        self, records: Sequence[Record], context: Context
    ) -> Sequence[tuple[Record, str] | Unattackable]:
        """Put examples before every question."""
        pool = sorted((r for r in context.retain if _is_plain(r)), key=lambda r: (r.id, r.answer))
        return [self._attack(record, pool) for record in records]

    def _attack(self, record: Record, pool: list[Record]) -> tuple[Record, str] | Unattackable:
        if self.shots == 0:
            return record, "unchanged"
        try:
            asked = {turn.content for turn in turns_of(record)}
            others = [r for r in pool if not _tells(r, record, asked)]
            if len(others) < self.shots:
                return Unattackable(
                    f"the retain data has {len(others)} examples for it, {self.shots} are asked for"
                )
            chosen = seeded(self.seed, "few-shot", record.id).sample(others, self.shots)
            turns: list[Message] = []
            for example in chosen:
                turns += [*turns_of(example), Message("assistant", example.answer)]
            changed = with_turns_before_question(record, turns)
        except Unattackable as reason:
            return reason
        return changed, f"{self.shots} examples"


def _is_plain(record: Record) -> bool:
    """Whether a record is one question and its answer."""
    if record.prompt is None or isinstance(record.prompt, str):
        return record.prompt is not None
    return len(record.prompt) == 1 and record.prompt[0].role == "user"


def _tells(example: Record, record: Record, asked: set[str]) -> bool:
    """Whether an example would tell the record's answer, or something near it."""
    same_group = example.group is not None and example.group == record.group
    same = example.id == record.id or example.answer == record.answer or same_group
    return same or turns_of(example)[0].content in asked
