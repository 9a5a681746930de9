"""Representation misdirection for unlearning."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level, Preset


@dataclass(frozen=True)
class RMU(ForgetTerm):
    r"""Steer a layer's output at the answer's tokens towards a random direction.

    .. math:: L = \frac{1}{d} \lVert h_\ell^i - c\,u \rVert^2, \qquad
              u = r / \lVert r \rVert,\; r \sim U[0,1)^d

    One value per token. Together with the retain term `hidden-match`.

    Attributes:
        layer: ℓ, index of the decoder layer (0 is the first).
        steering: c. It is compared with the layer's own norm, so it depends on the model: 2 for
            Llama-3.2-1B in OpenUnlearning, 6.5 and 20 for larger models in the paper.
        direction_seed: Seed of r, fixed for a run.
    """

    layer: int = 7
    steering: float = 2.0
    direction_seed: int = 0

    name: ClassVar[str] = "rmu"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Li et al. 2024, WMDP, RMU"
    presets: ClassVar[dict[str, Preset]] = {
        "rmu": Preset("steer hidden states to a random direction", retain="hidden-match")
    }

    @property
    def needs(self) -> Needs:
        """Output of one decoder layer."""
        return Needs(hidden_layer=self.layer)

    def direction(self, width: int) -> Tensor:
        """(d,) the control vector c·u, the same on every process."""
        generator = torch.Generator().manual_seed(self.direction_seed)
        u = torch.rand(width, generator=generator)
        return self.steering * u / u.norm()

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) mean squared distance to the control vector."""
        assert stats.hidden is not None
        control = self.direction(stats.hidden.shape[-1]).to(stats.hidden)
        return (stats.hidden - control).square().mean(dim=-1)
