"""A squeeze diagnosis as curves of an audit: where the probability of the answers went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unbelief.report.audit_document import AuditDocument, Curve, CurvePoint, Number
from unbelief.report.squeeze import check_squeeze, headline, own_line
from unbelief.report.tables import with_interval

Plain = Mapping[str, Any]
PREFIX = "squeeze_"
_BANDS = (
    ("target", "target"),
    ("high", "high band, likeliest 20 %"),
    ("mid", "mid band, next 40 %"),
    ("low", "low band, last 40 %"),
)
_MASSES = (
    ("target_probability", "target"),
    ("high_probability", "high band"),
    ("belief_mass", "top k tokens"),
)


def squeeze_curves(document: Plain, *, original_sha256: str | None = None) -> tuple[Curve, ...]:
    """Log-probabilities of target and bands, and their probabilities, as curves.

    Args:
        document: The content of a `squeeze.json`.
        original_sha256: Digest of the audit's original model, to say so when it is another one.

    Raises:
        RequestError: It is not such a document, or one of another version.
    """
    check_squeeze(document)
    run = document["kind"] == "run"
    x_title = "optimiser steps of the run" if run else "models, in the order given"
    note = _note(document, original_sha256)
    return (
        Curve(
            name=f"{PREFIX}log_probability",
            title="Squeeze: the target and the original model\u2019s other answers",
            x_title=x_title,
            y_title="mean log-probability, nats per token",
            points=_points(document, _named(document)),
            note=note,
        ),
        Curve(
            name=f"{PREFIX}probability",
            title="Squeeze: probability of the target and of the high band",
            x_title=x_title,
            y_title="probability",
            points=_points(document, _MASSES),
            note="Whole answers; long ones are improbable however well they are known. Top k: the "
            "share of probability on the likeliest tokens, along the target.",
        ),
    )


def with_squeezes(document: AuditDocument, squeezes: Sequence[Plain]) -> AuditDocument:
    """An audit with the curves of squeeze diagnoses after its own.

    Raises:
        RequestError: One is no squeeze diagnosis, or of another version.
    """
    original = next((m.weights_sha256 for m in document.models if m.role == "original"), None)
    found = [c for one in squeezes for c in squeeze_curves(one, original_sha256=original)]
    return document.model_copy(update={"curves": (*document.curves, *found)})


def _named(document: Plain) -> tuple[tuple[str, str], ...]:
    said = (name for name in document["curves"] if name.startswith("response:"))
    return (*_BANDS, *((name, name.partition(":")[2]) for name in said))


def _points(document: Plain, wanted: Sequence[tuple[str, str]]) -> tuple[CurvePoint, ...]:
    curves, run = document["curves"], document["kind"] == "run"
    return tuple(
        CurvePoint(
            x=point["step"] if run else t,
            label="" if run else point["label"],
            series={title: _number(curves[name][t]) for name, title in wanted},
        )
        for t, point in enumerate(document["points"])
    )


def _number(estimate: Plain) -> Number:
    reasons = {} if estimate["value"] is not None else {"no prompt could be scored": 1}
    return Number(**{k: v for k, v in estimate.items() if v is not None or k == "value"},
                  reasons=reasons)  # fmt: skip


def _note(document: Plain, original_sha256: str | None) -> str:
    index, own = document["index"]["index"], document["own_index"]["index"]
    made, prompts = document["candidates"], document["candidates"]["prompts"]
    parts = [
        f"{headline(document)}. {own_line(document)}.",
        f"Squeeze index {with_interval(index)}, of own parts {with_interval(own)} nats per token; "
        f"{prompts} prompts, {made['candidates']} candidates each from the original model.",
        "A band holds likely answers, not true ones: a rise is a leak only where somebody has read "
        "what rose.",
    ]
    if original_sha256 is not None and made["model_sha256"] != original_sha256:
        other = f"{made['model_sha256'][:12]}\u2026"
        parts.append(f"Measured against another original model ({other}) than this audit\u2019s.")
    return " ".join(parts)
