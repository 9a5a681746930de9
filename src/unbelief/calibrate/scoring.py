"""Which scores may steer a choice, what is reported beside them, and ratios with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from unbelief.errors import RequestError
from unbelief.measure.tables import AnswerNeed
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.conventions import label, metric
from unbelief.scores.options import option_values
from unbelief.scores.statistics import combined

REPORTED = ("extraction_strength", "probability")
"""What is reported of every model besides the steering score."""
PERTURBED = "extraction_strength_paraphrased"
_NOT_KNOWLEDGE = frozenset({"collapse_rate", "empty_rate", "repetition"})
"""Lower is better for them as for leaks, but they say how a model speaks, not what it knows."""
_KNOWLEDGE = frozenset({"exact_memorization"})


def steering(name: str, convention: str, flag: str) -> Metric:
    """A metric of which more means that more is known.

    Raises:
        RequestError: An unknown metric or convention, or one that is not of that kind.
    """
    found = metric(name, convention)
    grows = found.better == "lower" and name not in _NOT_KNOWLEDGE
    if not (grows or name in _KNOWLEDGE) or found.limits[0] < 0:
        raise RequestError(
            f"{name} does not grow with what a model knows, so a share of it means nothing",
            where=flag,
            remedy="for example extraction_strength, probability or rougeL_recall",
        )
    return found


def reported(score: str, convention: str) -> dict[str, Metric]:
    """The metrics of the final table, by the name of their column.

    Extraction strength is read exactly and, where records have a paraphrased prompt, perturbed.
    """
    found = {name: metric(name, convention) for name in dict.fromkeys((score, *REPORTED))}
    perturbed = metric("extraction_strength", convention, {"prompt": "paraphrased"})
    return {**found, PERTURBED: perturbed}


def teacher_forced(one: Metric) -> bool:
    """Whether a metric needs no answers of the model's own, which cost far more."""
    return all(isinstance(need, AnswerNeed) for need in one.needs)


def ratio(one: Statistic, base: Statistic) -> Statistic:
    """Quotient of two means over the same items, with the paired interval of the resamples."""
    found = combined([one, base], _quotient, unit="ratio")
    # `combined` counts the items of both inputs; here they are the same ones.
    return replace(found, n=one.n, n_unscored=one.n_unscored, reasons=found.reasons or one.reasons)


def _quotient(pair: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(pair[..., 0] / pair[..., 1])


def value_of(statistic: Statistic, what: str) -> float:
    """The number a choice is made by.

    Raises:
        RequestError: There is none, so there is nothing to choose by.
    """
    if statistic.value is None:
        why = "; ".join(statistic.reasons) or "it was not computed"
        raise RequestError(
            f"{what} has no value: {why}",
            remedy="choose another score, or give records that have what it needs",
        )
    return statistic.value


def described(metrics: Mapping[str, Metric], convention: str) -> dict[str, Any]:
    """What each column is."""
    return {
        title: {
            "metric": one.name,
            "convention": label(one, convention),
            "options": option_values(one),
            "unit": one.unit,
            "version": one.version,
        }
        for title, one in metrics.items()
    }


def numbers(
    found: Mapping[str, Statistic], metrics: Mapping[str, Metric], convention: str
) -> dict[str, Any]:
    """Statistics as they are written, by column."""
    return {title: number(one, label(metrics[title], convention)) for title, one in found.items()}


def number(statistic: Statistic, convention: str) -> dict[str, Any]:
    """One statistic as it is written."""
    return asdict(statistic.estimate(convention))
