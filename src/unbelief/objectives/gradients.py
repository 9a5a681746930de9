"""What a step is made of, once both sides' gradients are there."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class GradientRule:
    """The sum of both gradients, γ · forget + α · retain; other rules keep them apart.

    Class attributes:
        name: How the command line calls it.
        apart: Whether the sides' gradients are computed one after the other.
        source: Paper and equation.
    """

    name: ClassVar[str] = "sum"
    apart: ClassVar[bool] = False
    source: ClassVar[str] = ""

    def share(self, inner_product: float, retain_square: float) -> tuple[float, float]:
        """What the step holds of the forget and of the retain gradient.

        Args:
            inner_product: ⟨g, r⟩ of the forget gradient g and the retain gradient r.
            retain_square: ‖r‖².
        """
        return 1.0, 1.0


@dataclass(frozen=True)
class Rectified(GradientRule):
    r"""Gradient rectified unlearning: the forget gradient without what hurts the retain data.

    .. math:: \tilde g = g - \frac{\min(\langle g, r\rangle, 0)}{\|r\|^2}\, r, \qquad
              r_t = \rho \nabla L_{retain} + (1-\rho)\, r_{t-1}, \quad r_0 = \nabla L_{retain}

    Both losses are minimised, so ⟨g, r⟩ < 0 means that a step along −g raises the retain loss.
    Then g is projected onto the plane orthogonal to r: of all directions with ⟨g̃, r⟩ ≥ 0 it is the
    nearest one to g. The retain gradient only bounds the step and is not part of it, so α changes
    nothing but the log. Whatever the optimiser does to the gradient afterwards (momentum, Adam's
    division, weight decay) may turn the step again: the promise is about the gradient.

    It takes two gradients per step one after the other, over the same rows as the sum, and memory
    for one more gradient.

    Attributes:
        gamma: ρ, the weight of the newest retain gradient in the moving average; 1 is none. 0.8
            in the authors' configuration and in the fork of OpenUnlearning.
    """

    gamma: float = 0.8

    name: ClassVar[str] = "rectified"
    apart: ClassVar[bool] = True
    source: ClassVar[str] = "Wang et al. 2025, Gradient Rectified Unlearning (GRU)"

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gradients.gamma must lie in (0, 1], not {self.gamma}")

    def share(self, inner_product: float, retain_square: float) -> tuple[float, float]:
        """All of the forget gradient, and −min(⟨g, r⟩, 0) / ‖r‖² of the retain gradient."""
        if inner_product >= 0 or retain_square == 0:
            return 1.0, 0.0
        return 1.0, -inner_product / retain_square


SUM = GradientRule()
GRADIENT_RULES: dict[str, type[GradientRule]] = {r.name: r for r in (GradientRule, Rectified)}
"""The rules by name."""
