r"""Means over seeds, and methods against each other on the same seeds.

A mean has Student's 95 % interval over seeds. Two methods are compared by the differences d_s of
their values on seed s: mean, interval and two-sided p of the paired t-test,

.. math:: t = \bar d \,/\, (s_d / \sqrt n), \qquad n - 1 \text{ degrees of freedom}

All comparisons of a table, over ratios and quantities, are one family; their p-values are corrected
by Holm's step-down method (Holm 1979), which keeps the chance of any false claim at 5 %. The
intervals are not corrected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from unbelief.errors import RequestError
from unbelief.provenance import environment, utc_now
from unbelief.study.testbed import COLUMNS, HIGHER, PARTS, QUANTITIES
from unbelief.types import Estimate

SCHEMA = "unbelief/study-table"
VERSION = 1
CONVENTION = "study"
ALPHA = 0.05
_ROUNDING = 1e-12  # of quantities that are around 1
QUESTIONS = (
    ("bs-t", "graddiff-control"),
    ("bs-s", "npo"),
    ("bs-s", "wga"),
    ("bs-s", "tnpo"),
    ("bs-s", "bs-s-on-policy"),
)
"""Compared unless others are named: asked before any result was there."""


def mean_over_seeds(values: Sequence[float], unscored: Mapping[str, int]) -> Estimate:
    """Mean with a t-interval; no interval with fewer than two seeds, no value with none."""
    n, lost = len(values), sum(unscored.values())
    empty = Estimate(
        value=None, low=None, high=None, n=n, n_unscored=lost, unit="probability",
        convention=CONVENTION, version=VERSION, interval="none", reasons=dict(unscored),
    )  # fmt: skip
    if n == 0:
        return empty
    mean = float(np.mean(values))
    if n == 1:
        return replace(empty, value=mean, interval="none (one seed)")
    half = _quantile(n) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return replace(
        empty, value=mean, low=mean - half, high=mean + half, interval="t-interval over seeds 95 %"
    )


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the paired t-test; None with fewer than two pairs.

    Equal differences have no spread to test against: 1 where they are all 0, None otherwise. Those
    that differ by rounding alone are equal.
    """
    from scipy.stats import t

    d = np.asarray(differences, float)
    if len(d) < 2:
        return None
    spread = float(d.std(ddof=1))
    if spread <= _ROUNDING:
        return 1.0 if float(np.abs(d).max()) <= _ROUNDING else None
    statistic = abs(float(d.mean())) / (spread / math.sqrt(len(d)))
    return float(2 * t.sf(statistic, len(d) - 1))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's corrected p-values: sorted, times the number left, never falling, at most 1."""
    known = sorted((p, i) for i, p in enumerate(values) if p is not None)
    out: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        out[i] = largest
    return out


def table_document(
    runs: Sequence[Mapping[str, Any]],
    comparisons: Sequence[tuple[str, str]] | None = None,
    quantities: Sequence[str] = ("distance",),
) -> dict[str, Any]:
    """Everything a table says, as plain data.

    Args:
        runs: What `read_runs` gave.
        comparisons: Pairs of labels; None takes `QUESTIONS` as far as both are there.
        quantities: What is compared; every one adds to the family.

    Raises:
        RequestError: A label that is not there, or an unknown quantity.
    """
    labels = list(dict.fromkeys(r["label"] for r in runs))
    pairs = _pairs(comparisons, labels)
    for name in quantities:
        if name not in (*QUANTITIES, *PARTS, *COLUMNS):
            raise RequestError(
                f"{name!r} cannot be compared",
                where="--quantity",
                remedy=f"one of {', '.join((*QUANTITIES, *PARTS, *COLUMNS))}",
            )
    ratios = list(dict.fromkeys(r["ratio"] for r in runs))
    rows = [row for ratio in ratios for row in _rows(_of(runs, ratio), ratio, labels)]
    found = [
        _comparison(_of(runs, ratio), ratio, a, b, name)
        for ratio in ratios
        for name in quantities
        for a, b in pairs
    ]
    for one, corrected in zip(found, holm([c["p"] for c in found]), strict=True):
        one["p_holm"] = corrected
        one["verdict"] = _verdict(one)
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "created": utc_now(),
        "environment": asdict(environment()),
        "testbed": runs[0]["testbed"],
        "seeds": sorted({r["seed"] for r in runs}),
        "rows": rows,
        "comparisons": found,
        "family": len([c for c in found if c["p"] is not None]),
    }


def _of(runs: Sequence[Mapping[str, Any]], ratio: str) -> list[Mapping[str, Any]]:
    return [r for r in runs if r["ratio"] == ratio]


def _pairs(asked: Sequence[tuple[str, str]] | None, labels: Sequence[str]) -> list[tuple[str, str]]:
    if asked is None:
        return [pair for pair in QUESTIONS if set(pair) <= set(labels)]
    for name in (n for pair in asked for n in pair):
        if name not in labels:
            raise RequestError(
                f"there are no results of {name}",
                where="--compare",
                remedy=f"name two of {', '.join(labels)}",
            )
    return list(asked)


def _rows(
    runs: Sequence[Mapping[str, Any]], ratio: str, labels: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """Reference models first, then methods by distance."""
    by_seed = {r["seed"]: r["references"] for r in runs}
    roles = list(dict.fromkeys(role for its in by_seed.values() for role in its))
    for role in roles:
        points = [its[role] for its in by_seed.values() if role in its]
        yield {"label": role, "ratio": ratio, "reference": True, **_estimates(points)}
    rows = []
    for label in labels:
        mine = [r for r in runs if r["label"] == label]
        if mine:
            rows.append(
                {
                    "label": label,
                    "ratio": ratio,
                    "reference": False,
                    "step": mine[0]["step"],
                    "options": mine[0]["options"],
                    "seconds": round(sum(r["seconds"] for r in mine) / len(mine), 1),
                    **_estimates(mine),
                }
            )
    yield from sorted(rows, key=_by_distance)


def _by_distance(row: Mapping[str, Any]) -> float:
    value = row["estimates"]["distance"]["value"]
    return math.inf if value is None else float(value)


def _estimates(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    out = {}
    further = COLUMNS if any(COLUMNS.keys() & p["values"].keys() for p in points) else ()
    for name in (*QUANTITIES, *PARTS, *further):
        values = [p["values"][name] for p in points if name in p["values"]]
        why = Counter(
            p["unscored"].get(name, "not measured") for p in points if name not in p["values"]
        )
        out[name] = asdict(mean_over_seeds(values, why))
    return {"estimates": out}


def _comparison(
    runs: Sequence[Mapping[str, Any]], ratio: str, one: str, other: str, name: str
) -> dict[str, Any]:
    values = {
        label: {r["seed"]: r["values"][name] for r in runs
                if r["label"] == label and name in r["values"]}
        for label in (one, other)
    }  # fmt: skip
    seeds = sorted(values[one].keys() & values[other].keys())
    asked = {r["seed"] for r in runs if r["label"] in (one, other)}
    lost = {"not scored for both": len(asked) - len(seeds)} if len(asked) > len(seeds) else {}
    differences = [values[one][s] - values[other][s] for s in seeds]
    return {
        "one": one,
        "other": other,
        "ratio": ratio,
        "quantity": name,
        "better": {**QUANTITIES, **COLUMNS}.get(name, "lower"),
        "difference": asdict(mean_over_seeds(differences, lost)),
        "p": paired_p(differences),
    }


def _verdict(found: Mapping[str, Any]) -> str:
    """Who is better, after correction; `undecided` is no proof of equality."""
    if found["p_holm"] is None:
        return "not tested"
    if found["p_holm"] >= ALPHA:
        return "undecided"
    higher = found["difference"]["value"] > 0
    return "better" if higher == (found["better"] == HIGHER) else "worse"


def _quantile(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))
