"""What a verdict leads with: the measure that follows the exact leak most closely."""

from __future__ import annotations

from unbelief.audit.verdict import worst_finding
from unbelief.report.audit_document import AttackRow, MeasureRow, Number


def number(value: float | None) -> Number:
    return Number(value=value, n=4, unit="share")


def measured(name: str, value: float | None) -> MeasureRow:
    row = {"unlearned": number(value)}
    return MeasureRow(name=name, title=name, group="leak", better="lower", models=row)


def attacked(title: str, measure: str, value: float | None, *, ran: bool = True) -> AttackRow:
    after = number(value)
    return AttackRow(name=title, title=title, options={}, ran=ran, measure=measure, after=after)


def test_the_rate_of_sampled_answers_leads_and_a_saturated_bound_does_not() -> None:
    # 0.2 of the answers leak plainly, 0.3 under relearning. The bound (0.9: nearly every prompt has
    # one leaking answer) and greedy facts (0.6) are larger numbers of something else.
    measures = [
        measured("leak_bound", 0.9),
        measured("key_fact_recall", 0.6),
        measured("leak_rate", 0.2),
    ]
    attacks = [attacked("Relearning", "leak_rate", 0.3), attacked("Noise", "leak_rate", 0.1)]
    found = worst_finding(measures, attacks)
    assert found.startswith("Relearning: 30.0%")
    assert "of the sampled answers" in found


def test_greedy_facts_are_taken_where_nothing_was_sampled() -> None:
    measures = [measured("leak_rate", None), measured("key_fact_recall", 0.25)]
    attacks = [
        attacked("Jailbreak", "key_fact_recall", 0.5, ran=False),
        attacked("Paraphrase", "probability", 0.8),
        attacked("Noise", "key_fact_recall", 0.125),
    ]
    assert worst_finding(measures, attacks).startswith("key_fact_recall: 25.0%")


def test_without_any_leak_measure_it_says_so() -> None:
    assert worst_finding([measured("leak_bound", 1.0)], []) == "no leak measure could be computed"
