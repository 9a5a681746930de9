"""Forget and retain gradients kept apart: the projection, its memory, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import tiny_model
from tests.train.common import FORGET, RETAIN, largest_difference, loaded, unlearner, weights
from tests.train.test_weighing import Stop
from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.objectives import GA, NLL, Objective, Rectified
from unbelief.objectives.base import ForgetTerm, Level
from unbelief.tokens import Encoder, Row
from unbelief.train.checks import check_options
from unbelief.train.gradients import Gradients, inner_product
from unbelief.train.options import TrainOptions
from unbelief.train.step import Tally
from unbelief.unlearner import UnlearnResult

GRU = Objective(GA(), NLL(), gradients=Rectified(gamma=1.0))
SGD = {"optim": "sgd", "weight_decay": 0.0, "max_grad_norm": 0.0, "learning_rate": 0.01,
       "lr_scheduler_type": "constant", "max_steps": 1}  # fmt: skip


def plain_gradients(n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of mean log π over the first n forget records, and of mean −log π over retain records."""
    given = loaded()
    encoder = Encoder(given.tokenizer)
    found = []
    for records, sign in ((FORGET[:n], 1.0), (RETAIN[:n], -1.0)):
        model: Any = tiny_model()
        for record in records:
            e = encoder.encode(record)
            ids = torch.tensor([[*e.prompt_ids, *e.answer_ids]])
            logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            own = logp.gather(1, ids[0, 1:, None])[-len(e.answer_ids) :]
            (sign * own.mean() / n).backward()
        found.append({k: p.grad for k, p in model.named_parameters()})
    return found[0], found[1]


def step_of(result: UnlearnResult) -> dict[str, Tensor]:
    """The gradient that one step of plain SGD was made with."""
    before, after = weights(tiny_model()), weights(result.model.model)
    return {k: (before[k] - after[k]) / SGD["learning_rate"] for k in before}


def dot(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return inner_product((a[k], b[k]) for k in a)


@pytest.fixture
def all_rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One step over all six pairs, whose retain rows are the first six."""
    from unbelief.train.plan import Plan

    monkeypatch.setattr(Plan, "retain_indices", lambda self, step: list(range(6)))
    return {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1, **SGD}


def test_a_step_is_the_projection_of_plain_gradients(all_rows: dict[str, Any]) -> None:
    g, r = plain_gradients(6)
    assert dot(g, r) < 0, "there is nothing to project"
    result = unlearner(GRU, **all_rows).fit()
    share = -dot(g, r) / dot(r, r)
    expected = {k: g[k] + share * r[k] for k in g}
    found = step_of(result)
    assert largest_difference(found, expected) < 1e-4
    # Orthogonal to the retain gradient, up to the rounding of fp32 weights.
    assert abs(dot(found, r)) < 1e-3 * abs(dot(g, r))
    cosine = dot(g, r) / (dot(g, g) * dot(r, r)) ** 0.5
    assert result.log[0]["gradient_cosine"] == pytest.approx(cosine, rel=1e-4)
    assert result.log[0]["projected"] == 1


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_accumulation_changes_nothing(rows: int, all_rows: dict[str, Any]) -> None:
    whole = unlearner(GRU, **all_rows).fit()
    cut = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 6 // rows}
    apart = unlearner(GRU, **{**all_rows, **cut}).fit()
    assert largest_difference(step_of(whole), step_of(apart)) < 1e-4
    assert apart.log[0]["loss"] == pytest.approx(whole.log[0]["loss"], rel=1e-5)


def test_direct_gradients_of_both_sides_stay_apart(
    all_rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head adds to `.grad` by itself in one process; without that, the step is the same."""
    from unbelief.train.trainer import UnlearnTrainer

    direct = unlearner(GRU, **all_rows).fit()
    monkeypatch.setattr(UnlearnTrainer, "_one_process", False)
    handed = unlearner(GRU, **all_rows).fit()
    assert largest_difference(step_of(direct), step_of(handed)) < 1e-4


class NoConflict(ForgetTerm):
    """Forgetting that is keeping: both gradients point the same way."""

    name, level, source = "no-conflict", "token", "none"
    level: Level

    def values(self, stats: Any) -> Tensor:
        return -stats.logp


def test_without_a_conflict_only_the_forget_gradient_is_used(all_rows: dict[str, Any]) -> None:
    g, r = ({k: -v for k, v in plain_gradients(6)[0].items()}, plain_gradients(6)[1])
    assert dot(g, r) > 0
    result = unlearner(Objective(NoConflict(), NLL(), gradients=Rectified(gamma=1.0)), **all_rows)
    fitted = result.fit()
    assert largest_difference(step_of(fitted), g) < 1e-4
    assert fitted.log[0]["projected"] == 0 and fitted.log[0]["gradient_cosine"] > 0


def linear(value: list[float]) -> Any:
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([value])
    return model


def test_moving_average_by_hand() -> None:
    tally, kept = Tally(), Gradients(Rectified(gamma=0.75))
    model = linear([4.0, 0.0])
    kept.after(0, model, tally)
    assert model.weight.grad is None  # it is not part of the step
    model.weight.grad = torch.tensor([[-1.0, 5.0]])
    kept.after(1, model, tally)
    # r = (4, 0); <g, r> = -4, |r|² = 16: g + r/4 = (0, 5).
    assert model.weight.grad.tolist() == [[0.0, 5.0]]
    model.weight.grad = torch.tensor([[0.0, 4.0]])
    kept.after(0, model, tally)
    model.weight.grad = torch.tensor([[-9.0, 0.0]])
    kept.after(1, model, tally)
    # r = 1/4 (4, 0) + 3/4 (0, 4) = (1, 3); <g, r> = -9, |r|² = 10: g + 0.9 r = (-8.1, 2.7).
    assert model.weight.grad.flatten().tolist() == pytest.approx([-8.1, 2.7])
    assert tally.take()["projected"] == 1.0


def test_a_parameter_that_one_side_does_not_touch() -> None:
    tally, kept = Tally(), Gradients(Rectified(gamma=1.0))
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1))
    first, second, bias = model[0].weight, model[1].weight, model[1].bias
    first.grad, second.grad = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    kept.after(0, model, tally)
    first.grad, bias.grad = torch.tensor([[-5.0]]), torch.tensor([7.0])
    kept.after(1, model, tally)
    # <g, r> = -5 over what both have, |r|² = 5: one whole r is added, also where g has nothing.
    assert (first.grad.item(), second.grad.item(), bias.grad.item()) == (-4.0, 2.0, 7.0)


def test_passes_hold_every_row_once() -> None:
    def row(key: str, kind: Any) -> Row:
        return Row(key, kind, (1,), (2,))

    batches = [(row("a", "target"), row("b", "retain")), (row("c", "retain"),)]
    retain, forget = Gradients(Rectified()).passes(batches)
    assert [[r.key for r in m] for m in retain] == [["b"], ["c"]]
    assert [[r.key for r in m] for m in forget] == [["a"]]
    (only,) = Gradients(Objective(GA()).gradients).passes(batches)
    assert [[r.key for r in m] for m in only] == [["a", "b"], ["c"]]


def test_inner_products_are_of_double_precision() -> None:
    # 2^24 + 1 is lost in fp32; 1 + 2^24 - 2^24 is not in fp64.
    a = torch.tensor([1.0, 2.0**24, -(2.0**24)])
    assert inner_product([(a, torch.ones(3)), (torch.ones(1), torch.ones(1))]) == 2.0
    assert inner_product([]) == 0.0


@pytest.mark.parametrize("lora", [None, LoraOptions(r=2, alpha=4)], ids=["weights", "lora"])
def test_a_run_that_was_cut_ends_where_a_whole_one_does(
    tmp_path: Path, tiny_folder: Path, lora: LoraOptions | None
) -> None:
    """The moving average comes back bit for bit."""
    objective = Objective(GA(), NLL(), gradients=Rectified(gamma=0.3))

    def run(name: str, *hooks: Stop) -> UnlearnResult:
        made = unlearner(objective, tiny_folder, hooks=hooks, save_steps=3, lora=lora)
        return made.run(tmp_path / name)

    whole = run("whole")
    with pytest.raises(SystemExit):
        run("cut", Stop(5))
    resumed = run("cut")
    assert resumed.resumed_from == 3
    assert whole.log[-1]["projected"] == 1
    assert resumed.log == whole.log[-len(resumed.log) :]
    assert resumed.provenance["output_weights_sha256"] == whole.provenance["output_weights_sha256"]


def test_sharded_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbelief.processes.world", lambda: (0, 2))
    with pytest.raises(RequestError, match="these are sharded"):
        check_options(TrainOptions(fsdp=True), GRU, None, True, None)
    check_options(TrainOptions(fsdp=True), GA() + NLL(), None, True, None)
