from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.audit.gates import Rule, check_rules, decide, parse_rule, read_rules
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit
from unbelief.errors import RequestError
from unbelief.scores.base import Statistic


def statistic(value, low=None, high=None, draws=None, reasons=None) -> Statistic:
    bounds = None if low is None else (low, high)
    return Statistic(
        value=value, draws=draws, bounds=bounds, n=10, unit="share", reasons=reasons or {}
    )


def outcome(rule: str, **by_role: Statistic) -> str:
    return decide(parse_rule(rule), lambda measure, attack, role: by_role.get(role)).outcome


def test_every_part_of_a_rule_is_read():
    assert parse_rule("leak_rate@relearn  <=  0.9 * retrained + .05") == Rule(
        text="leak_rate@relearn <= 0.9 * retrained + .05",
        measure="leak_rate",
        attack="relearn",
        relation="<=",
        of="retrained",
        factor=0.9,
        offset=0.05,
    )
    plain = parse_rule("rougeL_recall >= 1e-2")
    assert (plain.measure, plain.of, plain.offset, plain.attack) == (
        "rougeL_recall",
        None,
        0.01,
        "",
    )
    assert parse_rule("x >= original - 0.1").offset == -0.1


@pytest.mark.parametrize(
    "text",
    ["leak < 0.1", "leak <=", "<= 0.1", "leak <= retained", "leak == 1", "leak <= 2 retrained",
     "leak <= 0.1 extra", "leak@ <= 1", "LEAK <= 1", "leak <= 0.5 + retrained"],
)  # fmt: skip
def test_other_shapes_are_refused_with_place_and_shape(text):
    with pytest.raises(RequestError) as caught:
        parse_rule(text, "gates.txt:3")
    assert caught.value.where == "gates.txt:3"
    assert "<=" in (caught.value.remedy or "")


def test_the_whole_interval_decides():
    # Interval 0.02 to 0.08.
    own = statistic(0.04, 0.02, 0.08)
    assert outcome("leak <= 0.08", unlearned=own) == "pass"
    assert outcome("leak <= 0.05", unlearned=own) == "inconclusive"
    assert outcome("leak <= 0.01", unlearned=own) == "fail"
    assert outcome("leak >= 0.02", unlearned=own) == "pass"
    assert outcome("leak >= 0.05", unlearned=own) == "inconclusive"
    assert outcome("leak >= 0.09", unlearned=own) == "fail"


def test_what_does_not_exist_is_never_a_pass():
    assert outcome("leak <= 1") == "inconclusive"
    assert outcome("leak <= retrained", unlearned=statistic(0.0, 0.0, 0.0)) == "inconclusive"
    unscored = statistic(None, reasons={"no perturbed answers": 10})
    gate = decide(parse_rule("leak <= 1"), lambda *_: unscored)
    assert gate.outcome == "inconclusive" and "no perturbed answers" in gate.because


def test_a_bound_of_another_model_is_compared_pairwise():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.1, 1000)  # clusters that are hard for both models
    own = statistic(0.50, draws=0.50 + shared)
    other = statistic(0.55, draws=0.55 + shared)
    # Alone, 0.5 +- 0.2 says nothing about 0.55; the difference is exactly -0.05.
    assert outcome("leak <= retrained", unlearned=own, retrained=other) == "pass"
    independent = statistic(0.55, draws=0.55 + rng.normal(0, 0.1, 1000))
    assert outcome("leak <= retrained", unlearned=own, retrained=independent) == "inconclusive"


def test_factor_and_offset_move_the_bound():
    # 0.9 * 0.6 + 0.01 = 0.55
    roles = {"unlearned": statistic(0.55, 0.55, 0.55), "original": statistic(0.6, 0.6, 0.6)}
    assert outcome("utility >= 0.9 * original + 0.01", **roles) == "pass"
    assert outcome("utility >= 0.9 * original + 0.02", **roles) == "fail"


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 1))
def test_the_two_directions_are_mirror_images(value, half, bound):
    own = statistic(value, value - half, value + half)
    mirrored = statistic(-value, -value - half, -value + half)
    at_most = decide(Rule(text="", measure="m", attack="", relation="<=", of=None, factor=1.0,
                          offset=bound), lambda *_: own)  # fmt: skip
    at_least = decide(Rule(text="", measure="m", attack="", relation=">=", of=None, factor=1.0,
                           offset=-bound), lambda *_: mirrored)  # fmt: skip
    assert at_most.outcome == at_least.outcome


def test_rules_come_from_a_file_with_comments_or_from_one_line(tmp_path):
    file = tmp_path / "gates.txt"
    file.write_text(
        "# agreed on Monday\nleak <= 0.05  # upper bound\n\nutility >= 0.9 * original\n"
    )
    assert read_rules(file) == read_rules("leak <= 0.05; utility >= 0.9 * original")
    file.write_text("leak <= 0.05\n\nutility is fine\n")
    with pytest.raises(RequestError) as caught:
        read_rules(file)
    assert (caught.value.where or "").endswith("gates.txt:3")
    with pytest.raises(RequestError, match="no gate"):
        read_rules("# leak <= 1")
    with pytest.raises(RequestError, match="does not exist"):
        read_rules(tmp_path / "missing.txt")


def test_gates_that_can_never_be_decided_are_refused_before_any_work():
    attacks = {"relearn": ("leak",)}
    check_rules(read_rules("leak <= 1; leak@relearn <= 1"), ["leak", "utility"], attacks)
    with pytest.raises(RequestError, match="not run"):
        check_rules(read_rules("leak@noise <= 1"), ["leak"], attacks)
    with pytest.raises(RequestError, match="unknown measure"):
        check_rules(read_rules("leek <= 1"), ["leak"], attacks)
    with pytest.raises(RequestError, match="unknown measure"):
        check_rules(read_rules("utility@relearn <= 1"), ["leak", "utility"], attacks)


@pytest.mark.parametrize(
    ("gate", "lacking"),
    [
        ("retain_probability >= 0.9 * original", "retain"),
        ("retain_refusal_rate <= 0.1", "retain"),
        ("mia_auc <= 0.6", "holdout"),
        ("leak_rate <= retrained + 0.1", "retrained"),
    ],
)
def test_gates_without_what_they_are_about_are_refused(tmp_path, gate: str, lacking: str):
    names = {"model": "m", "original": "o", "forget": "f", "gates": read_rules(gate)}
    with pytest.raises(RequestError, match=f"cannot be decided without --{lacking}"):
        audit(AuditRequest(**names), tmp_path / "audit")
    with pytest.raises(RequestError) as caught:  # the next thing that is wrong: nothing is there
        audit(AuditRequest(**names, **{lacking: "x"}), tmp_path / "audit")
    assert "cannot be decided" not in caught.value.message
