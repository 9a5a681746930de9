"""The page of an audit: one HTML file that needs nothing else and runs nothing but its own script.

Its content security policy allows the one style sheet and the one script whose hashes it names, so
even a text that were not escaped could not run, load or send anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from unbelief.report.assets import asset, policy
from unbelief.report.audit_document import AttackRow, AuditDocument, MeasureRow, Number
from unbelief.report.audit_figures import (
    Point,
    RangeRow,
    curve_figure,
    flags_bar,
    range_plot,
)
from unbelief.report.audit_items import spread, worst_items
from unbelief.report.audit_tables import curve_table, unit_of
from unbelief.report.audit_views import (
    FLAGS,
    GROUPS,
    ROLES,
    attack_cells,
    attack_title,
    attacks_run,
    flattened,
    gate_because,
    gate_cell,
    gate_outcome,
    measure_cells,
    measure_title,
    options_text,
    seeds_text,
    shown_verdict,
    unscored_notes,
)
from unbelief.report.numbers import SHARES, cell, known, parameters, seconds, when, whole
from unbelief.report.page import render
from unbelief.report.prompts import json_block, prompt_data, rows_without_script
from unbelief.report.visible import encodable


def build_audit_report(document: AuditDocument) -> str:
    """Make the self-contained HTML page of an audit.

    Args:
        document: What the audit found. Its texts are data: all are escaped, characters that hide
            or reorder text are written out.
    """
    style, script = asset("style.css") + asset("audit.css"), asset("audit.js")
    data = prompt_data(document)
    context = {
        "doc": document,
        "verdict": document.verdict,
        "shown": shown_verdict(document),
        "style": Markup(style),
        "script": Markup(script),
        "policy": policy(style, script),
        "prompts_json": json_block(data),
        "plain_rows": rows_without_script(data),
        "scores": data["scores"],
        "gates": _gates(document),
        "models": _models(document),
        "cards": _cards(document),
        "flags": _flags(document),
        "flags_bar": flags_bar(document),
        "measures": _measures(document),
        "measure_plot": _measure_plot(document),
        "unscored": unscored_notes(document),
        "intervals": _intervals(document),
        "has_retrained": any(m.role == "retrained" for m in document.models),
        "attacks": _attacks(document),
        "attack_plots": _attack_plots(document),
        "not_run": [(attack_title(a), a.because) for a in document.attacks if not a.ran],
        "curves": _curves(document),
        "worst_items": worst_items(document),
        "spread": spread(document),
        "weights": _weights(document),
        "settings": flattened(document.reproduction),
        "columns": data["columns"],
        "models_and_distance": (*(title for _, title in ROLES), "Distance to retrained"),
        "created": when(document.created),
    }
    return encodable(render("audit.html.j2", context))


def _gates(document: AuditDocument) -> list[dict[str, str]]:
    return [
        {
            "name": gate.name,
            "rule": gate.rule,
            "found": gate_cell(gate),
            "outcome": gate_outcome(gate),
            "because": gate_because(gate),
        }
        for gate in document.verdict.gates
    ]


def _models(document: AuditDocument) -> list[dict[str, Any]]:
    titles = dict(ROLES)
    order = [role for role, _ in ROLES]
    return [
        {"title": titles[m.role], "facts": m, "parameters": parameters(m.parameters)}
        for m in sorted(document.models, key=lambda m: order.index(m.role))
    ]


def _weights(document: AuditDocument) -> str:
    """Which weights went in and which came out, short enough for the first screen."""
    named = {m.role: m.weights_sha256[:16] for m in document.models}
    ends = [f"{role} {named[role]}\u2026" for role in ("original", "unlearned") if role in named]
    return " \u2192 ".join(ends)


def _cards(document: AuditDocument) -> list[tuple[str, str, str]]:
    """Value, what it counts, and of how many."""
    flags, total = document.flags, sum(document.flags.values())
    ran, attacks = attacks_run(document)
    cards = []
    if total:
        with_fact = flags.get("leaked", 0) + flags.get("rephrased", 0)
        cards.append((whole(with_fact), "prompts whose fact is still said", f"of {whole(total)}"))
    if attacks:
        cards.append((whole(ran), "attacks run", f"of {whole(attacks)}"))
    worst = _worst_attack(document)
    if worst is not None:
        cards.append(worst)
    gates = [gate_outcome(g) for g in document.verdict.gates]
    if gates:
        cards.append((whole(gates.count("pass")), "gates passed", f"of {whole(len(gates))}"))
    return cards


def _worst_attack(document: AuditDocument) -> tuple[str, str, str] | None:
    """The highest share of one measure under attack; other units cannot be ranked together."""
    after = [
        (value, a)
        for a in document.attacks
        if a.ran and a.after and a.after.unit in SHARES and (value := known(a.after)) is not None
    ]
    if not after:
        return None
    _, attack = max(after, key=lambda pair: pair[0])
    what = f"{measure_title(attack)}, highest under attack"
    return cell(attack.after).value, what, attack_title(attack)


def _flags(document: AuditDocument) -> list[dict[str, str]]:
    total = sum(document.flags.values())
    rows = []
    for flag, meaning in FLAGS:
        if flag in document.flags:
            count = document.flags[flag]
            share = Number(value=count / total, n=total, unit="share") if total else None
            rows.append(
                {
                    "name": flag,
                    "count": whole(count),
                    "share": cell(share).value,
                    "meaning": meaning,
                }
            )
    return rows


def _measures(document: AuditDocument) -> list[dict[str, Any]]:
    groups = []
    for group, title in GROUPS:
        rows = [
            {
                "title": row.title,
                "name": row.name,
                "unit": unit_of(row.models),
                "better": row.better,
                "cells": measure_cells(document, row),
            }
            for row in document.measures
            if row.group == group
        ]
        if rows:
            groups.append({"title": title, "rows": rows})
    return groups


def _measure_plot(document: AuditDocument) -> Markup | None:
    """All measures between 0 and 1 on one scale."""

    def fits(row: MeasureRow) -> bool:
        return all(n.unit in (*SHARES, "probability") for n in row.models.values())

    shapes = {"original": "open", "unlearned": "dot", "retrained": "diamond"}
    rows = [
        RangeRow(
            label=row.title,
            points=tuple(
                Point(
                    name=role,
                    shape=shapes[role],
                    style=f"r-{role}",
                    number=row.models.get(role),
                )
                for role, _ in ROLES
            ),
        )
        for group, _ in GROUPS
        for row in document.measures
        if row.group == group and fits(row)
    ]
    return range_plot("measures-plot", "Measures between 0 and 1", "share or probability", rows)


def _attacks(document: AuditDocument) -> list[dict[str, Any]]:
    """Attacks that were run, each with its measures; the budget is that of all of them."""
    named: dict[tuple[str, str], list[AttackRow]] = {}
    for a in document.attacks:
        if a.ran:
            named.setdefault((a.name, options_text(a.options)), []).append(a)
    return [
        {
            "title": attack_title(rows[0]),
            "budget": budget,
            "seeds": seeds_text(rows),
            "time": "" if rows[0].seconds is None else seconds(rows[0].seconds),
            "rows": [(measure_title(a), attack_cells(document, a)) for a in rows],
        }
        for (_, budget), rows in named.items()
    ]


def _attack_plots(document: AuditDocument) -> list[dict[str, Any]]:
    """One plot per measure and unit: only such numbers share a scale."""
    groups: dict[tuple[str, str], list[RangeRow]] = {}
    for a in document.attacks:
        units = [n.unit for n in (a.before, a.after, a.retrained_after) if n is not None]
        if not a.ran or not units:
            continue
        points = (
            Point(name="before", shape="open", style="r-before", number=a.before),
            Point(name="under attack", shape="dot", style="r-unlearned", number=a.after),
            Point(
                name="retrained model under attack",
                shape="diamond",
                style="r-retrained",
                number=a.retrained_after,
            ),
        )
        row = RangeRow(label=attack_title(a), points=points)
        groups.setdefault((measure_title(a), units[0]), []).append(row)
    plots = []
    for i, ((measure, unit), rows) in enumerate(groups.items()):
        label = measure if unit in SHARES or unit == measure else f"{measure}, {unit}"
        chart = range_plot(f"attacks-{i}", f"{measure} before and under attack", label, rows)
        if chart is not None:
            plots.append({"title": measure, "chart": chart})
    return plots


def _curves(document: AuditDocument) -> list[dict[str, Any]]:
    return [
        {
            "curve": curve,
            "chart": curve_figure(curve, f"curve-{i}"),
            "table": curve_table(curve),
            "key": f"curve-{i}",
        }
        for i, curve in enumerate(document.curves)
    ]


def _intervals(document: AuditDocument) -> str:
    """How the intervals were made, as far as it was recorded."""
    numbers: list[Number | None] = []
    for row in document.measures:
        numbers += [*row.models.values(), row.distance]
    for attack in document.attacks:
        numbers += [attack.before, attack.after, attack.retrained_after]
    kinds: Mapping[str, None] = dict.fromkeys(n.interval for n in numbers if n and n.interval)
    return "; ".join(kinds)
