"""Membership inference: per-item scores that are lower for texts the model was trained on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from unbelief.measure.tables import AnswerNeed, Example, GradientNeed, Need
from unbelief.scores.answers import Tokens, logp_of, mean_logps, own_answer, token_slice
from unbelief.scores.base import Better, Metric, Unscorable

_OWN = AnswerNeed("answer")


@dataclass(frozen=True)
class _Attack(Metric):
    unit: ClassVar[str] = "nats"
    better: ClassVar[Better] = "closer to the retrained model"
    limits: ClassVar[tuple[float, float]] = (0.0, np.inf)

    @property
    def needs(self) -> tuple[Need, ...]:
        return (_OWN,)


@dataclass(frozen=True)
class MiaLoss(_Attack):
    """Mean negative log-likelihood of the answer, nats per token; lower marks a member.

    In [0, ∞). Says little by itself: its AUC between forget and holdout items (`mia_auc`) does.

    Attributes:
        tokens: Which tokens count.

    Source: Yeom et al. 2018.
    """

    name: ClassVar[str] = "mia_loss"
    summary: ClassVar[str] = "membership score: mean loss"
    source: ClassVar[str] = "Yeom et al. 2018, arXiv 1709.01604"

    tokens: Tokens = "all"

    def value(self, example: Example) -> float:
        """Minus the mean log-probability."""
        return max(0.0, -float(mean_logps(example, _OWN, self.tokens)[0]))


@dataclass(frozen=True)
class MiaZlib(_Attack):
    """Mean loss over the size of the compressed answer, nats per token and byte.

    In [0, ∞), lower marks a member. Texts that are easy for any model compress well. The size is
    that of the answer's UTF-8 bytes under zlib at its default level. A cut answer is unscored:
    loss and size would be of different texts.

    Attributes:
        tokens: Which tokens count.
        text: What is compressed: the record's answer, or the scored tokens decoded, as
            OpenUnlearning does (with the newline that some templates put after an answer).

    Source: Carlini et al. 2021.
    """

    name: ClassVar[str] = "mia_zlib"
    summary: ClassVar[str] = "membership score: mean loss over compressed size"
    unit: ClassVar[str] = "nats per byte"
    source: ClassVar[str] = "Carlini et al. 2021, arXiv 2012.07805"

    tokens: Tokens = "all"
    text: Literal["record", "tokens"] = "record"

    def value(self, example: Example) -> float:
        """Loss over compressed bytes."""
        loss = MiaLoss(self.tokens).value(example)
        return loss / len(zlib.compress(self._text(example).encode()))

    def _text(self, example: Example) -> str:
        answer = own_answer(example, _OWN)
        if self.text == "record":
            if answer.truncated:
                raise Unscorable("the length limit cut the answer")
            return example.record.answer
        if answer.decoded is None:
            raise Unscorable("the decoded tokens were not measured")
        return answer.decoded


@dataclass(frozen=True)
class MiaMinK(_Attack):
    """Mean loss of the share k of tokens that are least probable, nats per token.

    In [0, ∞), lower marks a member: a text that was seen has no surprising tokens. At least one
    token is taken; the number is rounded down.

    Attributes:
        k: Share of tokens.
        tokens: Which tokens count.

    Source: Shi et al. 2024.
    """

    name: ClassVar[str] = "mia_min_k"
    summary: ClassVar[str] = "membership score: mean loss of the least probable tokens"
    source: ClassVar[str] = "Shi et al. 2024, arXiv 2310.16789"

    k: float = 0.4
    tokens: Tokens = "without_end"

    def __post_init__(self) -> None:
        check_share(self.k)

    def value(self, example: Example) -> float:
        """Minus the mean of the lowest log-probabilities."""
        return max(0.0, -lowest_mean(logp_of(own_answer(example, _OWN), self.tokens), self.k))


@dataclass(frozen=True)
class MiaMinKPlusPlus(_Attack):
    r"""Min-K on log-probabilities standardised by what the model expected at each position.

    .. math:: z_i = \frac{\ln \pi(y_i) - \mu_i}{\sigma_i}, \quad \mu_i = E_{v \sim \pi} \ln \pi(v),
        \quad \sigma_i^2 = \operatorname{Var}_{v \sim \pi} \ln \pi(v)

    Minus the mean of the lowest share k of z; any real number, lower marks a member. Where the
    distribution is (almost) flat or certain σ is 0; the variance is not taken below
    `least_variance`.

    Attributes:
        k: Share of tokens.
        tokens: Which tokens count.
        least_variance: Floor of σ², nats².

    Source: Zhang et al. 2025; the floor is OpenUnlearning's.
    """

    name: ClassVar[str] = "mia_min_k_plus_plus"
    summary: ClassVar[str] = "membership score: Min-K on standardised log-probabilities"
    unit: ClassVar[str] = "standard deviations"
    source: ClassVar[str] = "Zhang et al. 2025, arXiv 2404.02936"
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    k: float = 0.4
    tokens: Tokens = "without_end"
    least_variance: float = 1e-6

    def __post_init__(self) -> None:
        check_share(self.k)
        if self.least_variance <= 0:
            raise ValueError(f"least_variance must be above 0, not {self.least_variance}")

    def value(self, example: Example) -> float:
        """Minus the mean of the lowest standardised log-probabilities."""
        answer = own_answer(example, _OWN)
        if answer.entropy is None or answer.variance is None:
            raise Unscorable("entropy and variance were not measured")
        kept = token_slice(answer, self.tokens)
        entropy = np.asarray(answer.entropy, np.float64)[kept]
        variance = np.asarray(answer.variance, np.float64)[kept]
        if not (np.isfinite(entropy).all() and np.isfinite(variance).all()):
            raise Unscorable("the model gave a non-finite entropy or variance")
        sigma = np.sqrt(np.maximum(variance, self.least_variance))
        return -lowest_mean((logp_of(answer, self.tokens) + entropy) / sigma, self.k)


@dataclass(frozen=True)
class MiaReference(_Attack):
    """Loss minus the loss under another model that was not trained on the text, nats per token.

    Any real number, lower marks a member. Needs the same example measured with the other model.

    Attributes:
        tokens: Which tokens count.

    Source: Carlini et al. 2021.
    """

    name: ClassVar[str] = "mia_reference"
    summary: ClassVar[str] = "membership score: loss minus a reference model's loss"
    source: ClassVar[str] = "Carlini et al. 2021, arXiv 2012.07805"
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    tokens: Tokens = "all"

    def value(self, example: Example) -> float:
        """Difference of the mean losses."""
        if example.reference is None:
            raise Unscorable("no reference model was measured")
        own = mean_logps(example, _OWN, self.tokens)[0]
        return float(mean_logps(example.reference, _OWN, self.tokens)[0] - own)


@dataclass(frozen=True)
class MiaGradientNorm(_Attack):
    """Norm of the gradient of the answer's mean loss, averaged over the parameter tensors.

    In [0, ∞), lower marks a member.

    Attributes:
        order: p of the norm, 1 or more.
        drop_last: Leave the last token, whatever it is, out of the loss, as OpenUnlearning does.

    Source: Wang et al. 2024 (Pandora's White-Box).
    """

    name: ClassVar[str] = "mia_gradient_norm"
    summary: ClassVar[str] = "membership score: norm of the loss gradient"
    unit: ClassVar[str] = "norm"
    source: ClassVar[str] = "Wang et al. 2024, arXiv 2402.17012"

    order: float = 2.0
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ValueError(f"order must be 1 or more, not {self.order}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """The gradient."""
        return (self._need,)

    @property
    def _need(self) -> GradientNeed:
        return GradientNeed(self.order, self.drop_last)

    def value(self, example: Example) -> float:
        """The norm as measured."""
        need = self._need
        if need not in example.gradients:
            raise Unscorable(example.unmeasured.get(need, "no gradient was measured"))
        return example.gradients[need]


def check_share(k: float) -> None:
    """Refuse a share of tokens that is not one.

    Raises:
        ValueError: k is outside (0, 1].
    """
    if not 0 < k <= 1:
        raise ValueError(f"k must be above 0 and at most 1, not {k}")


def lowest_mean(values: np.ndarray, k: float) -> float:
    """Mean of the lowest ⌊k n⌋ values, at least one."""
    count = max(1, int(len(values) * k))
    return float(np.sort(values)[:count].mean())
