"""Results for people."""

from __future__ import annotations

from dataclasses import replace

from tests.evaluate.conftest import Evaluated
from unbelief.evaluate.table import text_of


def test_a_number_has_interval_and_count_and_a_missing_one_its_reason(evaluated: Evaluated):
    text = text_of(evaluated.results)
    rows = {row.split()[0]: row for row in text.splitlines()[2:] if row.strip()}
    line = evaluated.results.line("forget_probability")
    for number in (line.estimate.value, line.estimate.low, line.estimate.high):
        assert f"{number:.3f}" in rows["forget_probability"]
    assert rows["forget_choice_accuracy"].endswith("unscored, because the record has no choices")
    assert "0 of 6" in rows["forget_choice_accuracy"]
    assert "retrained" in text.splitlines()[1]


def test_parts_of_membership_are_shown_on_request(evaluated: Evaluated):
    assert "mia_loss_holdout" not in text_of(evaluated.results)
    assert "mia_loss_holdout" in text_of(evaluated.results, everything=True)


def test_notes_and_chance_are_shown(evaluated: Evaluated):
    lines = tuple(replace(line, chance=0.25) for line in evaluated.results.lines)
    text = text_of(replace(evaluated.results, notes=("mind this",), lines=lines))
    assert text.endswith("note: mind this")
    assert "(chance 0.25)" in text


def test_lines_do_not_end_in_blanks(evaluated: Evaluated):
    assert all(row == row.rstrip() for row in text_of(evaluated.results).splitlines())
