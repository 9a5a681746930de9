"""Exact recitation: whether the greedy answer is the record's answer, token for token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.scores.answers import own_answer
from unbelief.scores.base import Metric, Unscorable, texts_of
from unbelief.scores.texts import GREEDY_TOKENS, greedy_need


@dataclass(frozen=True)
class ExactRecitation(Metric):
    """1 when every token of the greedy answer equals the true one, the end token included, else 0.

    An answer longer than the model was allowed to speak is unscored unless the model already went
    wrong.

    Attributes:
        max_new_tokens: Longest greedy answer.
    """

    name: ClassVar[str] = "exact_recitation"
    summary: ClassVar[str] = "whether the greedy answer is the true one, token for token"
    unit: ClassVar[str] = "share"
    version: ClassVar[int] = 2
    source: ClassVar[str] = "Carlini et al. 2021, arXiv 2012.07805"

    max_new_tokens: int = GREEDY_TOKENS

    @property
    def binary(self) -> bool:
        """Always."""
        return True

    @property
    def needs(self) -> tuple[Need, ...]:
        """The answer, for its tokens, and the greedy answer."""
        return (AnswerNeed("answer"), greedy_need(self.max_new_tokens))

    def value(self, example: Example) -> float:
        """Equality of the token ids."""
        true = tuple(int(i) for i in own_answer(example, AnswerNeed("answer")).token_ids)
        said = texts_of(example, greedy_need(self.max_new_tokens))[0]
        if not true:
            raise Unscorable("the answer has no tokens")
        if not said.finished and len(said.token_ids) < len(true):
            if said.token_ids == true[: len(said.token_ids)]:
                raise Unscorable("the answer is longer than the model was allowed to speak")
            return 0.0
        return float(said.token_ids == true)
