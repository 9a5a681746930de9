"""What forget terms share that look at other answers to the forget prompts."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from unbelief.objectives.base import Answers, ForgetTerm


@dataclass(frozen=True)
class AlternativeTerm(ForgetTerm):
    """A forget term that sees alternatives, alone or paired with the answers to forget.

    Every record gets `samples` alternatives before training and takes them in turn, one per epoch.
    In a pair both answers are one entry of `AnswerStats`, and `stats.alternative` tells their
    tokens apart.

    Attributes:
        alternatives: `refusals` draws from a list, `model` asks the original model for a plausible
            other answer.
        samples: Alternatives per record.
        sampling_temperature: Of the model's alternatives.
        max_new_tokens: Longest alternative of the model.
    """

    alternatives: Literal["refusals", "model"] = "refusals"
    samples: int = 5
    sampling_temperature: float = 1.0
    max_new_tokens: int = 200

    answers: ClassVar[Answers] = "pairs"

    def __post_init__(self) -> None:
        if self.alternatives not in ("refusals", "model"):
            raise ValueError(f"alternatives is refusals or model, not {self.alternatives!r}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")
        if not 0 < self.sampling_temperature < math.inf:
            raise ValueError(
                f"sampling_temperature must be positive, not {self.sampling_temperature}"
            )
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
