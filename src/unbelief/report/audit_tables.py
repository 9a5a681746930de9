"""Tables of an audit as texts, for Markdown and LaTeX; they hold no text of any record."""

from __future__ import annotations

from unbelief.report.audit_document import AuditDocument, Curve, Number
from unbelief.report.audit_views import (
    FLAGS,
    GROUPS,
    ROLES,
    attack_cells,
    attack_title,
    gate_because,
    gate_cell,
    gate_outcome,
    measure_cells,
    measure_title,
    options_text,
)
from unbelief.report.numbers import Cell, cell, parameters, seconds, whole
from unbelief.report.tables import Table


def models_table(document: AuditDocument) -> Table:
    """Which weights were audited."""
    titles = dict(ROLES)
    return Table(
        title="Models",
        head=("Model", "Source", "Weights (SHA-256)", "Precision", "Parameters", "Adapter"),
        rows=tuple(
            (
                titles[m.role],
                m.source,
                m.weights_sha256,
                m.dtype,
                parameters(m.parameters),
                "yes" if m.adapter else "no",
            )
            for m in document.models
        ),
    )


def gates_table(document: AuditDocument) -> Table:
    """Bounds fixed beforehand, and what became of them."""
    return Table(
        title="Gates, fixed before the audit",
        head=("Gate", "Rule", "Found", "Outcome", "Because"),
        rows=tuple(
            (gate.name, gate.rule, gate_cell(gate), gate_outcome(gate), gate_because(gate))
            for gate in document.verdict.gates
        ),
    )


def measures_table(document: AuditDocument) -> Table:
    """Every measure of every model, by group."""
    rows = []
    for group, _ in GROUPS:
        for row in document.measures:
            if row.group == group:
                cells = measure_cells(document, row)
                rows.append((row.title, unit_of(row.models), row.better, *(_of(c) for c in cells)))
    return Table(
        title="Before, after, and the reference, with 95 % intervals",
        head=(
            "Measure",
            "Unit",
            "Wanted",
            *(title for _, title in ROLES),
            "Distance to retrained",
        ),
        rows=tuple(rows),
    )


def attacks_table(document: AuditDocument) -> Table:
    """Attacks that were run."""
    rows = []
    for attack in document.attacks:
        if attack.ran:
            cells = attack_cells(document, attack)
            took = "" if attack.seconds is None else seconds(attack.seconds)
            budget = options_text(attack.options) or "–"
            if len(attack.seeds) > 1:
                budget += f"; worst of {len(attack.seeds)} seeds"
            about = (attack_title(attack), measure_title(attack), budget)
            rows.append((*about, *(_of(c) for c in cells), took))
    return Table(
        title="Attacks",
        head=("Attack", "Measure", "Budget", "Before", "After", "Retrained, attacked", "Time"),
        rows=tuple(rows),
    )


def not_run_table(document: AuditDocument) -> Table:
    """Attacks that were not run, and why."""
    return Table(
        title="Attacks that were not run",
        head=("Attack", "Why not"),
        rows=tuple(
            (attack_title(attack), attack.because or "no reason was recorded")
            for attack in document.attacks
            if not attack.ran
        ),
    )


def flags_table(document: AuditDocument) -> Table:
    """How many prompts got which flag."""
    total = sum(document.flags.values())
    rows = []
    for flag, meaning in FLAGS:
        if flag in document.flags:
            count = document.flags[flag]
            share = Number(value=count / total, n=total, unit="share") if total else None
            rows.append((flag, whole(count), cell(share).value, meaning))
    return Table(
        title=f"Responses of the unlearned model to {whole(total)} prompts",
        head=("Flag", "Prompts", "Share", "Meaning"),
        rows=tuple(rows),
    )


def curve_table(curve: Curve) -> Table:
    """The points of a curve."""
    names = series_of(curve)
    rows = []
    for point in curve.points:
        rows.append(
            (
                point.label or f"{point.x:g}",
                *(_short(cell(point.series.get(name))) for name in names),
            )
        )
    return Table(title=curve.title, head=(curve.x_title, *names), rows=tuple(rows))


def checklist_table(document: AuditDocument) -> Table:
    """Where copies of the data may be left."""
    return Table(
        title="Places where copies may be left",
        head=("Place", "What to do", "Found"),
        rows=tuple((item.place, item.what_to_do, item.found) for item in document.checklist),
    )


def series_of(curve: Curve) -> tuple[str, ...]:
    """Names of a curve's series, in the order of their first appearance."""
    return tuple(dict.fromkeys(name for point in curve.points for name in point.series))


def unit_of(numbers: object) -> str:
    """The unit of a row's numbers, or of all of them where they differ."""
    values = numbers.values() if isinstance(numbers, dict) else ()
    return ", ".join(dict.fromkeys(n.unit for n in values))


def _of(one: Cell) -> str:
    return one.text()


def _short(one: Cell) -> str:
    return f"{one.value} ({one.interval})" if one.interval else one.value
