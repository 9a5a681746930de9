"""Which runs can be put side by side, and audits that are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unbelief.errors import RequestError
from unbelief.report.audit_document import AttackRow, AuditDocument, Number
from unbelief.report.audit_views import attack_title, measure_title, shown_verdict
from unbelief.report.comparison import Comparison, Line, Part
from unbelief.report.evaluations import compare_evaluations
from unbelief.report.reading import Run


def compare(runs: Sequence[Run]) -> Comparison:
    """Put evaluations, or audits, side by side.

    Raises:
        RequestError: A results file is incomplete, or they are of another kind.
    """
    if all(run.audit is not None for run in runs):
        return compare_audits([(run.label, run.audit) for run in runs if run.audit is not None])
    if runs[0].kind != "evaluation":
        raise RequestError(
            "only audits and evaluations can be put side by side", remedy="name one run"
        )
    try:
        return compare_evaluations(runs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        names = ", ".join(str(run.file) for run in runs)
        raise RequestError(
            f"the results are incomplete ({type(error).__name__}: {error})",
            where=names,
            remedy="evaluate again",
        ) from None


def compare_audits(documents: Sequence[tuple[str, AuditDocument]]) -> Comparison:
    """Put the unlearned models of several audits side by side.

    Args:
        documents: With their labels.
    """
    labels = tuple(label for label, _ in documents)
    under = [{(a.name, a.measure): a for a in d.attacks} for _, d in documents]
    measures = dict.fromkeys(m.name for _, d in documents for m in d.measures)
    attacks = dict.fromkeys(key for table in under for key in table)
    parts = [
        Part(
            title="The unlearned model",
            columns=labels,
            lines=tuple(_measure(name, documents, "unlearned") for name in measures),
        ),
        Part(
            title="Distance to the retrained model",
            columns=labels,
            lines=tuple(_measure(name, documents, "distance") for name in measures),
        ),
        Part(
            title="Under attack",
            columns=labels,
            lines=tuple(_attack(key, under) for key in attacks),
        ),
    ]
    return Comparison(
        title=f"{len(documents)} audits",
        runs=tuple((label, _audit_facts(d)) for label, d in documents),
        warnings=_audit_differences([d for _, d in documents]),
        parts=tuple(part for part in parts if part.lines),
    )


def _measure(name: str, documents: Sequence[tuple[str, AuditDocument]], what: str) -> Line:
    rows = [next((m for m in d.measures if m.name == name), None) for _, d in documents]
    first = next(row for row in rows if row is not None)
    numbers = [
        None if row is None else row.distance if what == "distance" else row.models.get("unlearned")
        for row in rows
    ]
    missing = [
        "not in this audit" if row is None else _why_missing(d, what)
        for row, (_, d) in zip(rows, documents, strict=True)
    ]
    return Line(
        name=name,
        title=first.title,
        about=f"{_units(numbers)} · wanted: {first.better}".removeprefix(" · "),
        numbers=tuple(numbers),
        why_missing=tuple(missing),
    )


def _why_missing(document: AuditDocument, what: str) -> str:
    if what != "distance":
        return "not measured"
    has = any(m.role == "retrained" for m in document.models)
    return "not computed" if has else "no retrained model was given"


def _attack(key: tuple[str, str], tables: Sequence[Mapping[tuple[str, str], AttackRow]]) -> Line:
    rows = [table.get(key) for table in tables]
    first = next(row for row in rows if row is not None)
    return Line(
        name="@".join(reversed(key)),
        title=f"{attack_title(first)}, {measure_title(first)}"
        if first.measure
        else attack_title(first),
        about=_units([row.after for row in rows if row is not None]),
        numbers=tuple(None if row is None else row.after for row in rows),
        why_missing=tuple(
            "not in this audit" if row is None else row.because or "not measured" for row in rows
        ),
    )


def _units(numbers: Sequence[Number | None]) -> str:
    return ", ".join(dict.fromkeys(n.unit for n in numbers if n is not None))


def _audit_facts(document: AuditDocument) -> dict[str, str]:
    own = next((m for m in document.models if m.role == "unlearned"), None)
    return {
        "Verdict": shown_verdict(document).outcome,
        "Claim": document.verdict.claim_class,
        "Model": "not recorded" if own is None else own.source,
        "Weights (SHA-256)": "not recorded" if own is None else own.weights_sha256,
        "Prompts": str(sum(document.flags.values())),
    }


def _audit_differences(documents: Sequence[AuditDocument]) -> tuple[str, ...]:
    found = []
    if len({tuple(sorted(p.id for p in d.prompts)) for d in documents}) > 1:
        found.append("The audits asked different prompts")
    if len({d.methods for d in documents}) > 1:
        found.append("The audits list different methods or definitions")
    if len({tuple((g.name, g.rule) for g in d.verdict.gates) for d in documents}) > 1:
        found.append("The audits had different gates")
    return tuple(f"{one}: compare with care." for one in found)
