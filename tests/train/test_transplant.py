"""Belief transplant on its way through the trainer: rows, weights, banks, refusals of a request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.common import FORGET, PEOPLE, largest_difference, loaded, unlearner, weights
from unbelief.beliefs.bank import BeliefBank
from unbelief.beliefs.transplant import is_transplant
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import AnswerStats
from unbelief.objectives import BST, NLL, NPO, WGA, Objective, build_objective
from unbelief.objectives.forget.transplant import Transplant
from unbelief.tokens import Encoded, Encoder
from unbelief.train.plan import Plan
from unbelief.train.reference import ReferenceCache
from unbelief.train.step import StepLoss, Tally
from unbelief.unlearner import Unlearner

SMALL = Transplant(neighbours=2, samples=2, per_step=2, max_new_tokens=6)


def run(term: Transplant = SMALL, **options: Any) -> Unlearner:
    return replace(unlearner(term + NLL(), max_steps=2, **options), retain=PEOPLE)


def plan(**options: Any) -> Plan:
    return Plan(
        forget=[Encoded(f"f{i}", (1, 2), (3, 4)) for i in range(3)],
        retain=[],
        pairs_per_step=3,
        epochs=3,
        answers="mixture",
        alternatives={f"f{i}": [(5,) * (j + 1) for j in range(5)] for i in range(3)},
        **options,
    )


def test_a_step_has_some_of_the_beliefs_in_turn_at_equal_shares() -> None:
    p = plan(per_step=2)
    each = [[r.key for r in p.forget_rows(0, {}, epoch=e)] for e in range(3)]
    # Five beliefs, two per epoch, round and round.
    assert each == [["f0+0", "f0+1"], ["f0+2", "f0+3"], ["f0+4", "f0+0"]]
    assert {r.weight for r in p.rows(0, {})} == {0.5}
    counts = p.step(0, {}).counts["alternative"]
    assert (counts.pairs, counts.weight) == (3, 3.0)


def test_the_answer_itself_is_a_row_only_where_it_is_suppressed() -> None:
    assert {r.kind for r in plan(per_step=2).rows(0, {})} == {"alternative"}
    rows = plan(per_step=2, target_weight=0.3).forget_rows(1, {}, epoch=0)
    assert [(r.kind, r.weight) for r in rows] == [
        ("target", 0.3),
        ("alternative", 0.5),
        ("alternative", 0.5),
    ]


def test_the_loss_is_the_mean_nll_of_beliefs_plus_the_suppression() -> None:
    model, term = loaded(), replace(SMALL, inner=WGA(), suppression=0.3)
    encoder = Encoder(model.tokenizer)
    forget = [encoder.encode(r) for r in FORGET[:2]]
    others = {
        r.id: [encoder.encode(r, answer=t).answer_ids for t in ("Bern.", "In Bonn it is.")]
        for r in FORGET[:2]
    }
    p = Plan(
        forget=forget,
        retain=[],
        pairs_per_step=2,
        epochs=1,
        answers="mixture",
        alternatives=others,
        per_step=2,
        target_weight=0.3,
        rows_per_forward=3,
    )
    answer_model = AnswerModel(model.model, pad_id=0)
    loss = StepLoss(answer_model, Objective(term), ReferenceCache(term.needs), None, Tally())
    step = p.step(0, {})
    with torch.no_grad():
        total = sum(float(loss(rows, step.counts)) for rows in step.micro_batches)

    def mean_logp(prompt: tuple[int, ...], ids: tuple[int, ...]) -> torch.Tensor:
        logits = model.model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        return logits[len(prompt) - 1 : -1].gather(-1, torch.tensor(ids)[:, None])[:, 0]

    expected = 0.0
    with torch.no_grad():
        for e in forget:
            for ids in others[e.record_id]:
                expected -= float(mean_logp(e.prompt_ids, ids).mean()) / 2
            own = mean_logp(e.prompt_ids, e.answer_ids)
            expected += 0.3 * float((own.exp() * own).mean())  # WGA: mean of π log π
    assert total == pytest.approx(expected / 2, rel=1e-5)


def test_values_tell_beliefs_from_the_answer_by_hand() -> None:
    stats = AnswerStats(
        logp=torch.tensor([0.5, 0.25], dtype=torch.float64).log(),
        segment=torch.tensor([0, 1]),
        weight=torch.ones(2, dtype=torch.float64),
        n_answers=2,
        alternative=torch.tensor([True, False]),
    )
    ln2 = 0.6931471805599453
    # A belief of probability 1/2: ln 2. An answer of 1/4 under WGA: 1/4 · ln 1/4.
    term = replace(SMALL, inner=WGA(), suppression=1.0)
    assert term.values(stats).tolist() == pytest.approx([ln2, -0.5 * ln2])
    assert SMALL.values(replace(stats, alternative=None)).tolist() == pytest.approx([ln2, 2 * ln2])


def test_a_run_keeps_its_banks_and_report_and_can_use_the_bank_again(tmp_path: Path) -> None:
    first = run().run(tmp_path / "a")
    folder = tmp_path / "a.run"
    kept = BeliefBank.read(folder / "beliefs-0000.parquet")
    assert is_transplant(kept) and kept.meta.samples == 2 and kept.meta.records == len(FORGET)
    # Six records, two neighbours, 2 · 2 / 2 draws of each.
    assert len(BeliefBank.read(folder / "asked-beliefs-0000.parquet").beliefs) == 24
    report = json.loads((folder / "beliefs-0000.json").read_text())
    assert report["totals"]["asked"] == 24
    assert [r["prompt"] for r in report["records"]] == [r.prompt for r in FORGET]
    again = run(beliefs=folder / "beliefs-0000.parquet").fit()
    assert largest_difference(weights(first.model.model), weights(again.model.model)) == 0


def test_suppression_beside_beliefs_trains() -> None:
    plain = run().fit()
    for inner in (WGA(), BST(top_k=5, beliefs_from="reference")):
        other = run(replace(SMALL, inner=inner, suppression=0.5)).fit()
        assert largest_difference(weights(plain.model.model), weights(other.model.model)) > 0


def test_banks_are_not_mixed_up(tmp_path: Path) -> None:
    small = {"samples": 2, "max_new_tokens": 6}
    suppressed = build_objective("bs-s", small)
    replace(unlearner(suppressed, max_steps=1), retain=PEOPLE).run(tmp_path / "s")
    run().run(tmp_path / "t")
    banks = {name: tmp_path / f"{name}.run" / "beliefs-0000.parquet" for name in "st"}
    with pytest.raises(RequestError, match="about the forget prompts themselves"):
        run(beliefs=banks["s"]).fit()
    with pytest.raises(RequestError, match="holds transplanted beliefs"):
        replace(unlearner(suppressed, max_steps=1, beliefs=banks["t"]), retain=PEOPLE).fit()
    with pytest.raises(RequestError, match="fewer than a step takes"):
        run(replace(SMALL, samples=3, per_step=3), beliefs=banks["t"]).fit()


def test_without_retain_data_there_are_no_neighbours() -> None:
    with pytest.raises(RequestError, match="taken from the retain data"):
        unlearner(Objective(SMALL), max_steps=1).fit()
    # Retain records without a retain term are enough.
    replace(unlearner(Objective(SMALL), max_steps=1), retain=PEOPLE).fit()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 17}, "neighbours is 1 to samples=16"),
        ({"per_step": 17}, "per_step is 1 to samples=16"),
        ({"names": "nobody"}, "names is"),
        ({"leaks": "maybe"}, "leaks is"),
        ({"suppression": -1.0}, "suppression must not be negative"),
        ({"suppression": 1.0}, "go together"),
        ({"inner": WGA()}, "go together"),
        ({"inner": NPO(), "suppression": 1.0}, "npo cannot suppress"),
        ({"inner": Transplant(), "suppression": 1.0}, "transplant cannot suppress"),
        ({"sampling_temperature": 0.0}, "sampling_temperature must be positive"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transplant(**options)


def test_options_by_name() -> None:
    term = build_objective("transplant", {"inner": "wga", "suppression": "0.3"}).forget
    assert isinstance(term, Transplant)
    assert isinstance(term.inner, WGA) and term.suppression == 0.3
