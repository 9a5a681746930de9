from __future__ import annotations

import math

import pytest

from tests.report.made import attacks, audit, measures, verdict
from unbelief.report.audit_document import Gate
from unbelief.report.audit_views import (
    FLAGS,
    attack_title,
    attacks_run,
    flattened,
    gate_because,
    gate_cell,
    gate_outcome,
    in_words,
    measure_cells,
    measure_title,
    options_text,
    shown_verdict,
    unscored_notes,
    worst_first,
)


def gate(outcome, value=0.5):
    return Gate(name="g", rule="g <= 1", value=value, outcome=outcome, because="so it is")


def shown(outcome, *gates):
    changed = verdict().model_copy(update={"outcome": outcome, "gates": gates})
    return shown_verdict(audit(1, verdict=changed))


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_gate_without_a_value_has_not_passed(value):
    made = gate("pass", value)
    assert gate_outcome(made) == "inconclusive" and gate_cell(made) == "n/a"
    assert gate_because(made) == "so it is (recorded as passed, but there is no value)"
    assert gate_because(gate("pass")) == "so it is"


@pytest.mark.parametrize(
    ("recorded", "gates", "outcome"),
    [
        ("pass", ["pass"], "pass"),
        ("pass", ["pass", "fail"], "fail"),
        ("pass", ["pass", "inconclusive"], "inconclusive"),
        ("pass", [], "no gates"),
        ("inconclusive", ["pass", "fail"], "fail"),
        ("inconclusive", ["pass"], "inconclusive"),
        ("no gates", [], "no gates"),
        ("fail", ["pass"], "fail"),  # the document may know more than its gates
        ("fail", [], "fail"),
    ],
)
def test_verdict_is_never_better_than_its_gates(recorded, gates, outcome):
    found = shown(recorded, *(gate(g) for g in gates))
    assert found.outcome == outcome
    assert bool(found.note) == (recorded != outcome)


def test_passed_without_value_makes_the_verdict_inconclusive():
    assert shown("pass", gate("pass"), gate("pass", None)).outcome == "inconclusive"


def test_without_retrained_model_its_numbers_are_na_with_the_reason():
    document = audit(1, retrained=False)
    for row in document.measures:
        *_, retrained, distance = measure_cells(document, row)
        assert retrained.text() == "n/a: no retrained model was given"
        assert distance.text() == "n/a: no retrained model was given"
    with_one = audit(1, measures=measures(False))
    *_, retrained, distance = measure_cells(with_one, with_one.measures[0])
    assert (retrained.note, distance.note) == ("not measured", "not computed")


def test_notes_say_what_was_scored_in_part_only():
    assert unscored_notes(audit(1)) == (
        "Key-fact recall, other phrasing, unlearned: the record has no paraphrase (12)",
    )


def test_prompts_come_worst_first_and_otherwise_in_their_order():
    order = [flag for flag, _ in FLAGS]
    rows = worst_first(audit(80).prompts)
    keys = [(order.index(row.flag), row.id) for row in rows]
    assert keys == sorted(keys) and len({flag for flag, _ in keys}) > 3


def test_an_attack_with_several_measures_is_one_attack():
    first, *others = attacks(True)
    twice = (first, first.model_copy(update={"measure": "probability"}), *others)
    assert attacks_run(audit(1, attacks=twice)) == (3, 4)


def test_names_become_words():
    assert in_words("key_fact_recall") == "Key fact recall" and in_words("") == ""
    row = attacks(True)[0].model_copy(update={"title": "few-shot", "name": "few-shot"})
    assert attack_title(row) == "Few shot"
    assert measure_title(row.model_copy(update={"measure": "rougeL_recall"})) == "ROUGE-L recall"
    assert measure_title(row.model_copy(update={"measure": "key_fact_recall"})) == "key fact recall"


def test_options_and_settings_as_text():
    options = {"steps": 50, "lr": 1e-5, "on": True, "sets": ["a", "b"], "deep": {"x": None}}
    assert (
        options_text(options) == "steps = 50, lr = 1e-05, on = yes, sets = a, b, deep = (x = none)"
    )
    assert flattened({"a": 1234567.25, "b": {"c": {"d": 0.5}, "e": {}}}) == (
        ("a", "1234567.25"),
        ("b.c.d", "0.5"),
        ("b.e", "none"),
    )
