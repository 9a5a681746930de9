"""Several seeds, several gates: what is pooled, what is the worst, what is corrected."""

from __future__ import annotations

import numpy as np
import pytest

from tests.audit.made import save_data, save_model
from unbelief.audit.attacks import parse_attacks, untried, with_seeds
from unbelief.audit.gates import decide, decide_all, parse_rule, read_rules
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit
from unbelief.errors import RequestError
from unbelief.report import build_audit_report
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import clopper_pearson, rate_statistic
from unbelief.types import Score


def rate(hits: int, n: int) -> Statistic:
    return rate_statistic([Score(float(i < hits), None, str(i), None) for i in range(n)])


def spread(value: float) -> Statistic:
    draws = value + np.random.default_rng(0).normal(0, 0.1, 100_000)
    return Statistic(value=value, draws=draws, n=10, unit="share")


def test_a_gate_about_several_seeds_is_its_worst_seed():
    by_seed = [rate(1, 40), rate(30, 40), rate(8, 40)]  # pass, fail, inconclusive at 0.25
    (gate,) = decide_all(
        [parse_rule("leak@relearn <= 0.25")],
        lambda attack: [lambda *_, s=s: s for s in by_seed] if attack else [],
    )
    assert gate.outcome == "fail" and gate.value == 0.75
    assert "the worst of 3 seeds (pass, fail, inconclusive)" in gate.because


def test_a_failure_among_several_gates_says_whether_a_correction_leaves_it():
    # 0.5 with standard deviation 0.1 against 0.3: two of them. One gate takes 1.96 (0.304, fails),
    # Bonferroni over four takes the 0.625 % point, 2.50 (0.25, would not).
    own, rules = spread(0.5), [parse_rule("leak <= 0.3")]
    alone = decide(rules[0], lambda *_: own)
    assert alone.outcome == "fail" and "Bonferroni" not in alone.because
    among = decide(rules[0], lambda *_: own, gates=4)
    assert (
        among.outcome == "fail" and "at 98.75 % (Bonferroni, 4 gates) it does not" in among.because
    )
    plain = decide(parse_rule("leak <= 0.2"), lambda *_: own, gates=4)
    assert "it breaks it too" in plain.because


def test_exact_intervals_are_corrected_exactly():
    # 12 of 40: the 95 % interval begins at 0.166, the one at 1 - 0.05/20 at 0.117.
    own = rate(12, 40)
    low, _ = clopper_pearson(12, 40)
    far, _ = clopper_pearson(12, 40, confidence=1 - 0.05 / 20)
    bound = (low + far) / 2
    assert far < bound < low
    gate = decide(parse_rule(f"leak <= {bound}"), lambda *_: own, gates=20)
    assert gate.outcome == "fail" and "does not, so chance may do it" in gate.because


def test_a_pass_is_never_made_harder_by_other_gates():
    own = rate(0, 60)
    rule = parse_rule("leak <= 0.06")  # two-sided bound of 0 in 60: 0.0596
    assert decide(rule, lambda *_: own).outcome == decide(rule, lambda *_: own, gates=9).outcome
    assert decide(rule, lambda *_: own, gates=9).outcome == "pass"


def test_attacks_that_draw_are_made_with_every_seed():
    request = AuditRequest(model="a", original="b", forget="f", seeds=3, seed=5)
    made = parse_attacks(["relearn:seed=2", "noise", "quantize:bits=4", "jailbreak"])
    assert [a.seed for a in with_seeds(made["relearn:seed=2"], request)] == [7, 8, 9]
    assert [a.seed for a in with_seeds(made["noise"], request)] == [5, 6, 7]
    assert len(with_seeds(made["quantize:bits=4"], request)) == 1
    assert len(with_seeds(made["jailbreak"], request)) == 1
    left = untried(["relearn", "quantize:bits=4"])
    assert "prefix" in left and "adapter-off" in left
    assert not {"relearn", "quantise", "quantize"} & set(left)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seeds": 0}, "--seeds"), ({"audit_again_by": "soon"}, "YYYY-MM-DD"),
     ({"audit_again_by": "20270101"}, "YYYY-MM-DD")],
)  # fmt: skip
def test_wrong_requests_are_refused(changes, words):
    with pytest.raises(RequestError) as caught:
        AuditRequest(model="a", original="b", forget="f", **changes)
    assert words in f"{caught.value} {caught.value.remedy}"


def test_an_audit_with_several_seeds(tmp_path):
    for kind in ("original", "rephrasing"):
        save_model(tmp_path / kind, kind)
    save_data(tmp_path)
    request = AuditRequest(
        model=str(tmp_path / "rephrasing"),
        original=str(tmp_path / "original"),
        forget=str(tmp_path / "forget.jsonl"),
        attacks=("noise:rate=0.9", "jailbreak"),
        gates=read_rules("key_fact_recall@noise:rate=0.9 <= 0.1; key_fact_recall@jailbreak <= 1"),
        samples=2,
        seeds=3,
        device="cpu",
    )
    found = audit(request, tmp_path / "a")
    rows = {(r.name, r.measure): r for r in found.attacks}
    noisy = rows["noise:rate=0.9", "key_fact_recall"]
    assert list(noisy.seeds) == ["0", "1", "2"]
    assert noisy.after is not None and noisy.after.value == max(noisy.seeds.values())
    assert rows["jailbreak", "key_fact_recall"].seeds == {}
    # Sampled answers under attack too, with the exact bound: x of four prompts, from 0 upwards.
    bound = rows["jailbreak", "leak_bound"].after
    assert bound is not None and bound.n == 4 and bound.low == 0 and bound.high is not None
    assert bound.high == clopper_pearson(round(4 * (bound.value or 0)), 4, side="upper")[1]
    gate = next(g for g in found.verdict.gates if "noise" in g.name)
    assert "the worst of 3 seeds" in gate.because
    # Three draws of two answers for each of four prompts.
    said = next(line for line in found.uncertainty if line.startswith("Sampled answers"))
    assert "3 independent draws of 2 per prompt" in said and said.count("%") == 3
    assert any("2 gates" in line for line in found.uncertainty)
    page = build_audit_report(found)
    assert "by seed, the one that gives most away is shown" in page
    folders = {p.name for p in (tmp_path / "a" / "measurements").iterdir()}
    assert {"unlearned@noise,rate=0.9", "unlearned@noise,rate=0.9,seed=1"} <= folders
    rate_of = next(m for m in found.measures if m.name == "leak_rate").models["unlearned"]
    draws = [float(x.strip(" .%")) / 100 for x in said.split("by draw:")[1].split(",")]
    # The pooled rate is the mean of the draws, each of as many answers.
    assert rate_of.value == pytest.approx(sum(draws) / 3, abs=1e-3)


def test_another_seed_samples_other_answers(tmp_path):
    for kind in ("original", "retrained"):
        save_model(tmp_path / kind, kind)
    save_data(tmp_path)
    answers = []
    for seed in (0, 0, 1):
        request = AuditRequest(
            model=str(tmp_path / "retrained"), original=str(tmp_path / "original"),
            forget=str(tmp_path / "forget.jsonl"), attacks=(), samples=3, temperature=3.0,
            seed=seed, device="cpu",
        )  # fmt: skip
        folder = tmp_path / f"a{len(answers)}"
        audit(request, folder)
        from unbelief.measure.store import read_measurements

        examples = read_measurements(folder / "measurements" / "unlearned").examples["forget"]
        answers.append([
            said.text for e in examples for need, texts in e.texts.items()
            if need.decoding.temperature > 0 for said in texts
        ])  # fmt: skip
    assert answers[0] == answers[1] != answers[2]
