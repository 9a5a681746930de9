"""Numbers, responses and words put together into the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from unbelief.audit.checklist import checklist
from unbelief.audit.gates import decide_all
from unbelief.audit.judging import Place, judge_rows
from unbelief.audit.lines import JUDGED, UNDER_ATTACK, Group, Measure
from unbelief.audit.numbers import ROLES, Found, Numbers, Tried
from unbelief.audit.origins import made_by
from unbelief.audit.prompts import prompt_rows
from unbelief.audit.refusals import OVER_REFUSAL, OVER_REFUSAL_TITLE
from unbelief.audit.relearning import relearning_note
from unbelief.audit.request import AuditRequest
from unbelief.audit.scope import scope_of
from unbelief.audit.uncertainty import uncertainty
from unbelief.audit.verdict import limits, verdict
from unbelief.provenance import utc_now
from unbelief.report.audit_document import (
    AttackRow,
    AuditDocument,
    Curve,
    CurvePoint,
    MeasureRow,
    Number,
)
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import difference
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
    rows = (
        *(_measure_row(m, numbers) for m in measures),
        *refusal_rows(found.refusals),
        *judge_rows(found.grades),
    )
    attacks = tuple(
        row for tried in found.attacks for row in _attack_rows(tried, numbers, found.grades)
    )
    gates = decide_all(request.gates, numbers.looks)
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
        made_by=made_by(request.model),
        scope=scope_of(request, found),
        verdict=verdict(request, found.models, flags, rows, attacks, gates),
        measures=rows,
        attacks=attacks,
        curves=_curves(found, numbers),
        flags=flags,
        prompts=prompts,
        checklist=checklist(beside),
        judge=found.judge,
        methods=_methods(measures, found),
        uncertainty=uncertainty(request, found),
        limits=limits(rows),
        reproduction=dict(reproduction),
        valid_for=(
            f"weights {own.weights_sha256} in {own.dtype}. Void after any fine-tuning, merging, "
            "quantisation or change of the prompt template."
        ),
        audit_again_by=request.audit_again_by,
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


def row_of(
    name: str, title: str, by_role: Mapping[str, Statistic], *, group: Group, better: str
) -> MeasureRow:
    """A row of statistics that are no line of the suite."""
    distance = None
    if "retrained" in by_role and "unlearned" in by_role:
        distance = number_of(difference(by_role["unlearned"], by_role["retrained"]))
    return MeasureRow(
        name=name,
        title=title,
        group=group,
        better=better,
        models={role: number_of(by_role[role]) for role in ROLES if role in by_role},
        distance=distance,
    )


def refusal_rows(by_role: Mapping[str, Statistic]) -> tuple[MeasureRow, ...]:
    """How often kept prompts are refused; nothing where no retain records were given."""
    if not by_role:
        return ()
    return (row_of(OVER_REFUSAL, OVER_REFUSAL_TITLE, by_role, group="fluency", better="lower"),)


def _attack_rows(tried: Tried, numbers: Numbers, grades: Container[Place]) -> list[AttackRow]:
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
    graded = JUDGED if (tried.name, "unlearned") in grades else ()
    return [_attack_row(tried, measure, numbers) for measure in (*UNDER_ATTACK, *graded)]


def _attack_row(tried: Tried, measure: str, numbers: Numbers) -> AttackRow:
    worst = numbers.worst_seed(measure, tried.name)
    before = numbers.look(measure, "", "unlearned")
    after = numbers.look(measure, tried.name, "unlearned", worst)
    yardstick = numbers.look(measure, tried.name, "retrained", worst)
    by_seed: dict[str, float | None] = {}
    if len(tried.seeds) > 1:
        for k, seed in enumerate(tried.seeds):
            one = numbers.look(measure, tried.name, "unlearned", k)
            by_seed[str(seed)] = None if one is None else one.value
    return AttackRow(
        name=tried.name,
        title=_title(tried.name),
        options=dict(tried.options),
        ran=True,
        measure=measure,
        before=None if before is None else number_of(before),
        after=None if after is None else number_of(after),
        retrained_after=None if yardstick is None else number_of(yardstick),
        seeds=by_seed,
        seconds=tried.seconds,
    )


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
        curves.append(
            Curve(
                name=f"relearning_{measure}",
                title=title,
                x_title="optimiser steps on the forget records",
                y_title=measure.replace("_", " "),
                points=points,
                note=relearning_note(measure, found, numbers),
            )
        )
    return tuple(curves)


def _methods(measures: Sequence[Measure], found: Found) -> tuple[str, ...]:
    lines = [
        f"{m.title} ({m.line.name}): {m.line.how.summary}; {m.line.how.source}; definition version "
        f"{m.line.how.version}"
        for m in measures
    ]
    if found.judge is not None:
        about = ", ".join(f"{k}={v}" for k, v in found.judge.who.items() if v is not None)
        lines.append(
            "judge of greedy answers, without attack and under each, blind to model and attack, "
            f"among control items: {about}"
        )
    for tried in found.attacks:
        if not tried.because:
            options = ", ".join(f"{k}={v}" for k, v in tried.options.items())
            lines.append(f"attack {tried.name}: {options}")
    return tuple(lines)
