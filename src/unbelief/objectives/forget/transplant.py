"""Teaching what the model believes about neighbouring prompts."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives.base import Answers, ForgetTerm, Level, Preset


@dataclass(frozen=True)
class Transplant(ForgetTerm):
    r"""Belief transplant: the forget prompt is taught what the model believes of its neighbours.

    .. math:: L = -\frac{1}{n} \sum_{j=1}^n \log\pi(\hat y^{(j)} \mid x) + \sigma L_{inner}(x, y),
              \qquad \hat y^{(j)} \sim \rho_{E' \to E}\, \pi_o(\cdot \mid x_{E \to E'})

    where x asks about E, the neighbouring prompt asks the same about E', and ρ puts the name E
    back into the original model's answer. Nothing is pushed down: the answer to forget gives way
    to a whole distribution, the one a model without E would have if E were a stranger to it.
    Answers that say the fact to be forgotten are left out. One value (nats) per token.

    Attributes:
        neighbours: Neighbouring prompts per forget prompt.
        samples: Beliefs kept per forget prompt; at least as many as neighbours.
        per_step: n, beliefs of a prompt per step, in turn: n + 1 rows where others have 2.
        names: Whom the neighbouring prompts ask about: `strangers` (names put together from two of
            the retain prompts), `known` (names of the retain prompts), `nearest` (the most similar
            retain prompts as they are).
        leaks: `drop` leaves beliefs out that say the fact; `keep` is for ablations.
        inner: A token-wise forget term for the answer itself, beside the beliefs.
        suppression: σ, weight of the inner term; 0 leaves the answer alone.
        sampling_temperature: T of the sampling.
        max_new_tokens: Longest belief.
    """

    neighbours: int = 16
    samples: int = 16
    per_step: int = 4
    names: Literal["strangers", "known", "nearest"] = "strangers"
    leaks: Literal["drop", "keep"] = "drop"
    inner: ForgetTerm | None = None
    suppression: float = 0.0
    sampling_temperature: float = 1.0
    max_new_tokens: int = 200

    name: ClassVar[str] = "transplant"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "this project, docs/transplant.md"
    answers: ClassVar[Answers] = "mixture"
    presets: ClassVar[dict[str, Preset]] = {
        "transplant": Preset("teach what the original model believes about strangers (no ascent)"),
    }

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours <= self.samples:
            raise ValueError(f"neighbours is 1 to samples={self.samples}, not {self.neighbours}")
        if not 1 <= self.per_step <= self.samples:
            raise ValueError(f"per_step is 1 to samples={self.samples}, not {self.per_step}")
        if self.names not in ("strangers", "known", "nearest"):
            raise ValueError(f"names is strangers, known or nearest, not {self.names!r}")
        if self.leaks not in ("drop", "keep"):
            raise ValueError(f"leaks is drop or keep, not {self.leaks!r}")
        if not 0 <= self.suppression < math.inf:
            raise ValueError(f"suppression must not be negative, not {self.suppression}")
        if (self.inner is None) != (self.suppression == 0):
            raise ValueError("inner and suppression go together: name a term and a weight above 0")
        if self.inner is not None and not _can_be_inside(self.inner):
            raise ValueError(
                f"{self.inner.name} cannot suppress beside transplanted beliefs: choose a "
                "token-wise term of the answer itself, such as ga, wga or bs-t"
            )
        if not 0 < self.sampling_temperature < math.inf:
            raise ValueError(
                f"sampling_temperature must be positive, not {self.sampling_temperature}"
            )
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")

    @property
    def needs(self) -> Needs:
        """The inner term's needs; without one, nothing but log-probabilities."""
        return Needs() if self.inner is None else self.inner.needs

    def values(self, stats: AnswerStats) -> Tensor:
        """(T,) negative log-likelihood of beliefs, the inner term's values of answers."""
        if self.inner is None or stats.alternative is None:
            return -stats.logp
        return torch.where(stats.alternative, -stats.logp, self.inner.values(stats))


def _can_be_inside(term: ForgetTerm) -> bool:
    own_beliefs = hasattr(term, "inner")
    return term.answers == "targets" and term.level == "token" and not own_beliefs
