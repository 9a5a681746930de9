"""Results of `unbelief evaluate`, side by side or beside the retrained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unbelief.report.audit_document import Number
from unbelief.report.comparison import Comparison, Line, Part
from unbelief.report.reading import Run

_SAME = ("suite", "described", "convention", "choices", "encoding")
"""What has to agree for numbers of two evaluations to be compared line by line."""
_CARE = "their numbers are not comparable line by line"


def compare_evaluations(runs: Sequence[Run]) -> Comparison:
    """Put results files side by side; one alone stands beside its retrained model.

    Raises:
        KeyError, TypeError, ValueError: A file is incomplete.
    """
    contents = [run.content for run in runs]
    labels = tuple(run.label for run in runs)
    names = list(dict.fromkeys(name for c in contents for name in c["lines"]))
    alone = len(runs) == 1
    if alone:
        own = _own_columns(contents[0])
        lines = tuple(_own_line(name, contents[0]["lines"][name], own) for name in names)
        parts = [Part(title="Results", columns=tuple(own.values()), lines=lines)]
    else:
        parts = [Part(title="Results", columns=labels, lines=_across(names, contents, "estimate"))]
        distances = _across(names, contents, "distance")
        known = tuple(ln for ln in distances if any(n is not None for n in ln.numbers))
        if known:
            title = "Distance to the retrained model"
            parts.append(Part(title=title, columns=labels, lines=known))
    notes = [
        note if alone else f"{label}: {note}"
        for label, content in zip(labels, contents, strict=True)
        for note in content.get("notes", ())
    ]
    suites = " and ".join(dict.fromkeys(str(c["suite"]) for c in contents))
    return Comparison(
        title=f"Evaluation: {suites}" if alone else f"{len(runs)} evaluations: {suites}",
        runs=tuple((run.label, _about(run.content)) for run in runs),
        warnings=_warnings(contents),
        parts=tuple(parts),
        notes=tuple(notes),
    )


def _own_columns(content: Mapping[str, Any]) -> dict[str, str]:
    """Columns of one evaluation: the retrained model's only where there is one."""
    columns = {"estimate": "This model"}
    if content.get("retrained") is not None:
        columns |= {"retrained": "Retrained", "distance": "Distance to retrained"}
    return columns


def _own_line(name: str, line: Mapping[str, Any], columns: Mapping[str, str]) -> Line:
    numbers = tuple(_number(line.get(key)) for key in columns)
    return Line(
        name=name,
        title=name,
        about=_unit([line]),
        numbers=numbers,
        why_missing=("not computed",) * len(columns),
    )


def _across(
    names: Sequence[str], contents: Sequence[Mapping[str, Any]], key: str
) -> tuple[Line, ...]:
    lines = []
    for name in names:
        found = [content["lines"].get(name) for content in contents]
        lines.append(
            Line(
                name=name,
                title=name,
                about=_unit([f for f in found if f is not None]),
                numbers=tuple(None if f is None else _number(f.get(key)) for f in found),
                why_missing=tuple(
                    "not in this run" if f is None else _why_missing(content)
                    for f, content in zip(found, contents, strict=True)
                ),
            )
        )
    return tuple(lines)


def _why_missing(content: Mapping[str, Any]) -> str:
    has = content.get("retrained") is not None
    return "not computed" if has else "no retrained model was given"


def _number(estimate: Mapping[str, Any] | None) -> Number | None:
    if estimate is None:
        return None
    known = {name: estimate[name] for name in Number.model_fields if name in estimate}
    return Number.model_validate(known)


def _unit(lines: Sequence[Mapping[str, Any]]) -> str:
    units = dict.fromkeys(str(line["estimate"]["unit"]) for line in lines)
    shows = dict.fromkeys(str(line["better"]) for line in lines if line.get("better"))
    about = ", ".join(units)
    return f"{about} · wanted: {', '.join(shows)}" if shows else about


def _about(content: Mapping[str, Any]) -> dict[str, str]:
    made = content.get("provenance", {})
    weights = made.get("input_weights_sha256") or made.get("weights_sha256") or ""
    return {
        "Model": str(made.get("source") or "not recorded"),
        "Weights (SHA-256)": str(weights or "not recorded"),
        "Suite": str(content["suite"]),
        "Convention": str(content["convention"]),
    }


def _warnings(contents: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """No yardstick, and what differs between runs that has to agree."""
    found = []
    if all(content.get("retrained") is None for content in contents):
        found.append("No retrained model was given, so no number here says how near to it one is.")
    for field in _SAME:
        values = {json.dumps(c.get(field), sort_keys=True, default=str) for c in contents}
        if len(values) > 1:
            found.append(f"The runs differ in {field}: {_CARE}.")
    changed = []
    for name in dict.fromkeys(n for c in contents for n in c["lines"]):
        lines = [c["lines"][name] for c in contents if name in c["lines"]]
        made = {(ln["estimate"].get("version"), ln["estimate"].get("unit")) for ln in lines}
        if len(made) > 1:
            changed.append(name)
    if changed:
        found.append(f"Definitions differ in {', '.join(changed)}: {_CARE}.")
    return tuple(found)
