"""What `vision.json` holds: every model's numbers, and means over seeds with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from unbelief.provenance import environment, utc_now
from unbelief.types import Estimate
from unbelief.vision.bench import Bench
from unbelief.vision.config import VisionConfig
from unbelief.vision.finding import methods
from unbelief.vision.identify import Identification
from unbelief.vision.measures import GAP_PARTS, gap
from unbelief.vision.scenario import Relation
from unbelief.vision.schemes import RECIPES, choose_scheme

if TYPE_CHECKING:
    from unbelief.vision.run import Job

SCHEMA, VERSION = "unbelief.vision", 2
CONVENTION = "unbelief-vision"
Content = Mapping[str, Any]
ENDS = {"original": "Original", "reference": "Retrained"}


Limits = tuple[float, float]
LIMITS: Mapping[str, Limits] = {
    "percent": (0.0, 100.0),
    "percentage points": (-100.0, 100.0),
    "share": (0.0, 1.0),
    "seconds": (0.0, math.inf),
}
"""Least and largest value a quantity of a unit can have; differences have a sign."""


def over_seeds(
    values: Sequence[float | None], unit: str, why: str = "unscored", limits: Limits | None = None
) -> Estimate:
    """Mean over seeds with Student's 95 % interval; seeds without a value are counted.

    The interval is about the mean over splits and weights drawn anew, and is cut at the least and
    largest value the quantity can have: no mean lies beyond them, so cutting loses no coverage. It
    is of width zero where all seeds agree, which says that no spread was seen, not that there is
    none.

    Args:
        values: One per seed; None where there is none.
        unit: Of the values.
        why: Reason for missing values.
        limits: Of the quantity; by default those of its unit (`LIMITS`).
    """
    from scipy.stats import t

    known = np.array([v for v in values if v is not None], float)
    lost, count = len(values) - len(known), len(known)
    least, largest = limits or LIMITS.get(unit, (-math.inf, math.inf))
    low = high = None
    if count > 1:
        half = float(t.ppf(0.975, count - 1) * known.std(ddof=1) / math.sqrt(count))
        low = max(float(known.mean()) - half, least)
        high = min(float(known.mean()) + half, largest)
    return Estimate(
        value=float(known.mean()) if count else None,
        low=low,
        high=high,
        n=count,
        n_unscored=lost,
        unit=unit,
        convention=CONVENTION,
        version=VERSION,
        interval=_kind(least, largest) if low is not None else "none (fewer than two seeds)",
        reasons={why: lost} if lost else {},
    )


def _kind(least: float, largest: float) -> str:
    ends = " and ".join(f"{end:g}" for end in (least, largest) if math.isfinite(end))
    return "t-interval over seeds 95 %" + (f", cut at {ends}" if ends else "")


def vision_document(
    config: VisionConfig, bench: Bench, cells: Mapping[Job, Content]
) -> dict[str, Any]:
    """Everything that is reported, as plain data.

    Args:
        config: What was done.
        bench: One seed's, for what the data and scenarios are.
        cells: What was measured.
    """
    name, scheme = choose_scheme(config.data, config.scheme)
    known = methods()
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": utc_now(),
        "environment": asdict(environment()),
        "settings": config.settings(),
        "recipe": RECIPES[config.data].about,
        "data": {
            "name": bench.data.name,
            "train": len(bench.data.train),
            "test": len(bench.data.test),
            "sha256_first_seed": bench.digest(),
        },
        "scheme": {"name": name, "about": scheme.about},
        "scenarios": [_scenario(bench, relation) for relation in config.relations],
        "methods": {
            n: {"label": known[n].label, "source": known[n].source, "finds": known[n].finds}
            for n in config.names
        },
        "rows": _rows(config, cells),
        "runs": [{**asdict(job), **cell} for job, cell in cells.items()],
    }


def _scenario(bench: Bench, relation: Relation) -> dict[str, Any]:
    scenario = bench.scenario(relation)
    fine = scenario.hierarchy.fine
    split = scenario.split(bench.data.train.fine)
    return {
        "relation": relation,
        "model_labels": scenario.model_level,
        "given": [fine[i] for i in sorted(scenario.given)],
        "target": [fine[i] for i in scenario.target],
        "beyond": scenario.beyond,
        "images": {field: len(index) for field, index in vars(split).items()},
    }


def _rows(config: VisionConfig, cells: Mapping[Job, Content]) -> list[dict[str, Any]]:
    """One per relation, method and variant, in the table's order."""
    by_key: dict[tuple[str, str, str], dict[int, Content]] = {}
    for job, cell in cells.items():
        by_key.setdefault((job.relation, job.method, job.variant), {})[job.seed] = cell
    rows = []
    for (relation, method, variant), seeds in by_key.items():
        reference = by_key[relation, "reference", "given"]
        tarf = by_key.get((relation, "tarf", "given"))
        rows.append(
            {
                "relation": relation,
                "method": method,
                "variant": variant,
                **_row(config.seeds, seeds, reference, tarf),
            }
        )
    order = {name: i for i, name in enumerate(("original", "reference", *config.names))}
    place = {relation: i for i, relation in enumerate(config.relations)}
    rows.sort(key=lambda r: (place[r["relation"]], r["variant"] != "given", order[r["method"]]))
    return rows


def _row(
    seeds: Sequence[int],
    cells: Mapping[int, Content],
    reference: Mapping[int, Content],
    tarf: Mapping[int, Content] | None,
) -> dict[str, Any]:
    gaps = [_gap(cells[s], reference[s]) for s in seeds]
    first = cells[seeds[0]]["shares"]
    out: dict[str, Any] = {
        name: _estimate(
            [cells[s]["shares"][name]["percent"] for s in seeds], "percent",
            _why([cells[s]["shares"][name]["unscored"] for s in seeds]),
        )
        for name in first
    }  # fmt: skip
    out["gap"] = _estimate([g.value for g in gaps], "percentage points", _lost(gaps), (0.0, 100.0))
    out["deltas"] = {
        name: _estimate([g.deltas[name] for g in gaps], "percentage points", _lost(gaps))
        for name in GAP_PARTS
    }
    for name in ("seconds", "cpu_seconds"):
        out[name] = _estimate([cells[s][name] for s in seeds], "seconds")
    if tarf is not None:
        other = [_gap(tarf[s], reference[s]).value for s in seeds]
        pairs = [
            None if one.value is None or two is None else one.value - two
            for one, two in zip(gaps, other, strict=True)
        ]
        out["gap_minus_tarf"] = _estimate(pairs, "percentage points", "no Gap for one of the two")
    found = [cells[s]["identification"] for s in seeds]
    if all(found):
        each = [Identification(**one) for one in found]
        out["precision"] = _estimate([e.precision for e in each], "share", "nothing was named")
        out["recall"] = _estimate([e.recall for e in each], "share", "there is nothing to find")
    return out


def _gap(cell: Content, reference: Content) -> Any:
    return gap(
        *({k: c["shares"][k]["percent"] for k in GAP_PARTS} for c in (cell, reference)),
    )


def _lost(gaps: Sequence[Any]) -> str:
    return _why([g.unscored for g in gaps])


def _why(reasons: Sequence[str | None]) -> str:
    counted = Counter(r for r in reasons if r)
    return counted.most_common(1)[0][0] if counted else "unscored"


def _estimate(
    values: Sequence[float | None], unit: str, why: str = "unscored", limits: Limits | None = None
) -> dict[str, Any]:
    return asdict(over_seeds(values, unit, why, limits))
