"""What `squeeze.json` holds: the curves, the index, and how they were made. No text of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from unbelief.diagnose.bands import BANDS
from unbelief.diagnose.candidates import CandidateSet
from unbelief.diagnose.index import UNIT, Resampled, SqueezeIndex, index_of
from unbelief.diagnose.series import Form, Series
from unbelief.types import Estimate

SCHEMA = "unbelief.squeeze"
VERSION = 1
FORMS: dict[Form, str] = {
    "whole": "index",
    "own": "own_index",
    "probability": "probability_index",
}
Kind = Literal["run", "models"]
"""Whether the points are moments of one run, or models that were named."""


def squeeze_document(
    series: Series,
    candidates: CandidateSet,
    *,
    kind: Kind,
    settings: Mapping[str, Any],
    weights: Sequence[str | None] = (),
    seconds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Everything that is reported about a series, as plain data.

    Args:
        series: The curves.
        candidates: What the bands were cut from.
        kind: Whether points are steps or models.
        settings: How the series was measured.
        weights: Digest of each point's weights, where known.
        seconds: Wall time by kind of work.
    """
    found = {form: index_of(series, form) for form in FORMS}
    meta = candidates.meta
    per_prompt = [len(candidates.of(name)) for name in meta.record_ids]
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "kind": kind,
        "created": meta.created,
        "settings": dict(settings),
        "seconds": dict(seconds or {}),
        "candidates": {
            **asdict(meta.options),
            "model_sha256": meta.model_sha256,
            "prompts": len(meta.record_ids),
            "generated": meta.generated,
            "duplicates": meta.duplicates,
            "targets": meta.targets,
            "followed": len(candidates.candidates),
            "fewest": min(per_prompt),
            "most": max(per_prompt),
            "shared": dict(series.shared),
            "unfinished": sum(not c.finished for c in candidates.candidates),
        },
        "points": [
            {"step": step, "label": label, "weights_sha256": digest}
            for step, label, digest in zip(
                series.steps, series.labels, weights or [None] * len(series.steps), strict=True
            )
        ],
        "curves": _curves(series),
        **{name: _index(series, form, found[form]) for form, name in FORMS.items()},
        "prompts": _prompts(series, found),
    }
    rounded: dict[str, Any] = plain(document)
    return rounded


def _curves(series: Series) -> dict[str, list[dict[str, Any]]]:
    """Means over prompts with intervals, per point."""
    resampled = Resampled.over(series.record_ids, series.groups)
    wanted: dict[str, tuple[np.ndarray, str]] = {
        "target": (series.target, UNIT),
        **{band: (series.bands[band], UNIT) for band in BANDS},
        **{f"{band}_own": (series.own[band], UNIT) for band in BANDS},
        **{f"response:{name}": (values, UNIT) for name, values in series.responses.items()},
        "target_probability": (series.target_mass, "probability"),
        **{f"{band}_probability": (series.band_masses[band], "probability") for band in BANDS},
        "belief_mass": (series.belief_mass, "probability"),
        "entropy": (series.entropy, "nats"),
    }
    out = {}
    for name, (values, unit) in wanted.items():
        n = int(np.isfinite(values).all(axis=1).sum())
        drawn = resampled.means(values)
        out[name] = [
            _number(resampled.estimate(drawn[:, t], n, len(values) - n, unit))
            for t in range(values.shape[1])
        ]
    return out


def _index(series: Series, form: Form, found: SqueezeIndex) -> dict[str, Any]:
    return {
        "unscored": series.unscored(form),
        "index": _number(found.index),
        "at": {"step": series.steps[found.at], "label": series.labels[found.at]},
        "mean_of_prompts": _number(found.mean_of_prompts),
        "share_of_prompts": _number(found.share),
        "points": [
            {
                "rise": _number(found.rise[t]),
                "fall": _number(found.fall[t]),
                "squeeze": _number(found.squeeze[t]),
                "gap": _number(found.gap[t]),
            }
            for t in range(len(series.steps))
        ],
    }


def _prompts(series: Series, found: Mapping[Form, SqueezeIndex]) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "group": series.groups[i],
            **{name: found[form].prompts[i] for form, name in FORMS.items()},
            "target": series.target[i].tolist(),
            "high": series.bands["high"][i].tolist(),
            "high_own": series.own["high"][i].tolist(),
        }
        for i, name in enumerate(series.record_ids)
    ]


def _number(estimate: Estimate) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(estimate).items()
        if name in ("value", "low", "high", "n", "n_unscored", "unit", "interval")
    }


def plain(value: Any) -> Any:
    """Plain data without NaN (JSON has none), numbers with six significant digits."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
