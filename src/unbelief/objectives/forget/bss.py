"""Bootstrapping with sequence beliefs."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import ForgetTerm, Level, Preset
from unbelief.objectives.forget.bst import BST


@dataclass(frozen=True)
class BSS(ForgetTerm):
    r"""BS-S: any forget term, on the answers and on whole answers the model itself believes in.

    .. math:: L = (1-\lambda) L_{inner}(x, y) + \frac{\lambda}{N} \sum_{j=1}^N
              L_{inner}(x, \hat y^{(j)}), \qquad \hat y \sim \pi(\cdot \mid x)

    It is a belief source, not a loss: every forget prompt gets N belief rows whose values are the
    inner term's; the weights 1-λ and λ/N are the rows'. Values are per token or per answer, as the
    inner term's.

    Attributes:
        inner: The forget term applied to targets and beliefs.
        weight: λ, 0.5 in the authors' configuration.
        samples: N, 3 in the authors' configuration.
        sampling_temperature: T of the sampling, 1 in the authors' configuration.
        sampling_top_k: 0 samples from the whole distribution (the authors' code silently uses 50).
        max_new_tokens: Longest belief.
        policy: `off-policy` samples once from the original model (Theorem 5.3), `on-policy` again
            from the current model every `refresh_epochs`.
        refresh_epochs: 2 in the authors' configuration.
    """

    inner: ForgetTerm = field(default_factory=BST)
    weight: float = 0.5
    samples: int = 3
    sampling_temperature: float = 1.0
    sampling_top_k: int = 0
    max_new_tokens: int = 200
    policy: Literal["off-policy", "on-policy"] = "off-policy"
    refresh_epochs: float = 2.0

    name: ClassVar[str] = "bs-s"
    # Instances take the inner term's level (set in __post_init__); the class itself has the
    # default inner term's.
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "Li et al. 2026, LLM Unlearning with LLM Beliefs, Eq. 8, Theorem 5.3"
    presets: ClassVar[dict[str, Preset]] = {
        "bs-s": Preset("sequence beliefs around BS-T, sampled once from the original model"),
        "bs-s-on-policy": Preset(
            "sequence beliefs around BS-T, sampled again as the model changes",
            options=(("policy", "on-policy"),),
        ),
    }

    def __post_init__(self) -> None:
        if not isinstance(self.inner, ForgetTerm):
            raise TypeError(f"inner is a forget term, not {self.inner!r}")
        if isinstance(self.inner, BSS):
            raise ValueError("bs-s around bs-s has no meaning: choose another inner term")
        if self.inner.answers != "targets":
            raise ValueError(
                f"bs-s around {self.inner.name} has no meaning: it has answers of its own"
            )
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must lie in [0, 1], not {self.weight}")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")
        if not 0 < self.sampling_temperature < math.inf:
            raise ValueError(
                f"sampling_temperature must be positive, not {self.sampling_temperature}"
            )
        if self.sampling_top_k < 0:
            raise ValueError(f"sampling_top_k must not be negative, not {self.sampling_top_k}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if self.policy not in ("off-policy", "on-policy"):
            raise ValueError(f"policy is off-policy or on-policy, not {self.policy!r}")
        if not self.refresh_epochs > 0:
            raise ValueError(f"refresh_epochs must be positive, not {self.refresh_epochs}")
        object.__setattr__(self, "level", self.inner.level)

    @property
    def needs(self) -> Needs:
        """The inner term's needs, for target and belief rows alike."""
        return self.inner.needs

    def values(self, stats: AnswerStats) -> Tensor:
        """The inner term's values."""
        return self.inner.values(stats)

    def diagnostics(self, stats: AnswerStats) -> dict[str, Tensor]:
        """The inner term's diagnostics."""
        return self.inner.diagnostics(stats)
