"""Direct preference of an alternative over the answer to forget."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.alternatives import AlternativeTerm
from unbelief.objectives.base import Level, Preset


@dataclass(frozen=True)
class DPO(AlternativeTerm):
    r"""Prefer an alternative answer to the answer to forget, compared with the original model.

    .. math:: L = -\frac{2}{\beta} \log\sigma\Big(\beta\Big[
              \log\frac{\pi(y_{alt})}{\pi_o(y_{alt})} - \log\frac{\pi(y)}{\pi_o(y)}\Big]\Big)

    on summed log-probabilities, with NPO's factor 2/β (DPO's own paper has 1): without the first
    part it is NPO. One value per answer and its alternative, (2/β) ln 2 at π = π_o.

    Attributes:
        beta: 0.1 in OpenUnlearning's IdkDPO and in AltPO.
        alternatives: `refusals` (IdkDPO) or `model` (AltPO).
        samples: Alternatives per record, one per epoch in turn; 5 in AltPO.
        sampling_temperature: Of the model's alternatives, 1 in AltPO.
        max_new_tokens: Longest alternative of the model, 200 in AltPO.
    """

    beta: float = 0.1

    name: ClassVar[str] = "dpo"
    level: ClassVar[Level] = "sequence"
    source: ClassVar[str] = (
        "Rafailov et al. 2023 (DPO); Maini et al. 2024 (IdkDPO); Mekala et al. 2025 (AltPO)"
    )
    presets: ClassVar[dict[str, Preset]] = {
        "idk-dpo": Preset("prefer a refusal to the answer (IdkDPO)"),
        "altpo": Preset(
            "prefer a plausible other answer, made up by the original model (AltPO)",
            options=(("alternatives", "model"),),
        ),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be positive, not {self.beta}")

    @property
    def needs(self) -> Needs:
        """Reference log-probabilities of both answers."""
        return Needs(reference_logp=True)

    def margin(self, stats: AnswerStats) -> Tensor:
        """(A,) by how much more the alternative has gained than the answer, in nats."""
        assert stats.ref_logp is not None and stats.alternative is not None
        gain = stats.logp - stats.ref_logp
        return stats.sum_per_answer(torch.where(stats.alternative, gain, -gain))

    def values(self, stats: AnswerStats) -> Tensor:
        """(A,) the loss of each pair."""
        return 2 / self.beta * F.softplus(-self.beta * self.margin(stats))

    @torch.no_grad()
    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """The margin of each pair."""
        return {"preference_margin": self.margin(stats)}
