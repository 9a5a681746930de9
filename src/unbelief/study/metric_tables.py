"""The two studies of metrics as documents and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from unbelief.provenance import environment, utc_now
from unbelief.report.tables import Table
from unbelief.study.failures import DEFAULT
from unbelief.study.protocol import SecondOpinion
from unbelief.study.reliability import Reading, Reliability
from unbelief.study.truth import masses_of
from unbelief.study.truth_plan import TruthConfig
from unbelief.study.truth_result import Fooled, MetricTruth, Truth
from unbelief.study.truth_rows import Row, Stopped
from unbelief.types import Estimate

TRUTH_SCHEMA = "unbelief/metric-truth"
RELIABILITY_SCHEMA = "unbelief/metric-reliability"
SCHEMA_VERSION = 1


def truth_document(
    truth: Truth, config: TruthConfig, rows: Sequence[Row], stopped: Sequence[Stopped]
) -> dict[str, Any]:
    """Everything of the study of truth, each model included: what `--output` gets."""
    values = {
        "schema": TRUTH_SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "created": utc_now(),
        "environment": asdict(environment()),
        "config": config.plain(),
        "config_digest": config.digest,
        "limits": asdict(DEFAULT),
        "worlds": {
            name: {role: asdict(masses) for role, masses in its.items()}
            for name, its in masses_of(rows).items()
        },
        **truth.to_dict(),
        "rows": [asdict(row) for row in rows],
        "stopped": [asdict(one) for one in stopped],
    }
    plain: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    return plain


def reliability_document(
    found: Sequence[Reliability],
    opinions: Sequence[SecondOpinion],
    readings: Sequence[Reading],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything of the study of reliability, each reading included."""
    values = {
        "schema": RELIABILITY_SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "created": utc_now(),
        "environment": asdict(environment()),
        **about,
        "reliability": [asdict(one) for one in found],
        "second_opinion": [asdict(one) for one in opinions],
        "readings": [asdict(one) for one in readings],
    }
    plain: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    return plain


def truth_table(truth: Truth) -> Table:
    """Per metric: correlation with the mass it is meant to show, and what fools it."""
    return Table(
        title=f"Metrics against exact masses, {truth.models} models",
        head=("Metric", "Meant to show", "Spearman", "Kendall", "Within", "Changed",
              "At equal target", "Error", "Squeezed", "Collapsed", "Damaged", "Untouched"),
        rows=tuple(_truth_row(one) for one in truth.metrics),
    )  # fmt: skip


def outcome_table(truth: Truth) -> Table:
    """Models per method and outcome."""
    names = tuple(truth.outcomes)
    return Table(
        title="What became of the models, by their exact masses",
        head=("Method", *(name.capitalize() for name in names)),
        rows=tuple(
            (method, *(str(counts.get(name, 0)) for name in names))
            for method, counts in truth.by_method.items()
        ),
    )


def reliability_table(found: Sequence[Reliability]) -> Table:
    """Per intervention, side and metric."""
    return Table(
        title="The metric before an intervention against the metric after it, over models",
        head=("Intervention", "Data", "Metric", "Pearson", "Spearman", "Slope", "Models"),
        rows=tuple(
            (
                one.attack,
                one.side,
                one.metric,
                interval(one.pearson),
                interval(one.spearman),
                interval(one.slope) + (" (1 wanted)" if one.knowledge_stays else ""),
                str(one.pearson.n),
            )
            for one in found
        ),
    )


def opinion_table(opinions: Sequence[SecondOpinion]) -> Table:
    """Faithfulness and robustness of every metric."""
    return Table(
        title="Second opinion: faithfulness and robustness as OpenUnlearning defines them",
        head=("Metric", "Faithfulness", "Relearning", "Quantisation", "Robustness", "Overall"),
        rows=tuple(
            (
                one.metric,
                interval(one.faithfulness),
                interval(one.relearning),
                interval(one.quantisation),
                plain(one.robustness),
                plain(one.overall),
            )
            for one in opinions
        ),
    )


def _truth_row(one: MetricTruth) -> tuple[str, ...]:
    return (
        one.title,
        one.meant,
        interval(one.spearman[one.meant]),
        plain(one.kendall.value),
        plain(one.within.value),
        plain(one.changed.value),
        "" if one.beyond_target is None else plain(one.beyond_target.value),
        "" if one.error is None else plain(one.error.value),
        *(_fooled(one.fooled[name]) for name in ("squeezed", "collapsed", "damaged", "untouched")),
    )


def _fooled(one: Fooled) -> str:
    value = one.by_value.value
    return "unscored" if value is None else f"{value:.0%}"


def plain(value: float | None) -> str:
    """Two decimals, or that there is none."""
    return "unscored" if value is None else f"{value:.2f}"


def interval(estimate: Estimate) -> str:
    """A value with its interval, or why there is none."""
    if estimate.value is None:
        return f"unscored: {'; '.join(estimate.reasons)}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
