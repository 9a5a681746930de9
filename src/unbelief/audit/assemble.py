"""Numbers, responses and words put together into the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unbelief.audit.checklist import checklist
from unbelief.audit.gates import decide
from unbelief.audit.judging import judge_rows
from unbelief.audit.lines import UNDER_ATTACK, Measure
from unbelief.audit.numbers import ROLES, Found, Numbers, Tried
from unbelief.audit.prompts import prompt_rows
from unbelief.audit.request import AuditRequest
from unbelief.audit.verdict import LIMITS, verdict
from unbelief.provenance import environment, utc_now
from unbelief.report.audit_document import (
    AttackRow,
    AuditDocument,
    Curve,
    CurvePoint,
    MeasureRow,
    Number,
)
from unbelief.scores.base import Statistic
from unbelief.suites.base import KEPT


def assemble(
    request: AuditRequest,
    found: Found,
    measures: Sequence[Measure],
    beside: tuple[Path, ...],
    reproduction: Mapping[str, Any],
) -> AuditDocument:
    """The document of an audit.

    Args:
        request: What was asked.
        found: What was measured.
        measures: What the audit reads.
        beside: Folders of the models, for the checklist.
        reproduction: Command, configuration and times.
    """
    numbers = Numbers(found, measures, request.seed)
    rows = (*(_measure_row(m, numbers) for m in measures), *judge_rows(found.grades))
    attacks = tuple(row for tried in found.attacks for row in _attack_rows(tried, numbers))
    gates = [decide(rule, numbers.look) for rule in request.gates]
    prompts = prompt_rows(
        found.sets["forget"],
        {role: its["forget"] for role, its in found.examples.items()},
        {
            m.line.name: found.scores["unlearned"].get(m.line.name, ())
            for m in measures
            if m.line.on == "forget"
        },
        {tried.name: tried.examples for tried in found.attacks if tried.examples},
    )
    flags = dict(Counter(row.flag for row in prompts))
    own = next(m for m in found.models if m.role == "unlearned")
    return AuditDocument(
        title="Unlearning audit",
        created=utc_now(),
        request_id=request.request_id,
        models=found.models,
        scope=_scope(request, found),
        verdict=verdict(request, found.models, flags, rows, attacks, gates),
        measures=rows,
        attacks=attacks,
        curves=_curves(found, numbers),
        flags=flags,
        prompts=prompts,
        checklist=checklist(beside),
        methods=_methods(measures, found),
        limits=LIMITS,
        reproduction={**reproduction, "environment": _environment()},
        valid_for=(
            f"weights {own.weights_sha256} in {own.dtype}. Void after any fine-tuning, merging, "
            "quantisation or change of the prompt template."
        ),
    )


def number_of(statistic: Statistic) -> Number:
    """A statistic as the document has it."""
    e = statistic.estimate("unbelief")
    return Number(
        value=e.value,
        low=e.low,
        high=e.high,
        n=e.n,
        n_unscored=e.n_unscored,
        unit=e.unit,
        interval=e.interval,
        reasons=e.reasons,
    )


def _measure_row(measure: Measure, numbers: Numbers) -> MeasureRow:
    line = measure.line
    distance = numbers.distances.get(line.name)
    return MeasureRow(
        name=line.name,
        title=measure.title,
        group=measure.group,
        better="higher" if line.on in KEPT and measure.group == "utility" else line.how.better,
        models={
            role: number_of(numbers.plain[role].statistics[line.name])
            for role in ROLES
            if role in numbers.plain
        },
        distance=None if distance is None else number_of(distance),
    )


def _attack_rows(tried: Tried, numbers: Numbers) -> list[AttackRow]:
    if tried.because:
        return [
            AttackRow(
                name=tried.name,
                title=_title(tried.name),
                options=dict(tried.options),
                ran=False,
                because=tried.because,
            )
        ]
    rows = []
    for measure in UNDER_ATTACK:
        before = numbers.look(measure, "", "unlearned")
        after = numbers.look(measure, tried.name, "unlearned")
        yardstick = numbers.look(measure, tried.name, "retrained")
        rows.append(
            AttackRow(
                name=tried.name,
                title=_title(tried.name),
                options=dict(tried.options),
                ran=True,
                measure=measure,
                before=None if before is None else number_of(before),
                after=None if after is None else number_of(after),
                retrained_after=None if yardstick is None else number_of(yardstick),
                seconds=tried.seconds,
            )
        )
    return rows


def _title(label: str) -> str:
    """`quantize:bits=4` in words."""
    name, *options = label.split(":")
    return ", ".join([name.replace("-", " ").capitalize(), *options])


def _curves(found: Found, numbers: Numbers) -> tuple[Curve, ...]:
    if not found.curve:
        return ()
    steps = sorted({step for points in numbers.curve.values() for step in points})
    curves = []
    for measure, title in (
        ("key_fact_recall", "Facts in the greedy answer while relearning"),
        ("probability", "Probability of the true answer while relearning"),
    ):
        points = tuple(
            CurvePoint(
                x=step,
                series={
                    role: number_of(its[step][measure])
                    for role, its in numbers.curve.items()
                    if step in its
                },
            )
            for step in steps
        )
        note = "The yardstick is how fast a model that never saw the records learns them."
        curves.append(
            Curve(
                name=f"relearning_{measure}",
                title=title,
                x_title="optimiser steps on the forget records",
                y_title=measure.replace("_", " "),
                points=points,
                note=note if "retrained" in numbers.curve else f"{note} There is none here.",
            )
        )
    return tuple(curves)


def _scope(request: AuditRequest, found: Found) -> dict[str, str]:
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
    scope["answers sampled per prompt"] = (
        f"{request.samples} at temperature {request.temperature:g}"
    )
    return scope


def _methods(measures: Sequence[Measure], found: Found) -> tuple[str, ...]:
    lines = [
        f"{m.title} ({m.line.name}): {m.line.how.summary}; {m.line.how.source}; definition version "
        f"{m.line.how.version}"
        for m in measures
    ]
    if found.judge is not None:
        about = ", ".join(f"{k}={v}" for k, v in found.judge.items() if v is not None)
        lines.append(f"judge, blind to which model answered, among control items: {about}")
    for tried in found.attacks:
        if not tried.because:
            options = ", ".join(f"{k}={v}" for k, v in tried.options.items())
            lines.append(f"attack {tried.name}: {options}")
    return tuple(lines)


def _environment() -> dict[str, Any]:
    versions = environment()
    return {"unbelief": versions.unbelief, **versions.packages}
