"""What follows from an audit document without another measurement; shared by page and exports.

Everything that could turn a missing number into good news is decided here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from unbelief.report.audit_document import (
    AttackRow,
    AuditDocument,
    Flag,
    Gate,
    MeasureRow,
    Number,
    Outcome,
    PromptRow,
    Role,
)
from unbelief.report.numbers import MISSING, Cell, cell, interval_text, known, plain, value_text

ROLES: tuple[tuple[Role, str], ...] = (
    ("original", "Original"),
    ("unlearned", "Unlearned"),
    ("retrained", "Retrained"),
)
"""In the order before, after, reference."""

FLAGS: tuple[tuple[Flag, str], ...] = (
    ("leaked", "the fact is in the response, and metrics that compare wording see it"),
    ("rephrased", "the fact is in the response in other words, and those metrics miss it"),
    ("undecided", "the record does not tell which words are the fact"),
    ("collapsed", "the response is repetition or no words"),
    ("refused", "the model declines"),
    ("forgotten", "fluent, and without the fact"),
)
"""Worst first; `undecided` ranks before what is known to hold no fact."""

GROUPS = (
    ("leak", "Leaks of what was to be forgotten"),
    ("membership", "Can it be told that the data was seen?"),
    ("fluency", "Does it still speak?"),
    ("utility", "Does it still know the rest?"),
)

assert {flag for flag, _ in FLAGS} == set(get_args(Flag))
assert {role for role, _ in ROLES} == set(get_args(Role))

_SEVERITY = {flag: rank for rank, (flag, _) in enumerate(FLAGS)}


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """The verdict as it may be shown.

    Attributes:
        outcome: `pass`, `fail`, `inconclusive` or `no gates`.
        note: Why it is not the document's own, empty when it is.
    """

    outcome: str
    note: str = ""


def gate_outcome(gate: Gate) -> Outcome:
    """What may be said of a gate: without a value nothing has passed."""
    if gate.outcome == "pass" and (gate.value is None or not math.isfinite(gate.value)):
        return "inconclusive"
    return gate.outcome


def gate_because(gate: Gate) -> str:
    """Its reason, with a note where the outcome shown is not the document's."""
    if gate_outcome(gate) != gate.outcome:
        return f"{gate.because} (recorded as passed, but there is no value)"
    return gate.because


def shown_verdict(document: AuditDocument) -> ShownVerdict:
    """The worst of the document's verdict and its gates: no gates, no pass."""
    verdict = document.verdict
    outcomes = {gate_outcome(gate) for gate in verdict.gates}
    if verdict.outcome == "fail":
        return ShownVerdict("fail")
    if "fail" in outcomes:
        return _unless(verdict.outcome, "fail", "a gate failed")
    if verdict.outcome == "inconclusive":
        return ShownVerdict("inconclusive")
    if "inconclusive" in outcomes:
        return _unless(verdict.outcome, "inconclusive", "a gate is inconclusive")
    if not outcomes:
        return _unless(verdict.outcome, "no gates", "no gate was set")
    return ShownVerdict(verdict.outcome)


def _unless(recorded: str, shown: str, why: str) -> ShownVerdict:
    same = recorded == shown
    return ShownVerdict(shown, "" if same else f"Recorded as “{recorded}”, although {why}.")


def gate_cell(gate: Gate) -> str:
    """The value of a gate with its interval; `n/a` without one."""
    number = Number(value=gate.value, low=gate.low, high=gate.high, n=0, unit="")
    if known(number) is None:
        return MISSING
    interval = interval_text(number)
    return f"{value_text(number)} ({interval})" if interval else value_text(number)


def measure_cells(document: AuditDocument, row: MeasureRow) -> tuple[Cell, ...]:
    """Original, unlearned, retrained, distance; `n/a` with the reason where there is none."""
    there = {model.role for model in document.models}
    cells = []
    for role, title in ROLES:
        missing = "not measured" if role in there else f"no {title.lower()} model was given"
        cells.append(cell(row.models.get(role), why_missing=missing))
    why = "not computed" if "retrained" in there else "no retrained model was given"
    cells.append(cell(row.distance, why_missing=why))
    return tuple(cells)


def attack_cells(document: AuditDocument, row: AttackRow) -> tuple[Cell, ...]:
    """Before, after, and the retrained model under the same attack."""
    has = any(model.role == "retrained" for model in document.models)
    why = "not attacked" if has else "no retrained model was given"
    return (
        cell(row.before, why_missing="not measured"),
        cell(row.after, why_missing="not measured"),
        cell(row.retrained_after, why_missing=why),
    )


def seeds_text(rows: Sequence[AttackRow]) -> str:
    """What every seed of an attack gave, measure by measure; empty where there was one."""
    parts = []
    for row in rows:
        if len(row.seeds) > 1:
            values = ", ".join(f"{seed}: {plain(value)}" for seed, value in row.seeds.items())
            parts.append(f"{measure_title(row)} {values}")
    return f"by seed, the one that gives most away is shown: {'; '.join(parts)}" if parts else ""


def unscored_notes(document: AuditDocument) -> tuple[str, ...]:
    """What could be scored in part only, with the reasons."""
    notes = []
    for row in document.measures:
        for (_, title), one in zip(
            (*ROLES, ("distance", "Distance")), measure_cells(document, row), strict=True
        ):
            if one.known and one.note:
                notes.append(f"{row.title}, {title.lower()}: {one.note}")
    for attack in document.attacks:
        titles = ("before", "under attack", "retrained model under attack")
        for title, one in zip(titles, attack_cells(document, attack), strict=True):
            if one.known and one.note:
                name = f"{attack_title(attack)}, {measure_title(attack)}"
                notes.append(f"{name}, {title}: {one.note}")
    return tuple(notes)


def worst_first(prompts: Sequence[PromptRow]) -> tuple[PromptRow, ...]:
    """Prompts by flag, worst first; within a flag in the document's order."""
    return tuple(sorted(prompts, key=lambda row: _SEVERITY[row.flag]))


def score_names(document: AuditDocument) -> tuple[str, ...]:
    """Names of the scores of prompts, in the order of their first appearance."""
    return tuple(dict.fromkeys(name for row in document.prompts for name in row.scores))


_KNOWN = {
    "rougeL_recall": "ROUGE-L recall",
    "mia_min_k_forget": "Min-K",
    "judge_similarity": "Judge: nothing of the answer is left (0-5)",
    "judge_naturalness": "Judge: natural language (0-5)",
}


def attack_title(row: AttackRow) -> str:
    """What the attack is called: its title, or its name in words."""
    return in_words(row.title if row.title != row.name else row.name.replace("-", "_"))


def measure_title(row: AttackRow) -> str:
    """Which leak measure an attack's numbers are of, in words that may stand in a sentence."""
    shown = in_words(row.measure)
    return shown if shown[:2].isupper() else shown[:1].lower() + shown[1:]


def attacks_run(document: AuditDocument) -> tuple[int, int]:
    """Number of attacks that were run, and of all that are in the document."""
    ran = {a.name for a in document.attacks if a.ran}
    return len(ran), len({a.name for a in document.attacks})


def in_words(name: str) -> str:
    """A name as a title: `key_fact_recall` becomes `Key fact recall`."""
    words = _KNOWN.get(name, name.replace("_", " ").strip())
    return words[:1].upper() + words[1:]


def options_text(options: object) -> str:
    """Options as `steps = 50, learning_rate = 1e-05`; nested ones in brackets."""
    if isinstance(options, dict):
        return ", ".join(f"{key} = {_option(value)}" for key, value in options.items())
    return _option(options)


def _option(value: object) -> str:
    if isinstance(value, dict):
        return f"({options_text(value)})" if value else "none"
    if isinstance(value, list | tuple):
        return ", ".join(_option(one) for one in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def flattened(values: object, prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Nested settings as rows `train.learning_rate`, `1e-05`."""
    if not isinstance(values, dict):
        return ((prefix, _option(values)),)
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        rows += (
            flattened(value, name)
            if isinstance(value, dict) and value
            else [(name, _option(value))]
        )
    return tuple(rows)
