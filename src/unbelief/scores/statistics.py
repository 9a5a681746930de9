"""Lists of scores to numbers with uncertainty, and numbers to numbers.

Means are plain means over items, as everywhere in the field; clusters (author, document) shape the
interval only. Nothing is assumed about what is missing: an item without a score is counted, a
number without its parts has no value and says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from unbelief.measure.tables import Example
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.equal import of_equal_values
from unbelief.scores.resampling import DRAWS, cluster_index, cluster_weights
from unbelief.types import Score

BOOTSTRAP = "clustered bootstrap 95 %"
PAIRED = "paired clustered bootstrap 95 %"
Side = Literal["two", "upper"]


def of_metric(
    metric: Metric, examples: Iterable[Example], *, stream: str = "", seed: int = 0
) -> Statistic:
    """Score examples and take the mean: exact binomial interval for binary metrics, else bootstrap.

    Args:
        metric: What to compute.
        examples: The item set as one model sees it.
        stream: Name of the item set; see `cluster_weights`.
        seed: Of the resampling.
    """
    scores = [metric.score(example) for example in examples]
    return of_scores(metric, scores, stream=stream, seed=seed)


def of_scores(
    metric: Metric, scores: Sequence[Score], *, stream: str = "", seed: int = 0
) -> Statistic:
    """The same from the items' scores."""
    unit, version = metric.unit, metric.version
    if metric.binary:
        return rate_statistic(scores, unit=unit, version=version, stream=stream, seed=seed)
    found = mean_statistic(scores, unit=unit, version=version, stream=stream, seed=seed)
    return of_equal_values(found, metric.limits)


def mean_statistic(
    scores: Sequence[Score],
    *,
    unit: str,
    version: int = 1,
    stream: str = "",
    seed: int = 0,
    draws: int = DRAWS,
) -> Statistic:
    r"""Mean over the scored items, with resamples of the clusters.

    .. math:: m_b = \sum_c w_{bc} \sum_{i \in c} s_i \Big/ \sum_c w_{bc}\, n_c

    with w the resample's weights, n_c the number of scored items in cluster c. A resample without
    any scored item has no value (NaN).

    Args:
        scores: One per item; items without a score are counted, not averaged.
        unit: Of the scores.
        version: Of their definition.
        stream: Name of the item set; see `cluster_weights`.
        seed: Of the resampling.
        draws: Number of resamples.

    Returns:
        Without draws when fewer than two clusters were scored: an interval would be made up.
    """
    values = _values(scores)
    known = ~np.isnan(values)
    counted = Statistic(
        value=None,
        scores=tuple(scores),
        n=int(known.sum()),
        n_unscored=int((~known).sum()),
        reasons=_reasons(scores) if scores else {"there are no items": 1},
        unit=unit,
        version=version,
    )
    if not known.any():
        return counted
    names, index = cluster_index(scores)
    sums = np.bincount(index[known], values[known], len(names))
    counts = np.bincount(index[known], minlength=len(names))
    drawn = None
    if (counts > 0).sum() > 1:
        weights = cluster_weights(names, stream=stream, seed=seed, draws=draws)
        with np.errstate(invalid="ignore"):
            drawn = (weights @ sums) / (weights @ counts)
        # Rounding must not put a mean outside the values it is of.
        drawn = drawn.clip(values[known].min(), values[known].max())
    return replace(
        counted,
        value=math.fsum(values[known]) / counted.n,
        draws=drawn,
        interval=BOOTSTRAP if drawn is not None else "none (one cluster)",
    )


def rate_statistic(
    scores: Sequence[Score],
    *,
    unit: str = "share",
    version: int = 1,
    stream: str = "",
    seed: int = 0,
    draws: int = DRAWS,
    side: Side = "two",
) -> Statistic:
    """Share of items whose score is 1, with the exact binomial interval over items.

    The interval takes items as independent; the draws still resample clusters, so differences of
    rates have clustered intervals.

    Args:
        scores: Each 0, 1 or unscored.
        unit: As for `mean_statistic`; likewise `version`, `stream`, `seed`, `draws`.
        version: See `unit`.
        stream: See `unit`.
        seed: See `unit`.
        draws: See `unit`.
        side: `two`: 95 % interval; `upper`: from 0 to the one-sided 95 % bound.

    Raises:
        ValueError: A score is neither 0 nor 1.
    """
    if wrong := [s.value for s in scores if s.value not in (None, 0.0, 1.0)]:
        raise ValueError(f"a rate is made of zeros and ones, not of {wrong[0]}")
    mean = mean_statistic(scores, unit=unit, version=version, stream=stream, seed=seed, draws=draws)
    if mean.value is None:
        return mean
    hits = sum(s.value == 1 for s in scores)
    return replace(
        mean,
        interval=f"exact binomial 95 %{' upper bound' if side == 'upper' else ''} over items",
        bounds=clopper_pearson(hits, mean.n, side=side),
    )


def clopper_pearson(
    hits: int, n: int, *, confidence: float = 0.95, side: Side = "two"
) -> tuple[float, float]:
    """Exact binomial interval of a rate (Clopper and Pearson 1934).

    Args:
        hits: Successes.
        n: Independent trials, at least 1.
        confidence: Coverage, at least.
        side: `two` for an interval, `upper` for (0, bound): "at most this, with that confidence".
    """
    from scipy.special import betaincinv

    alpha = (1 - confidence) / (2 if side == "two" else 1)
    low = 0.0 if hits == 0 or side == "upper" else float(betaincinv(hits, n - hits + 1, alpha))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - alpha))
    return low, high


def difference(statistic: Statistic, reference: Statistic) -> Statistic:
    """This model's number minus another's, with the interval of the paired difference.

    Both must come from the same item set, resampled with the same stream and seed.

    Returns:
        Without value when one side has none or the items differ. `n` counts items scored for both.
    """
    if statistic.value is None or reference.value is None:
        whose = "this model" if statistic.value is None else "the other model"
        return missing(f"{whose} has no value", unit=statistic.unit, version=statistic.version)
    if _items(statistic) != _items(reference):
        return missing(
            "the two models were measured on different items",
            unit=statistic.unit,
            version=statistic.version,
        )
    n, lost = _scored_for_both(statistic, reference)
    drawn = None
    if statistic.draws is not None and reference.draws is not None:
        drawn = _aligned(statistic.draws, reference.draws)
    return Statistic(
        value=statistic.value - reference.value,
        draws=drawn,
        n=n,
        n_unscored=statistic.n + statistic.n_unscored - n,
        reasons={"not scored for both models": lost} if lost else {},
        unit=statistic.unit,
        version=statistic.version,
        interval=PAIRED if drawn is not None else "none (no resamples)",
    )


def missing(reason: str, *, unit: str, version: int = 1) -> Statistic:
    """A statistic that could not be computed, and why."""
    return Statistic(value=None, unit=unit, version=version, reasons={reason: 1})


def combined(
    inputs: Sequence[Statistic],
    formula: Callable[[np.ndarray], np.ndarray],
    *,
    unit: str,
    version: int = 1,
) -> Statistic:
    """A formula of several statistics, applied to their values and, draw by draw, to their draws.

    Args:
        inputs: K statistics.
        formula: (..., K) to (...).
        unit: Of the result.
        version: Of the formula.

    Returns:
        Without value when an input has none or the formula's result is not finite. `n` and
        `n_unscored` are sums over the inputs: the item scores the number rests on.
    """
    for i, one in enumerate(inputs, start=1):
        if one.value is None:
            why = "; ".join(one.reasons) or "it was not computed"
            return missing(
                f"input {i} of {len(inputs)} has no value: {why}", unit=unit, version=version
            )
    value = float(formula(np.array([one.value for one in inputs], float)))
    if not math.isfinite(value):
        return missing(f"the result is {value}", unit=unit, version=version)
    drawn = None
    draws = [one.draws for one in inputs if one.draws is not None]
    if len(draws) == len(inputs) and len({len(d) for d in draws}) == 1:
        drawn = formula(np.stack(draws, axis=-1))
        drawn = np.where(np.isfinite(drawn), drawn, np.nan)
    reasons: Counter[str] = Counter()
    for one in inputs:
        reasons.update(one.reasons)
    return Statistic(
        value=value,
        draws=drawn,
        n=sum(one.n for one in inputs),
        n_unscored=sum(one.n_unscored for one in inputs),
        reasons=dict(reasons),
        unit=unit,
        version=version,
        interval=BOOTSTRAP if drawn is not None else "none (an input has no resamples)",
    )


def _values(scores: Sequence[Score]) -> np.ndarray:
    return np.array([math.nan if s.value is None else s.value for s in scores], float)


def _reasons(scores: Sequence[Score]) -> dict[str, int]:
    return dict(Counter(s.unscored for s in scores if s.unscored is not None))


def _items(statistic: Statistic) -> list[tuple[str, str]]:
    return sorted((s.example_id, s.group or "") for s in statistic.scores)


def _scored_for_both(statistic: Statistic, reference: Statistic) -> tuple[int, int]:
    """Items scored for both models, and items scored for exactly one."""
    if not statistic.scores:
        return min(statistic.n, reference.n), abs(statistic.n - reference.n)
    one = {s.example_id for s in statistic.scores if s.value is not None}
    two = {s.example_id for s in reference.scores if s.value is not None}
    return len(one & two), len(one ^ two)


def _aligned(one: np.ndarray, two: np.ndarray) -> np.ndarray | None:
    return one - two if one.shape == two.shape else None
