"""Beliefs of an average of the weights along the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import tiny_model
from tests.train.common import largest_difference, unlearner, weights
from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.objectives import BSS, BST, NLL, Objective
from unbelief.tokens import Row
from unbelief.train.average import BeliefAverage, average_of
from unbelief.train.checks import check_options
from unbelief.train.options import TrainOptions
from unbelief.train.reference import ReferenceCache
from unbelief.train.step import StepLoss, Tally

NEEDS = Needs(top_k=4, beliefs_from="average", decay=0.75)
STRONG = {"weight": 0.8, "top_k": 3}


def losses(objective: Objective, **options: Any) -> list[float]:
    return [e["loss"] for e in unlearner(objective, **options).fit().log]


def shifted(model: torch.nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by


def test_the_average_follows_by_hand() -> None:
    """θ_0 = w, θ_1 = w + 1, θ_2 = w + 2, d = 3/4: averages w + 1/4 and w + 11/16."""
    model = AnswerModel(tiny_model())
    average = BeliefAverage(model, NEEDS)
    start = weights(tiny_model())
    for expected in (0.25, 0.6875):
        shifted(model.inner, 1.0)
        average.follow()
        found = weights(average.model.inner)
        assert all(torch.allclose(found[n], start[n] + expected, atol=1e-6) for n in start)


def test_beliefs_are_those_of_the_averaged_model() -> None:
    model = AnswerModel(tiny_model())
    average = average_of(model, NEEDS)
    assert average is not None
    shifted(model.inner, 0.3)
    rows = [Row("a", "target", (5, 6, 7), (8, 9)), Row("b", "target", (5, 7), (10, 11, 12))]
    ids, logp = average.beliefs(rows, 2.0)
    twin = AnswerModel(tiny_model()).stats(rows, Needs(top_k=4), temperature=2.0)
    assert twin.topk_ids is not None and torch.equal(ids, twin.topk_ids)
    torch.testing.assert_close(logp, twin.topk_logp)


def test_small_steps_are_not_lost_in_low_precision() -> None:
    """1/100 of 1/64 is far below the spacing of bfloat16 at 1 (1/128)."""
    model = AnswerModel(tiny_model().to(torch.bfloat16))
    with torch.no_grad():
        for parameter in model.inner.parameters():
            parameter.fill_(1.0)
    average = BeliefAverage(model, Needs(top_k=1, beliefs_from="average", decay=0.99))
    shifted(model.inner, 1 / 64)
    for _ in range(300):
        average.follow()
    # 1/64 (1 - 0.99^300) = 0.95/64, which bfloat16 rounds to 1/64.
    found = weights(average.model.inner).values()
    assert all(torch.equal(t.float(), torch.full_like(t.float(), 1 + 1 / 64)) for t in found)


def test_frozen_parameters_are_shared() -> None:
    base = LoadedModel(
        model=tiny_model(), tokenizer=None, source="tiny", revision=None,
        weights_sha256="0", dtype="float32", pad_id=0, pad_is_end=False,
    )  # fmt: skip
    model = AnswerModel(add_lora(base.model, LoraOptions(r=2, alpha=4)))
    average = BeliefAverage(model, NEEDS)
    twins = dict(average.model.inner.named_parameters())
    for name, parameter in model.inner.named_parameters():
        same = twins[name].data_ptr() == parameter.data_ptr()
        assert same != parameter.requires_grad, name


@pytest.mark.parametrize("lora", [None, LoraOptions(r=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize(
    ("decay", "same_as"),
    [(1.0, BST(beliefs_from="reference", **STRONG)), (0.0, BST(**STRONG))],
    ids=["frozen", "policy"],
)
def test_both_ends_are_the_frozen_beliefs_and_the_policys_own(
    decay: float, same_as: BST, lora: LoraOptions | None
) -> None:
    options: dict[str, Any] = {"learning_rate": 3e-3, "lora": lora}
    averaged = BST(beliefs_from="average", average_decay=decay, **STRONG)
    found = losses(averaged + NLL(), **options)
    assert found == pytest.approx(losses(same_as + NLL(), **options), rel=1e-5)


def test_in_between_it_is_neither() -> None:
    options = {"learning_rate": 3e-3}
    ends = [BST(beliefs_from="reference", **STRONG), BST(**STRONG)]
    between = losses(BST(beliefs_from="average", average_decay=0.5, **STRONG) + NLL(), **options)
    for end in ends:
        other = losses(end + NLL(), **options)
        assert between[0] == pytest.approx(other[0], rel=1e-6)  # nothing has moved yet
        assert between[-1] != pytest.approx(other[-1], rel=1e-4)


@pytest.mark.parametrize("around", [False, True], ids=["alone", "in bs-s"])
def test_a_resumed_run_goes_on_with_its_average(
    around: bool, tiny_folder: Path, tmp_path: Path
) -> None:
    term: Any = BST(beliefs_from="average", average_decay=0.5, **STRONG)
    if around:
        term = BSS(inner=term, samples=2, max_new_tokens=4)

    class Stop(Exception):
        pass

    class Stopper:
        every = 1

        def __call__(self, step: int, model: AnswerModel) -> None:
            if step == 5:
                raise Stop

    def run(name: str, *hooks: Any) -> Any:
        made = unlearner(term + NLL(), tiny_folder, hooks=hooks, save_steps=3, learning_rate=3e-3)
        return made.run(tmp_path / name)

    whole = run("whole")
    with pytest.raises(Stop):
        run("cut", Stopper())
    resumed = run("cut")
    assert resumed.resumed_from == 3
    assert resumed.log == whole.log[-len(resumed.log) :]
    assert largest_difference(weights(whole.model.model), weights(resumed.model.model)) == 0


def test_without_a_run_there_is_no_average() -> None:
    objective = Objective(BST(beliefs_from="average"))
    cache = ReferenceCache(objective.forget.needs)
    assert not cache.wanted  # nothing of the original is computed for it
    loss = StepLoss(AnswerModel(tiny_model()), objective, cache, None, Tally())
    with pytest.raises(RequestError, match="only while a run trains"):
        loss([Row("a", "target", (5, 6), (8, 9))], {})


def test_sharded_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbelief.processes.world", lambda: (0, 2))
    options, objective = TrainOptions(fsdp=True), Objective(BST(beliefs_from="average"))
    with pytest.raises(RequestError, match="needs whole weights, and these are sharded"):
        check_options(options, objective, None, True, None)
