"""Fluency of what a model says, as a gibberish classifier sees it: OpenUnlearning's fluency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from unbelief.measure.tables import ClassifierNeed, Example, Need, PromptKind
from unbelief.scores.base import Better, Metric, Unscorable, texts_of
from unbelief.scores.texts import GREEDY_TOKENS, greedy_need


@dataclass(frozen=True)
class Fluency(Metric):
    """Probability that a gibberish classifier calls the greedy answer clean.

    In [0, 1], high for text that reads well. The classifier is
    `madhurjindal/autonlp-Gibberish-Detector-492513457` (a DistilBERT), its class "clean". It judges
    form alone: a fluent false answer, a refusal and a recitation are all clean. It reads the first
    `max_tokens` tokens: with 32, as in published TOFU tables, a loop that begins later is clean
    too. An empty answer is unscored, since the classifier's number for it means nothing.

    Attributes:
        max_tokens: Most classifier tokens of an answer.
        max_new_tokens: Longest greedy answer.
        prompt: Which question.
        empty: `classified` takes the classifier's number for an empty answer, as OpenUnlearning
            does: a model that falls silent has then that number for its fluency.

    Source: OpenUnlearning (Dorna et al. 2025), there called gibberish.
    """

    name: ClassVar[str] = "fluency"
    summary: ClassVar[str] = "probability that a gibberish classifier calls the answer clean"
    unit: ClassVar[str] = "probability"
    source: ClassVar[str] = "OpenUnlearning, arXiv 2506.12618"
    better: ClassVar[Better] = "higher"

    max_tokens: int = 512
    max_new_tokens: int = GREEDY_TOKENS
    prompt: PromptKind = "own"
    empty: Literal["unscored", "classified"] = "unscored"

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be 1 or more, not {self.max_tokens}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """The greedy answer."""
        return (greedy_need(self.max_new_tokens, self.prompt),)

    @property
    def opinion(self) -> ClassifierNeed:
        """What the classifier is asked."""
        return ClassifierNeed(greedy_need(self.max_new_tokens, self.prompt), self.max_tokens)

    def value(self, example: Example) -> float:
        """The classifier's number for the one answer."""
        said = texts_of(example, greedy_need(self.max_new_tokens, self.prompt))
        if self.empty == "unscored" and not said[0].text.strip():
            raise Unscorable("the response is empty")
        if self.opinion not in example.opinions:
            why = "no gibberish classifier was at hand"
            raise Unscorable(example.unmeasured.get(self.opinion, why))
        return example.opinions[self.opinion][0]
