"""Both diagnoses on a small trained model and TOFU's own questions."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbelief.data import read_records
from unbelief.diagnose import (
    AkgRequest,
    CandidateSet,
    ProposeOptions,
    SqueezeRequest,
    run_akg,
    run_squeeze,
)
from unbelief.objectives import BSS, BST, GA, Objective


def test_the_retrained_model_is_less_sure_of_every_target(shared_dir: Path, tmp_path: Path) -> None:
    models = shared_dir / "models" / "tofu-tiny"
    result = run_squeeze(
        SqueezeRequest(
            original=str(models / "full"),
            models=(str(models / "retain90"),),
            forget=shared_dir / "data" / "tofu" / "forget10.jsonl",
            prompts=3,
            propose=ProposeOptions(candidates=5, max_new_tokens=40),
            device="cpu",
        ),
        tmp_path / "out",
        progress=False,
    )
    document = result.document
    for prompt in document["prompts"]:
        assert prompt["target"][1] < prompt["target"][0] - 0.5
    assert document["curves"]["entropy"][1]["value"] > document["curves"]["entropy"][0]["value"]
    candidates = CandidateSet.read(result.output / "candidates.parquet")
    assert candidates.meta.targets >= 2  # it recites most answers, so they are among its best
    assert all(c.text for c in candidates.candidates)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [Objective(GA()), Objective(BST()), Objective(BSS(samples=2, max_new_tokens=30))],
    ids=lambda o: o.forget.name,
)
def test_one_step_is_predicted_to_second_order(shared_dir: Path, objective: Objective) -> None:
    records = read_records(shared_dir / "data" / "tofu" / "forget01.jsonl")[:3]
    document = run_akg(
        AkgRequest(
            model=str(shared_dir / "models" / "tofu-tiny" / "full"),
            forget=records,
            objective=objective,
            candidates=4,
            others=1,
            device="cpu",
        )
    )
    assert document["error_order"] == pytest.approx(2, abs=0.1)
    assert document["residual_sum"] < 1e-12 and document["closed_form_gap"] < 1e-12
