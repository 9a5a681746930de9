"""An audit as Markdown, LaTeX and CSV.

Markdown and LaTeX hold no prompt, response or record, so they may travel further than the page.
"""

from __future__ import annotations

from unbelief.report import latex, markdown
from unbelief.report.audit_document import AuditDocument, Number
from unbelief.report.audit_items import spread, worst_items
from unbelief.report.audit_tables import (
    attacks_table,
    checklist_table,
    curve_table,
    flags_table,
    gates_table,
    measures_table,
    models_table,
    not_run_table,
)
from unbelief.report.audit_views import (
    flattened,
    gate_outcome,
    options_text,
    score_names,
    shown_verdict,
    unscored_notes,
    worst_first,
)
from unbelief.report.cells import write_csv
from unbelief.report.numbers import when
from unbelief.report.tables import Table

NUMBERS_HEAD = (
    "section", "name", "title", "unit", "quantity", "value", "low", "high", "n", "n_unscored",
    "interval", "reasons", "outcome", "options",
)  # fmt: skip


def audit_markdown(document: AuditDocument) -> str:
    """The audit for a repository or a wiki: everything but prompts and responses."""
    verdict, shown = document.verdict, shown_verdict(document)
    about = f"Request {markdown.escape(document.request_id)}. " if document.request_id else ""
    parts = [
        f"# {markdown.escape(document.title)}\n",
        f"{about}Audited {markdown.escape(when(document.created))}.\n",
        f"## Verdict: {shown.outcome}\n",
        markdown.paragraph(verdict.sentence) + "\n",
    ]
    if shown.note:
        parts.append(markdown.paragraph(shown.note) + "\n")
    parts.append(
        markdown.bullets(
            (
                f"Claim: {verdict.claim_class}. {verdict.claim_reason}",
                f"Worst single result: {verdict.worst}",
                f"How it was made: {document.made_by}",
                *(f"Not covered: {one}" for one in verdict.not_covered),
            )
        )
    )
    parts.append(_gates(document))
    scope = Table(title="Scope", head=("What", "Of this audit"), rows=tuple(document.scope.items()))
    parts += [markdown.table(t, level=2) for t in (models_table(document), scope) if t.rows]
    parts.append(markdown.table(flags_table(document), level=2))
    parts.append(markdown.table(measures_table(document), level=2))
    parts += [
        markdown.table(t, level=2)
        for t in (attacks_table(document), not_run_table(document))
        if t.rows
    ]
    if notes := unscored_notes(document):
        parts.append("## Scored in part\n\n" + markdown.bullets(notes))
    for curve in document.curves:
        parts.append(markdown.table(curve_table(curve), level=2))
        if curve.note:
            parts.append(markdown.paragraph(curve.note) + "\n")
    if document.prompts:
        parts += [markdown.table(t(document), level=2) for t in (worst_items, spread)]
    parts.append(markdown.table(checklist_table(document), level=2))
    parts.append("## Methods\n\n" + markdown.bullets(document.methods))
    parts.append("## Uncertainty\n\n" + markdown.bullets(document.uncertainty))
    parts.append("## Limits\n\n" + markdown.bullets(document.limits))
    settings = Table(
        title="Reproduction", head=("Setting", "Value"), rows=flattened(document.reproduction)
    )
    parts.append(markdown.table(settings, level=2))
    parts.append("## Validity\n\n" + markdown.paragraph(f"Valid for {document.valid_for}") + "\n")
    if document.audit_again_by:
        parts.append(markdown.paragraph(f"Audit again by {document.audit_again_by}.") + "\n")
    return "\n".join(parts)


def _gates(document: AuditDocument) -> str:
    if not document.verdict.gates:
        return "No gate was set before this audit, so nothing was passed.\n"
    return markdown.table(gates_table(document))


def audit_latex(document: AuditDocument) -> str:
    """Tables for a paper: gates, measures, attacks and flags."""
    tables = (
        (gates_table(document), "gates", (0.17, 0.24, 0.19, 0.13, 0.27)),
        (measures_table(document), "measures", (0.19, 0.11, 0.12, 0.15, 0.15, 0.14, 0.14)),
        (attacks_table(document), "attacks", (0.15, 0.13, 0.19, 0.15, 0.15, 0.15, 0.08)),
        (not_run_table(document), "not-run", (0.3, 0.7)),
        (flags_table(document), "flags", (0.15, 0.12, 0.12, 0.61)),
    )
    title = f"% {latex.escape(document.title)}: {shown_verdict(document).outcome}\n"
    lines = [title, latex.PREAMBLE]
    lines += [latex.table(t, f"audit-{label}", widths) for t, label, widths in tables if t.rows]
    return "\n".join(lines)


def audit_csv(document: AuditDocument) -> str:
    """Measures, attacks, gates and curves in long form, one number a line, with all digits."""
    rows: list[tuple[object, ...]] = []
    for m in document.measures:
        about = (f"measure: {m.group}", m.name, m.title)
        rows += [_number(about, role, number) for role, number in m.models.items()]
        if m.distance is not None:
            rows.append(_number(about, "distance", m.distance))
    for a in document.attacks:
        budget = options_text(a.options)
        if not a.ran:
            about = ("attack not run", a.name, a.title)
            rows.append((*about, *[""] * 8, a.because, "", budget))
            continue
        about = ("attack", a.name, f"{a.title}: {a.measure}")
        named = {"before": a.before, "after": a.after, "retrained after": a.retrained_after}
        rows += [
            _number(about, quantity, number, budget)
            for quantity, number in named.items()
            if number is not None
        ]
    for g in document.verdict.gates:
        rows.append(("gate", g.name, g.rule, "", "unlearned", g.value, g.low, g.high, "", "", "",
                     g.because, gate_outcome(g), ""))  # fmt: skip
    for flag, count in document.flags.items():
        rows.append(("flag", flag, flag, "count", "unlearned", count, *[""] * 8))
    for c in document.curves:
        for point in c.points:
            about = ("curve", c.name, f"{c.x_title} = {point.label or format(point.x, '.12g')}")
            rows += [_number(about, name, number) for name, number in point.series.items()]
    return write_csv(NUMBERS_HEAD, rows)


def _number(
    about: tuple[str, str, str], quantity: str, number: Number, budget: str = ""
) -> tuple[object, ...]:
    reasons = "; ".join(f"{why}: {count}" for why, count in number.reasons.items())
    return (*about, number.unit, quantity, number.value, number.low, number.high, number.n,
            number.n_unscored, number.interval, reasons, "", budget)  # fmt: skip


def prompts_csv(document: AuditDocument) -> str:
    """Every response to every prompt, worst first, one a line. Holds what was to be forgotten."""
    names = score_names(document)
    head = ("id", "group", "flag", "why", "prompt", "truth", "facts", "by", "response",
            "leaking_words", *names)  # fmt: skip
    rows = []
    for p in worst_first(document.prompts):
        about = (p.id, p.group, p.flag, p.why, p.prompt, p.truth, "; ".join(p.facts))
        scores = [p.scores.get(name) for name in names]
        said = [(r.by, r.text, "; ".join(r.words)) for r in p.responses] or [("", "", "")]
        rows += [(*about, *one, *scores) for one in said]
    return write_csv(head, rows)
