"""Collapse of what a model says: loops, and silence."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

from unbelief.measure.tables import Example, Need, PromptKind, TextNeed
from unbelief.scores.base import Metric, Unscorable, texts_of
from unbelief.scores.metrics.key_facts import check_samples
from unbelief.scores.texts import GREEDY_TOKENS, sampled_need
from unbelief.scores.words import tokens


@dataclass(frozen=True)
class _OfResponses(Metric):
    unit: ClassVar[str] = "share"

    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = GREEDY_TOKENS
    prompt: PromptKind = "own"

    def __post_init__(self) -> None:
        check_samples(self.samples, self.temperature)

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self._need,)

    @property
    def _need(self) -> TextNeed:
        return sampled_need(self.samples, self.temperature, self.max_new_tokens, self.prompt)

    def _texts(self, example: Example) -> list[str]:
        return [said.text for said in texts_of(example, self._need)]


@dataclass(frozen=True)
class Repetition(_OfResponses):
    r"""Share of a response's n-grams that repeat an earlier one.

    .. math:: 1 - \frac{\#\text{distinct } n\text{-grams}}{\#n\text{-grams}}

    In [0, 1), over normalised words and punctuation marks; several responses: the mean over those
    that say something. A response that says nothing is unscored (`empty_rate` counts it).

    Measured at n = 4: TOFU's 4,000 answers have at most 0.17, passages of 200 to 900 words at most
    0.31, Python code at most 0.38; a loop over the second half of a text 0.6 or more, a text that
    is one loop 0.9 or more. Texts of fewer than 8 tokens are counted in n-grams of half their
    length, those of fewer than 3 have no repetition.

    Attributes:
        samples: Responses per prompt.
        temperature: Of the sampling; 0 is the greedy answer.
        max_new_tokens: Longest response.
        prompt: Which question.
        n: Length of the n-grams.

    Source: Welleck et al. 2020, seq-rep-n.
    """

    name: ClassVar[str] = "repetition"
    summary: ClassVar[str] = "share of a response's n-grams that repeat an earlier one"
    source: ClassVar[str] = "Welleck et al. 2020, arXiv 1908.04319"

    n: int = 4

    def __post_init__(self) -> None:
        check_samples(self.samples, self.temperature)
        check_n(self.n)

    def value(self, example: Example) -> float:
        """Mean over the responses that say something."""
        spoken = [text for text in self._texts(example) if text.strip()]
        if not spoken:
            raise Unscorable("the response is empty")
        return sum(repeated(text, self.n) for text in spoken) / len(spoken)


@dataclass(frozen=True)
class CollapseRate(_OfResponses):
    """Share of responses that have collapsed: empty, or mostly a loop.

    A response has collapsed when it is empty (or blank), when at least `repetition` of its n-grams
    repeat an earlier one, or when zlib shrinks it to at most `compression` of its bytes (which
    catches loops that vary a little and loops inside words). 0 or 1 per response, in [0, 1] over
    several. Silence counts as collapse since nobody answers so; `empty_rate` tells how much of the
    rate it is. By probability, ROUGE and truth ratio a collapsed model looks perfect.

    The thresholds lie between what was measured: repetition of natural texts at most 0.38 (see
    `repetition`), compression of natural texts 0.31 or more, loops 0.2 or less. Fluent nonsense
    and random tokens do not repeat and are not caught.

    Attributes:
        samples: Responses per prompt.
        temperature: Of the sampling; 0 is the greedy answer.
        max_new_tokens: Longest response.
        prompt: Which question.
        n: Length of the n-grams.
        repetition: Smallest share of repeated n-grams that is a collapse.
        compression: Largest ratio of compressed to plain bytes that is a collapse.
    """

    name: ClassVar[str] = "collapse_rate"
    summary: ClassVar[str] = "share of responses that are empty or mostly a loop"
    source: ClassVar[str] = "unbelief"

    n: int = 4
    repetition: float = 0.4
    compression: float = 0.25

    def __post_init__(self) -> None:
        check_samples(self.samples, self.temperature)
        check_n(self.n)
        for name in ("repetition", "compression"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1")

    @property
    def binary(self) -> bool:
        """With a single response."""
        return self.samples == 1

    def value(self, example: Example) -> float:
        """Share of the responses that have collapsed."""
        found = [self._has_collapsed(text) for text in self._texts(example)]
        return sum(found) / len(found)

    def _has_collapsed(self, text: str) -> bool:
        if not text.strip() or repeated(text, self.n) >= self.repetition:
            return True
        plain = text.encode()
        return len(zlib.compress(plain)) <= self.compression * len(plain)


@dataclass(frozen=True)
class EmptyRate(_OfResponses):
    """Share of responses that say nothing but blanks. In [0, 1].

    Attributes:
        samples: Responses per prompt.
        temperature: Of the sampling; 0 is the greedy answer.
        max_new_tokens: Longest response.
        prompt: Which question.
    """

    name: ClassVar[str] = "empty_rate"
    summary: ClassVar[str] = "share of responses that say nothing"
    source: ClassVar[str] = "unbelief"

    @property
    def binary(self) -> bool:
        """With a single response."""
        return self.samples == 1

    def value(self, example: Example) -> float:
        """Share of the empty responses."""
        found = [not text.strip() for text in self._texts(example)]
        return sum(found) / len(found)


def repeated(text: str, n: int) -> float:
    """Share of n-grams that repeat an earlier one; 0 for texts of fewer than 3 tokens."""
    said = tokens(text)
    if len(said) < 3:
        return 0.0
    n = min(n, len(said) // 2)
    grams = [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]
    return 1 - len(set(grams)) / len(grams)


def check_n(n: int) -> None:
    """Refuse a length of n-grams below 1.

    Raises:
        ValueError: It is.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more, not {n}")
