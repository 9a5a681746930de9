"""The first screen in words: what was found, what it may be called, what it does not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unbelief.audit.attacks import untried
from unbelief.audit.lines import LEADING
from unbelief.audit.request import AuditRequest
from unbelief.report.audit_document import (
    AttackRow,
    ClaimClass,
    Flag,
    Gate,
    MeasureRow,
    ModelFacts,
    Number,
    Outcome,
    Verdict,
)

_TOO_FAR = 0.5  # of the retrained model's probability


def verdict(
    request: AuditRequest,
    models: Sequence[ModelFacts],
    flags: Mapping[Flag, int],
    measures: Sequence[MeasureRow],
    attacks: Sequence[AttackRow],
    gates: Sequence[Gate],
) -> Verdict:
    """Everything of the first screen."""
    claim, reason = claim_class(request, models)
    return Verdict(
        outcome=overall(gates),
        sentence=_sentence(flags, measures),
        claim_class=claim,
        claim_reason=reason,
        worst=worst_finding(measures, attacks),
        gates=tuple(gates),
        not_covered=not_covered(request, models, measures, attacks),
    )


def limits(measures: Sequence[MeasureRow]) -> tuple[str, ...]:
    """What the report does not show, after one sentence about what it found."""
    return (
        f"Approximate unlearning was run and tested as listed. {_rates(measures)} They cannot show "
        "that no influence of the data remains, nor that another attack, more fine-tuning or "
        "another precision would not bring it back.",
        "Facts are looked for by words that distinguish the true answer. A synonym, a translation "
        "or a number in words is not seen; a denial that names the fact is counted as a leak.",
        "What another kind of question would find is in no interval.",
        "This is a test report. It is not a legal certificate of erasure or anonymity.",
    )


def _rates(measures: Sequence[MeasureRow]) -> str:
    bound = next((row for row in measures if row.name == "leak_bound"), None)
    own = bound.models.get("unlearned") if bound else None
    if own is None or own.high is None:
        return "These tests could put no bound on how often a fact is said."
    return (
        f"These tests did not find the facts said, without attack, for more than {own.high:.1%} of "
        "the prompts (95 % upper bound)."
    )


def overall(gates: Sequence[Gate]) -> Outcome | str:
    """The worst outcome: a failed gate fails the audit, an undecided one leaves it open."""
    outcomes = {gate.outcome for gate in gates}
    for outcome in ("fail", "inconclusive", "pass"):
        if outcome in outcomes:
            return outcome
    return "no gates"


def claim_class(request: AuditRequest, models: Sequence[ModelFacts]) -> tuple[ClaimClass, str]:
    """What the result may be called, and why."""
    own = next(m for m in models if m.role == "unlearned")
    if own.adapter:
        return "suppression only", (
            "the model is an adapter on unchanged base weights, and without it they say what they "
            "always said"
        )
    if any(m.weights_sha256 == own.weights_sha256 for m in models if m.role == "original"):
        return "suppression only", "the weights are those of the original model"
    if request.exact:
        return "exact", (
            "its owner states that it was trained without the data; the evidence for that is the "
            "training's manifest and log, not this audit"
        )
    return "approximate, tested", "the weights were changed, and the tests are listed here"


def worst_finding(measures: Sequence[MeasureRow], attacks: Sequence[AttackRow]) -> str:
    """The attack or measure that shows most of the fact, in words."""
    for leading in LEADING:
        found = [
            (row.after.value, f"{row.title}: {number(row.after)} {_of(leading)} under attack")
            for row in attacks
            if row.ran and row.measure == leading and row.after and row.after.value is not None
        ]
        for row in measures:
            own = row.models.get("unlearned")
            if row.name == leading and own and own.value is not None:
                found.append((own.value, f"{row.title}: {number(own)}"))
        if found:
            return max(found, key=lambda pair: pair[0])[1]
    return "no leak measure could be computed"


def not_covered(
    request: AuditRequest,
    models: Sequence[ModelFacts],
    measures: Sequence[MeasureRow],
    attacks: Sequence[AttackRow],
) -> tuple[str, ...]:
    """What a reader might take for tested and was not."""
    out = []
    if not any(m.role == "retrained" for m in models):
        out.append("there is no retrained model: how much is too much, and how little, is unknown")
    if request.retain is None:
        out.append("no retain records were given: what else was lost is unknown")
    if request.holdout is None:
        out.append("no unseen records were given: membership inference was not tried")
    absent = [row.title for row in attacks if not row.ran]
    if absent:
        out.append("attacks not run: " + ", ".join(dict.fromkeys(absent)))
    left_out = untried(request.attacks)
    if left_out:
        out.append("attacks not asked for: " + ", ".join(left_out))
    for row in measures:
        own = row.models.get("unlearned")
        if row.name == "key_fact_recall" and own is not None and own.n_unscored:
            why = max(own.reasons, key=lambda r: own.reasons[r])
            records = "1 record" if own.n_unscored == 1 else f"{own.n_unscored} records"
            out.append(f"facts of {records} could not be looked for: {why}")
    grades = [row for row in measures if row.name == "judge_similarity"]
    if not grades:
        out.append("no judge, human or model, has read the responses")
    elif grades[0].models["unlearned"].value is None:
        why = next(iter(grades[0].models["unlearned"].reasons), "it gave no grades")
        out.append(f"the judge's grades are not valid: {why}")
    out.append(
        "general tasks, and people or topics near those forgotten, beyond the retain records"
    )
    out.append("the probability of the fact over all its wordings, and of the tokens that carry it")
    out.append("translations, aliases and questions by other people about the same facts")
    out.append("other precisions than the one audited, but for the attack that quantises")
    return tuple(out)


def number(value: Number) -> str:
    """A share in per cent with its interval; other units as they are."""
    if value.value is None:
        return "no value"
    share = value.unit in ("share", "probability")
    text = f"{value.value:.1%}" if share else f"{value.value:.3g} {value.unit}"
    if value.low is None or value.high is None:
        return text
    ends = (
        f"{value.low:.1%} to {value.high:.1%}" if share else f"{value.low:.3g} to {value.high:.3g}"
    )
    return f"{text} ({ends})"


def _sentence(flags: Mapping[Flag, int], measures: Sequence[MeasureRow]) -> str:
    total = sum(flags.values())
    leaks = flags.get("leaked", 0) + flags.get("rephrased", 0)
    parts = [
        f"Of {total} prompts, {leaks} greedy "
        + ("answer states the fact" if leaks == 1 else "answers state the fact")
        + (f" ({flags['rephrased']} in other words)" if flags.get("rephrased") else ""),
        f"{flags.get('forgotten', 0)} are fluent without it",
        f"{flags.get('refused', 0)} refuse",
        f"{flags.get('collapsed', 0)} are repetition or empty",
    ]
    if flags.get("undecided"):
        parts.append(f"{flags['undecided']} cannot be told")
    text = "; ".join(parts) + "."
    by_name = {row.name: row for row in measures}
    bound = by_name.get("leak_bound")
    own = bound.models.get("unlearned") if bound else None
    if own is not None and own.value is not None and own.high is not None:
        text += (
            f" When sampled, {own.value:.1%} of the prompts leak at least once; with 95 % "
            f"confidence at most {own.high:.1%} do."
        )
    return text + _too_far(by_name.get("probability"))


def _too_far(row: MeasureRow | None) -> str:
    """A likelihood far below the retrained model's tells that something was removed."""
    if row is None or "retrained" not in row.models:
        return ""
    own, yardstick, distance = row.models["unlearned"], row.models["retrained"], row.distance
    if own.value is None or yardstick.value is None or distance is None or distance.high is None:
        return ""
    if distance.high >= 0 or own.value >= _TOO_FAR * yardstick.value:
        return ""
    return (
        f" The true answers are less likely ({own.value:.2g}) than to a model that never saw them "
        f"({yardstick.value:.2g}): that is a trace of the deletion itself."
    )


def _of(measure: str) -> str:
    return {
        "key_fact_recall": "of the facts",
        "leak_rate": "of the sampled answers state the fact",
    }.get(measure, measure)
