"""What a model said about examples, as frozen records: nothing here knows a model.

An `Example` joins a record with everything that was measured on it; scores are functions of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from unbelief.beliefs.decoding import Decoding
from unbelief.types import Record

PromptKind = Literal["own", "paraphrased"]
"""Which question was asked: the record's prompt or its `paraphrased_prompt`."""
AnswerKind = Literal["answer", "paraphrase", "perturbed", "choice"]
"""Which text was scored: the record's answer, or one of its paraphrases, perturbed answers or
choices."""


@dataclass(frozen=True, slots=True)
class AnswerNeed:
    """Teacher-forced statistics of every text of one kind, after one kind of prompt."""

    answer: AnswerKind = "answer"
    prompt: PromptKind = "own"

    @property
    def moments(self) -> bool:
        """Whether entropy and variance are among them: of the record's own answer only."""
        return self.answer == "answer"


@dataclass(frozen=True, slots=True)
class TextNeed:
    """Answers the model gives by itself.

    Attributes:
        decoding: How it is asked.
        samples: Answers per prompt.
        prompt: Which prompt.
        prefix: Put at the start of the model's own turn (it continues from there).
    """

    decoding: Decoding
    samples: int = 1
    prompt: PromptKind = "own"
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class GradientNeed:
    """Norm of the gradient of the answer's mean loss by all parameters; ‖·‖ per tensor, averaged.

    Attributes:
        order: p of the norm.
        drop_last: Leave the answer's last token, whatever it is, out of the loss.
    """

    order: float = 2.0
    drop_last: bool = False


Need = AnswerNeed | TextNeed | GradientNeed


@dataclass(frozen=True, slots=True)
class ClassifierNeed:
    """What a text classifier says about the answers of a text need. Not asked of the model itself.

    Attributes:
        text: The answers.
        max_tokens: Most tokens of an answer that the classifier reads.
    """

    text: TextNeed
    max_tokens: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMeasurement:
    """Teacher-forced statistics of one answer given one prompt. n tokens.

    Attributes:
        token_ids: (n,) the scored tokens, end token included where one is scored.
        logp: (n,) float32 log-probability of each token, nats. NaN where the model gave NaN.
        hit: (n,) bool, whether it was the most probable token.
        entropy: (n,) float32 −Σ_v π(v) ln π(v), nats: minus the mean of ln π under π. None where
            the need has no moments (`AnswerNeed.moments`).
        variance: (n,) float32 variance of ln π(v) under π, nats²; likewise.
        has_end: Whether the last token is the end token that the encoder added.
        truncated: Whether the length limit cut the answer.
        decoded: The scored tokens as text, without special ones. What a template adds to an answer
            is in it, and not in the record.
    """

    token_ids: np.ndarray
    logp: np.ndarray
    hit: np.ndarray
    entropy: np.ndarray | None
    variance: np.ndarray | None
    has_end: bool
    truncated: bool = False
    decoded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMeasurement:
    """One answer the model gave by itself.

    Attributes:
        token_ids: As decoded, the end token included when it came.
        text: The same without special tokens.
        log_prob: Summed log-probability at temperature 1, nats.
        finished: False when the length limit cut it.
    """

    token_ids: tuple[int, ...]
    text: str
    log_prob: float
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A record and what one model said about it.

    Attributes:
        record: The record; its texts are the truth that answers are compared with.
        answers: Per need the measured texts, in the record's order.
        texts: Per need the answers given, in sample order.
        gradients: Per need the gradient norm.
        unmeasured: Per need that could not be measured, the reason in words.
        opinions: Per need of a classifier, its number for each answer, in sample order.
        reference: The same example as another model sees it (for attacks that compare two models).
    """

    record: Record
    answers: Mapping[AnswerNeed, tuple[AnswerMeasurement, ...]] = field(default_factory=dict)
    texts: Mapping[TextNeed, tuple[TextMeasurement, ...]] = field(default_factory=dict)
    gradients: Mapping[GradientNeed, float] = field(default_factory=dict)
    unmeasured: Mapping[Need | ClassifierNeed, str] = field(default_factory=dict)
    opinions: Mapping[ClassifierNeed, tuple[float, ...]] = field(default_factory=dict)
    reference: Example | None = None
