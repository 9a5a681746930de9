"""Keep hidden states on retain answers (RMU's partner)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import RetainTerm


@dataclass(frozen=True)
class HiddenMatch(RetainTerm):
    r"""Squared distance of a layer's output to the original model's, at the answer's tokens.

    .. math:: L = \frac{1}{d} \lVert h_\ell^i - h_{\ell,o}^i \rVert^2

    One value per token; 0 with zero gradient at the original weights.

    Attributes:
        layer: ℓ; taken from the forget term where that names one.
    """

    layer: int = 7

    name: ClassVar[str] = "hidden-match"
    source: ClassVar[str] = "Li et al. 2024, WMDP, RMU retain loss"

    @property
    def needs(self) -> Needs:
        """One layer's output of both models."""
        return Needs(hidden_layer=self.layer, reference_hidden=True)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) mean squared differences."""
        assert stats.hidden is not None and stats.ref_hidden is not None
        return (stats.hidden - stats.ref_hidden).square().mean(dim=-1)
