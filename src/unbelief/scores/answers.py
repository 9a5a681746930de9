"""Which tokens of a measured answer count, and means over them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from unbelief.measure.tables import AnswerMeasurement, AnswerNeed, Example
from unbelief.scores.base import Unscorable, answers_of

Tokens = Literal["all", "without_end", "drop_last"]
"""`all`: every scored token, the end token too where one was scored. `without_end`: not the end
token. `drop_last`: without the last token, whatever it is; what OpenUnlearning does, which drops a
word of every text that has no end token and keeps template tokens that precede it."""


def token_slice(answer: AnswerMeasurement, tokens: Tokens) -> slice:
    """The tokens that count.

    Raises:
        Unscorable: None are left.
    """
    n = len(answer.logp)
    if tokens == "drop_last" or (tokens == "without_end" and answer.has_end):
        n -= 1
    if n < 1:
        raise Unscorable("the answer has no tokens")
    return slice(0, n)


def logp_of(answer: AnswerMeasurement, tokens: Tokens) -> np.ndarray:
    """(n,) float64 log-probabilities of the tokens that count, nats."""
    return np.asarray(answer.logp, np.float64)[token_slice(answer, tokens)]


def mean_logps(example: Example, need: AnswerNeed, tokens: Tokens) -> np.ndarray:
    """(A,) mean log-probability per token of each measured answer of a need, nats.

    Raises:
        Unscorable: Nothing was measured, an answer has no tokens, or a value is not finite.
    """
    return np.array([logp_of(answer, tokens).mean() for answer in answers_of(example, need)])


def sum_logps(example: Example, need: AnswerNeed, tokens: Tokens) -> np.ndarray:
    """(A,) log-probability of each whole measured answer, nats.

    Raises:
        Unscorable: As for `mean_logps`, or an answer was cut: its probability is unknown.
    """
    found = answers_of(example, need)
    if any(answer.truncated for answer in found):
        raise Unscorable("the length limit cut the answer")
    return np.array([logp_of(answer, tokens).sum() for answer in found])


def own_answer(example: Example, need: AnswerNeed) -> AnswerMeasurement:
    """The one measured answer of a need with a single text.

    Raises:
        Unscorable: Nothing was measured.
    """
    return answers_of(example, need)[0]
