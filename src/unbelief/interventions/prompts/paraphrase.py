"""The same question in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from unbelief.interventions.base import Context, PromptIntervention, Unattackable
from unbelief.interventions.turns import question_of, with_question
from unbelief.types import Record

Template = Literal["tell-me", "reminder", "repeat", "none"]

TEMPLATES: dict[str, str] = {
    "tell-me": "Could you tell me: {question}",
    "reminder": "I once knew this and would like to be reminded. {question}",
    "repeat": "{question} Once more, in case that was unclear: {question}",
}


@dataclass(frozen=True)
class Paraphrase(PromptIntervention):
    """The record's own paraphrase of its question, or a frame around the question.

    A record with a `paraphrased_prompt` is asked that. Others are asked through the template, which
    only frames the question and so is a weaker attack: `how` says which it was, record by record.
    A prompt that does not end with a question mark is not framed.

    Attributes:
        template: For records without a paraphrase: `tell-me`, `reminder` or `repeat`; `none` leaves
            them unattacked.
    """

    template: Template = "tell-me"

    name: ClassVar[str] = "paraphrase"
    asks_for: ClassVar[str] = "prompts; paraphrased prompts in the data, where there are any"
    cost: ClassVar[str] = "none"
    source: ClassVar[str] = "Maini et al. 2024, TOFU (paraphrased questions); templates ours"

    def __post_init__(self) -> None:
        if self.template not in (*TEMPLATES, "none"):
            raise ValueError(f"template must be one of {', '.join(TEMPLATES)} or none")

    def attacked(
        self, records: Sequence[Record], context: Context
    ) -> Sequence[tuple[Record, str] | Unattackable]:
        """Ask in other words."""
        return [self._attack(record) for record in records]

    def _attack(self, record: Record) -> tuple[Record, str] | Unattackable:
        try:
            question = question_of(record)
        except Unattackable as reason:
            return reason
        if record.paraphrased_prompt is not None:
            return with_question(record, record.paraphrased_prompt), "paraphrased_prompt"
        if self.template == "none":
            return Unattackable("the record has no paraphrased prompt, and template is none")
        if not question.rstrip().endswith("?"):
            return Unattackable(
                "the record has no paraphrased prompt, and templates frame questions only: this "
                "prompt does not end with a question mark"
            )
        framed = TEMPLATES[self.template].format(question=question.strip())
        return with_question(record, framed), f"template {self.template}"
