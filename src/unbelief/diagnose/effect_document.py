"""What `g_effect.json` holds: effects with their sign, unit and number of rows. No text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from unbelief.diagnose.document import plain
from unbelief.diagnose.effect_meter import Estimator
from unbelief.diagnose.effect_rows import Sides
from unbelief.diagnose.effects import Effects, Reading
from unbelief.diagnose.index import Resampled
from unbelief.diagnose.parts import Part, by_stage
from unbelief.provenance import utc_now

SCHEMA = "unbelief.g-effect"
VERSION = 1
SIGN = (
    "positive: a gradient step on the term lowers that risk; forgetting wants on_forget_risk "
    "negative, keeping wants on_retain_risk not negative"
)
UNIT = "nats of the risk times nats of the loss per squared unit of the parameters"
MEANING = "one plain SGD step of rate η changes the risk by −η · effect nats, to first order"
_RISKS = ("on_forget_risk", "on_retain_risk")


@dataclass(frozen=True)
class EffectPoint:
    """A reading at one model, or at one moment of a run.

    Attributes:
        step: Place along the series.
        label: How it is called.
        reading: The effects.
        weights_sha256: Digest of the weights, where they were read from files.
    """

    step: int
    label: str
    reading: Reading
    weights_sha256: str | None = None


def effect_document(
    points: Sequence[Mapping[str, Any]],
    sides: Sides,
    *,
    kind: Literal["models", "run"],
    estimator: Estimator,
    settings: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Everything that is reported, as plain data.

    Args:
        points: From `plain_point`, in order.
        sides: What they were measured on.
        kind: Whether points are models that were named, or steps of a run.
        estimator: How the gradients were made.
        settings: How it was measured.
        seconds: Wall time.
    """
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "kind": kind,
        "created": utc_now(),
        "sign": SIGN,
        "unit": UNIT,
        "meaning": MEANING,
        "estimator": estimator,
        "objective": sides.objective.describe(),
        "risk": {"name": "nll", "reduction": sides.objective.reduction, "unit": "nats"},
        "n_forget": len(sides.records),
        "n_retain": len(sides.retain_rows),
        "interval": "none: sums over all rows named here, not estimates from a sample"
        if estimator == "exact"
        else "none: a moving average over batches, which depends on their order",
        "settings": dict(settings),
        "seconds": round(seconds, 2),
        "points": list(points),
    }
    rounded: dict[str, Any] = plain(document)
    return rounded


def plain_point(point: EffectPoint, sides: Sides) -> dict[str, Any]:
    """One point as plain data."""
    reading = point.reading
    return {
        "step": point.step,
        "label": point.label,
        "weights_sha256": point.weights_sha256,
        "forget_risk": reading.forget_risk,
        "retain_risk": reading.retain_risk,
        "gradient_norms": {
            "forget_risk": reading.risk_norms[0],
            "retain_risk": reading.risk_norms[1],
            **{name: e.norm for name, e in reading.effects.items()},
        },
        "effects": {name: _whole(e, reading.risk_norms) for name, e in reading.effects.items()},
        "parts": [_part(part, reading.effects) for part in reading.parts],
        "stages": _stages(reading),
        "pointwise": _pointwise(reading, sides),
        "course": [dict(zip(_RISKS, pair, strict=True)) for pair in reading.course],
    }


def _whole(effect: Effects, risk_norms: tuple[float, float]) -> dict[str, Any]:
    """Both effects, and the cosines of the same gradients."""
    products = [n * effect.norm for n in risk_norms]
    cosines = [e / p if p else None for e, p in zip(effect.totals, products, strict=True)]
    names = ("cosine_with_forget_risk", "cosine_with_retain_risk")
    return {
        **dict(zip(_RISKS, effect.totals, strict=True)),
        **dict(zip(names, cosines, strict=True)),
    }


def _part(part: Part, effects: Mapping[str, Effects]) -> dict[str, Any]:
    own = {
        name: dict(zip(_RISKS, (e.on_forget[part.name], e.on_retain[part.name]), strict=True))
        for name, e in effects.items()
    }
    return {"name": part.name, "stage": part.stage, "parameters": part.size, **own}


def _stages(reading: Reading) -> dict[str, Any]:
    sums = {
        name: [by_stage(reading.parts, values) for values in (e.on_forget, e.on_retain)]
        for name, e in reading.effects.items()
    }
    names = dict.fromkeys(part.stage for part in reading.parts)
    return {
        stage: {
            name: {risk: s[stage] for risk, s in zip(_RISKS, pair, strict=True)}
            for name, pair in sums.items()
        }
        for stage in names
    }


def _pointwise(reading: Reading, sides: Sides) -> dict[str, Any] | None:
    """Every record's own effects, and their means with intervals over clusters of records."""
    if not reading.records:
        return None
    groups = {r.id: r.group for r in sides.records}
    ids = [r.record_id for r in reading.records]
    resampled = Resampled.over(ids, [groups[i] for i in ids])
    drawn = resampled.means(np.array([r.pointwise for r in reading.records]))
    means = {
        risk: asdict(resampled.estimate(drawn[:, i], len(ids), 0, UNIT))
        for i, risk in enumerate(_RISKS)
    }
    return {
        "of": "log_prob of the record's answer, summed over its tokens",
        "means": means,
        "records": [
            {
                "id": r.record_id,
                "group": groups[r.record_id],
                "log_prob": r.log_prob,
                **dict(zip(_RISKS, r.pointwise, strict=True)),
                "share_of_forget_term": dict(zip(_RISKS, r.share, strict=True)),
            }
            for r in reading.records
        ],
    }
