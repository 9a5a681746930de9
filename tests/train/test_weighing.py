"""Weights that move: what is logged, what is trained on, and what a resumed run goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.common import unlearner
from unbelief.models.runner import AnswerModel
from unbelief.objectives import DPO, GA, NLL, Objective, PrimalDual, Schedule
from unbelief.train.weighing import Weights
from unbelief.unlearner import UnlearnResult


def test_a_schedule_weighs_the_forget_loss() -> None:
    objective = Objective(GA(), NLL(), forget_weight=0.5, weights=Schedule(tail=0.5))
    log = unlearner(objective).fit().log
    # Six steps: γ (1 - t/6 - 1/2) of 0.5, never below 0.
    weights = [entry["forget_weight"] for entry in log]
    assert weights == pytest.approx([3 / 12, 2 / 12, 1 / 12, 0, 0, 0], abs=1e-12)
    assert [entry["forget_loss"] for entry in log[3:]] == [0, 0, 0]
    assert all(entry["loss"] == pytest.approx(entry["retain_loss"]) for entry in log[3:])


@pytest.mark.parametrize("rows", [6, 1])
def test_the_multiplier_follows_the_retain_loss_of_whole_steps(rows: int) -> None:
    rule = PrimalDual(bound=4.0, step=0.5, warmup_epochs=1)
    objective = Objective(GA(), NLL(), retain_weight=2.0, weights=rule)
    log = (
        unlearner(
            objective, per_device_train_batch_size=rows, gradient_accumulation_steps=6 // rows
        )
        .fit()
        .log
    )
    # One step an epoch; the logged retain loss is weighted, so divide by α.
    alpha = 2.0
    for epoch, entry in enumerate(log, start=1):
        assert entry["retain_weight"] == pytest.approx(alpha, rel=1e-5)
        alpha = rule.next_retain_weight(alpha, entry["retain_loss"] / alpha, epoch)
    assert alpha > 2.5


def test_constant_weights_are_not_logged() -> None:
    assert "retain_weight" not in unlearner(GA() + NLL(), max_steps=1).fit().log[0]


def test_a_resumed_run_goes_on_with_its_multiplier(tmp_path: Path) -> None:
    objective = Objective(GA(), NLL(), weights=PrimalDual(bound=0, warmup_epochs=0))
    first, second = Weights(objective), Weights(objective)
    first.begin(0.0)
    first._seen = 1.5
    first.end(1.0)
    first.save(tmp_path)
    second.restore(tmp_path)
    for weights in (first, second):
        weights.begin(0.5)
    assert first.now == second.now == {"forget_weight": 1.0, "retain_weight": 2.5}
    assert second.factor("retain") == 2.5


class Stop:
    """A crash after some steps."""

    every = 1

    def __init__(self, after: int):
        self.after = after

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step == self.after:
            raise SystemExit("crash")


def test_a_run_that_was_cut_ends_where_a_whole_one_does(tmp_path: Path, tiny_folder: Path) -> None:
    """Multiplier, alternatives and their reference come back bit for bit."""
    term = DPO(alternatives="model", samples=2, max_new_tokens=5)
    objective = Objective(term, NLL(), weights=PrimalDual(bound=0, step=0.3, warmup_epochs=0))

    def run(name: str, *hooks: Stop) -> UnlearnResult:
        return unlearner(objective, tiny_folder, hooks=hooks, save_steps=3).run(tmp_path / name)

    whole = run("whole")
    with pytest.raises(SystemExit):
        run("cut", Stop(5))
    resumed = run("cut")
    assert resumed.resumed_from == 3
    assert whole.log[-1]["retain_weight"] > 2
    assert resumed.log[-1]["loss"] == whole.log[-1]["loss"]
    assert resumed.log[-1]["retain_weight"] == whole.log[-1]["retain_weight"]
