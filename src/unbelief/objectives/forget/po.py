"""Learning to answer otherwise."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats
from unbelief.objectives.alternatives import AlternativeTerm
from unbelief.objectives.base import Answers, Level, Preset


@dataclass(frozen=True)
class PO(AlternativeTerm):
    r"""Preference optimisation in TOFU's sense (IdkNLL): fine-tuning on an alternative answer.

    .. math:: L = -\log\pi(y_{alt}^i)

    The answer to forget has no part in it: it is displaced, not suppressed. One value (nats) per
    token of the alternative.

    Attributes:
        alternatives: `refusals` as in the paper, or `model`.
        samples: Alternatives per record, one per epoch in turn.
        sampling_temperature: Of the model's alternatives.
        max_new_tokens: Longest alternative of the model.
    """

    name: ClassVar[str] = "po"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Maini et al. 2024, TOFU, preference optimisation; IdkNLL"
    answers: ClassVar[Answers] = "alternatives"
    presets: ClassVar[dict[str, Preset]] = {
        "po": Preset("fine-tuning on refusals in place of the answers (IdkNLL)")
    }

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) negative log-probabilities of the alternative's tokens."""
        return -stats.logp
