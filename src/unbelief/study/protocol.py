"""The second opinion: OpenUnlearning's meta-evaluation of metrics (Dorna et al. 2025, section 4).

It assumes no straight line. Faithfulness asks whether a metric tells models that know from models
that never did; robustness whether it rises no faster than the retrained model's when knowledge is
taught again, and stays when weights are rounded. All metrics are turned so that higher means more
knowledge. Both are in [0, 1], higher is better, and so is their harmonic mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unbelief.scores.base import Metric
from unbelief.scores.resampling import DRAWS, bootstrap_weights
from unbelief.study import correlation
from unbelief.study.reliability import Reading
from unbelief.types import Estimate

Turned = Callable[[float | None], float | None]
MOST_UTILITY_LOST = 0.2
"""Models whose utility falls by more under quantisation are left out of the robustness to it."""


@dataclass(frozen=True, kw_only=True)
class SecondOpinion:
    """What the protocol says of one metric.

    Attributes:
        metric: Its name.
        faithfulness: AUC of models with against models without the knowledge.
        relearning: Mean R over the unlearned models.
        quantisation: Mean Q over the unlearned models.
        robustness: Harmonic mean of the two.
        overall: Harmonic mean of faithfulness and robustness.
        left_out: Models whose utility fell too much under quantisation.
    """

    metric: str
    faithfulness: Estimate
    relearning: Estimate
    quantisation: Estimate
    robustness: float | None
    overall: float | None
    left_out: tuple[str, ...] = ()


def faithfulness(
    knowing: Sequence[float], ignorant: Sequence[float], *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    r"""Area under the ROC curve of a metric as a test for knowledge.

    .. math:: AUC = P(m_{with} > m_{without}) + \tfrac12 P(m_{with} = m_{without})

    Args:
        knowing: The metric of models trained with the knowledge; higher means more knowledge.
        ignorant: The same of models trained without it.
        seed: Of the resampling, which is that of both pools, independently.
        draws: Number of resamples.
    """
    n = len(knowing) + len(ignorant)
    if not knowing or not ignorant:
        return _none(n, "no models with and without the knowledge were given")
    x, y = np.array(knowing, float), np.array(ignorant, float)
    wins = (np.sign(x[:, None] - y[None, :]) + 1) / 2
    values = [float(wins.mean())]
    if min(len(x), len(y)) > 1:
        of_x = bootstrap_weights(len(x), 2 * seed, draws)
        of_y = bootstrap_weights(len(y), 2 * seed + 1, draws)
        values += ((of_x @ wins) * of_y).sum(axis=1).tolist()
    return correlation.estimate(np.array(values), n, 0, "probability", "models of both pools")


def relearning_robustness(retrained: tuple[float, float], unlearned: tuple[float, float]) -> float:
    r"""R of one model: the retrained model's gain from relearning over the unlearned model's.

    .. math:: R = \min\Big(\frac{m_{ret}^a - m_{ret}^b}{m_{unl}^a - m_{unl}^b},\, 1\Big)

    with b before and a after relearning. Below 1 the unlearned model gains faster than one that
    never knew: knowledge was there and the metric had not shown it. The formula has no value where
    the unlearned model gains nothing; then R is 1, for nothing came back. It is not let below 0,
    where the retrained model's own metric fell.

    Args:
        retrained: (before, after) of the retrained model.
        unlearned: (before, after) of the unlearned model.
    """
    gain = unlearned[1] - unlearned[0]
    if gain <= 0:
        return 1.0
    return float(min(max((retrained[1] - retrained[0]) / gain, 0.0), 1.0))


def quantisation_robustness(before: float, after: float) -> float:
    r"""Q of one model: how much of the metric was shown before weights were rounded.

    .. math:: Q = \min(m^b / m^a,\, 1)

    A metric that shows no knowledge after rounding either has Q = 1.

    Args:
        before: With the weights as they are, 0 or above.
        after: With rounded weights, 0 or above.
    """
    return 1.0 if after <= 0 else float(min(max(before, 0.0) / after, 1.0))


def harmonic(one: float | None, two: float | None) -> float | None:
    """Harmonic mean of two numbers in [0, 1]; 0 if one is, None if one is missing."""
    if one is None or two is None:
        return None
    return 0.0 if min(one, two) <= 0 else 2 * one * two / (one + two)


def knowledge(value: float | None, metric: Metric) -> float | None:
    """A metric's value on forget data, turned so that higher means more knowledge.

    Of a metric in [0, 1] by which a forgotten record scores high, 1 - m is taken; of an unbounded
    one (perplexity, loss) 1 / (1 + m).
    """
    if value is None or metric.better != "higher":
        return value
    low, high = metric.limits
    return 1 - value if (low, high) == (0.0, 1.0) else 1 / (1 + max(value, 0.0))


def second_opinions(
    readings: Sequence[Reading],
    metrics: Mapping[str, Metric],
    *,
    utility: str = "probability",
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[SecondOpinion, ...]:
    """The protocol for every metric that was read on forget data.

    Args:
        readings: Of all pools; relearning and quantisation are found by the attack's name.
        metrics: By name, for their direction; a metric not named here is taken as it is.
        utility: Metric on retain data by which models are left out of the quantisation.
        seed: Of the resampling.
        draws: Number of resamples.
    """
    names = dict.fromkeys(r.metric for r in readings if r.side == "forget")
    return tuple(_opinion(name, readings, metrics, utility, seed, draws) for name in names)


def _opinion(
    name: str,
    readings: Sequence[Reading],
    metrics: Mapping[str, Metric],
    utility: str,
    seed: int,
    draws: int,
) -> SecondOpinion:
    def turned(value: float | None) -> float | None:
        return knowledge(value, metrics[name]) if name in metrics else value

    own = [r for r in readings if r.side == "forget" and r.metric == name]
    pools = {
        pool: [v for r in _first(own, pool) if (v := turned(r.before)) is not None]
        for pool in ("with", "without", "retrained")
    }
    faithful = faithfulness(
        pools["with"], [*pools["without"], *pools["retrained"]], seed=seed, draws=draws
    )
    relearn, quantise = attack_of(readings, "relearn"), attack_of(readings, "quantise")
    gold = [_both(r, turned) for r in own if r.pool == "retrained" and r.attack == relearn]
    relearned = [_both(r, turned) for r in own if r.pool == "unlearned" and r.attack == relearn]
    if not gold or gold[0] is None:
        relearning = _none(len(relearned), "no retrained model was relearned beside them")
    else:
        values = [relearning_robustness(gold[0], pair) for pair in relearned if pair is not None]
        relearning = _mean(values, len(relearned) - len(values), seed, draws)
    spoilt = spoilt_models(readings, utility)
    rounded = [
        _both(r, turned)
        for r in own
        if r.pool == "unlearned" and r.attack == quantise and r.model not in spoilt
    ]
    quotients = [quantisation_robustness(*pair) for pair in rounded if pair is not None]
    quantisation = _mean(quotients, len(rounded) - len(quotients), seed, draws)
    robust = harmonic(relearning.value, quantisation.value)
    return SecondOpinion(
        metric=name,
        faithfulness=faithful,
        relearning=relearning,
        quantisation=quantisation,
        robustness=robust,
        overall=harmonic(faithful.value, robust),
        left_out=spoilt,
    )


def spoilt_models(readings: Sequence[Reading], utility: str) -> tuple[str, ...]:
    """Models that lose more than a fifth of their utility when weights are rounded."""
    quantise = attack_of(readings, "quantise")
    return tuple(
        r.model
        for r in readings
        if r.pool == "unlearned"
        and r.side == "retain"
        and r.metric == utility
        and r.attack == quantise
        and r.before is not None
        and r.after is not None
        and r.after < (1 - MOST_UTILITY_LOST) * r.before
    )


def attack_of(readings: Sequence[Reading], name: str) -> str | None:
    """Which of the attacks called `name` the protocol means: 4 bits, else the first there is."""
    called = {"quantise": ("quantise", "quantize")}.get(name, (name,))
    labels = list(dict.fromkeys(r.attack for r in readings if r.attack.split(":")[0] in called))
    four = [label for label in labels if ":" not in label or "bits=4" in label]
    return next(iter(four or labels), None)


def _first(readings: Sequence[Reading], pool: str) -> list[Reading]:
    """One reading per model: what it showed before is the same for every attack."""
    return list({r.model: r for r in reversed(readings) if r.pool == pool}.values())


def _both(reading: Reading, turned: Turned) -> tuple[float, float] | None:
    before, after = turned(reading.before), turned(reading.after)
    return None if before is None or after is None else (before, after)


def _mean(values: Sequence[float], lost: int, seed: int, draws: int) -> Estimate:
    if not values:
        return _none(lost, "no model has a value before and after")
    weights = correlation.resamples([str(i) for i in range(len(values))], seed, draws)
    means = (weights @ np.array(values)) / weights.sum(axis=1)
    return correlation.estimate(means, len(values), lost, "ratio", "models")


def _none(unscored: int, reason: str) -> Estimate:
    return Estimate(
        value=None,
        low=None,
        high=None,
        n=0,
        n_unscored=unscored,
        unit="",
        convention=correlation.CONVENTION,
        version=correlation.VERSION,
        interval="",
        reasons={reason: 1},
    )
