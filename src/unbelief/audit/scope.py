"""Whose data an audit asked about, and what it left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unbelief.audit.numbers import Found
from unbelief.audit.request import AuditRequest
from unbelief.data.overlap import nearest, normalise
from unbelief.data.validate import NEAR
from unbelief.types import Record


def scope_of(request: AuditRequest, found: Found) -> dict[str, str]:
    """What was asked about, in rows of a name and a value."""
    scope = {}
    for name, records in found.sets.items():
        groups = {record.group for record in records} - {None}
        clusters = f" of {len(groups)} groups" if groups else ""
        scope[f"{name} records"] = (
            f"{len(records)}{clusters}" if records else found.absent.get(name, "none")
        )
    forget = found.sets["forget"]
    counts = {
        "with a rephrased question": sum(r.paraphrased_prompt is not None for r in forget),
        "with true paraphrases": sum(bool(r.paraphrases) for r in forget),
        "with facts named": sum(bool(r.facts) for r in forget),
        "with false answers to tell the fact by": sum(bool(r.perturbed) for r in forget),
    }
    scope |= {name: f"{n} of {len(forget)}" for name, n in counts.items()}
    seeds = f", with each of {request.seeds} seeds" if request.seeds > 1 else ""
    return scope | {
        "answers sampled per prompt": (
            f"{request.samples} at temperature {request.temperature:g}{seeds}"
        ),
        "origin of the forget records": Path(request.forget).name or request.forget,
        "near-duplicates in the retain data": _near_duplicates(forget, found.sets["retain"]),
        "translations and aliases": "none were asked for",
        "out of scope": (
            "people and topics that the records do not name, other languages, and models derived "
            "from these"
        ),
    }


def _near_duplicates(forget: Sequence[Record], retain: Sequence[Record]) -> str:
    """Forget records that stand in the retain data almost letter for letter: they cannot go."""
    if not retain or not forget:
        return "not looked for: there are no retain records"
    left, right = ([normalise(f"{_asked(r)} {r.answer}") for r in its] for its in (forget, retain))
    close = int((nearest(left, right)[1] >= NEAR).sum())
    return (
        f"{close} of {len(forget)} forget records have one (similarity {NEAR:g} or more of their "
        "letters; free rephrasings are not seen)"
    )


def _asked(record: Record) -> str:
    """The question, or the turns of the user."""
    if record.prompt is None or isinstance(record.prompt, str):
        return record.prompt or ""
    return " ".join(turn.content for turn in record.prompt if turn.role == "user")
