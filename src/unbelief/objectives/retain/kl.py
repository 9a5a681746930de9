"""Keep the distribution on retain answers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import RetainTerm


@dataclass(frozen=True)
class KL(RetainTerm):
    r"""Divergence to the original model at the retain answers' tokens (never prompt or padding).

    .. math:: \text{forward: } \mathrm{KL}(\pi_o \,\Vert\, \pi), \qquad
              \text{reverse: } \mathrm{KL}(\pi \,\Vert\, \pi_o)

    One value (nats) per token; 0 with zero gradient at π = π_o.

    Attributes:
        direction: `forward` is what the field's code computes under the name KL; the tutorial
            prints the reverse.
    """

    direction: Literal["forward", "reverse"] = "forward"

    name: ClassVar[str] = "kl"
    source: ClassVar[str] = "Maini et al. 2024, TOFU, KL minimisation; Wang et al. 2025, Obs. 7"

    def __post_init__(self) -> None:
        if self.direction not in ("forward", "reverse"):
            raise ValueError(f"direction is forward or reverse, not {self.direction!r}")

    @property
    def needs(self) -> Needs:
        """The full distribution of the original model."""
        return Needs(kl=self.direction)

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) divergences."""
        assert stats.kl is not None
        return stats.kl
