"""Effects along a run: points where they are due, the run unchanged, resumed as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.common import unlearner, weights
from tests.train.test_weighing import Stop
from unbelief import processes
from unbelief.diagnose import EffectTracker, EffectTrackOptions
from unbelief.diagnose.effect_document import EffectPoint, plain_point
from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.objectives import GA, KL, NLL, NPO, Objective

OBJECTIVE = NPO() + NLL()
QUICK = EffectTrackOptions(every=2, forget=4, retain=5, points=2)


def test_points_are_measured_and_the_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    tracker = EffectTracker(OBJECTIVE, QUICK)
    result = unlearner(OBJECTIVE, hooks=[tracker]).run(tmp_path / "out")
    plain = unlearner(OBJECTIVE).fit()
    for name, value in weights(plain.model.inner).items():
        assert torch.equal(value, weights(result.model.inner)[name]), name

    assert sorted(tracker.points) == [0, 2, 4, 6]
    folder, document = tracker.write()
    assert folder == tmp_path / "out.run" / "g-effect"
    assert json.loads((folder / "g_effect.json").read_text()) == document
    assert "<svg" in (folder / "g_effect.html").read_text()
    assert (document["n_forget"], document["n_retain"], document["kind"]) == (4, 5, "run")
    first, last = document["points"][0], document["points"][-1]
    assert last["forget_risk"] > first["forget_risk"]  # it is being unlearned
    assert first["effects"]["forget_term"]["on_forget_risk"] < 0
    assert len(first["pointwise"]["records"]) == 2


def test_a_run_with_an_adapter_is_measured_in_the_adapters_parameters() -> None:
    tracker = EffectTracker(GA() + KL(), QUICK)
    unlearner(GA() + KL(), hooks=[tracker], lora=LoraOptions(r=2, alpha=4), max_steps=2).fit()
    start, after = (tracker.points[step] for step in (0, 2))
    assert [p["name"] for p in start["parts"]] == ["layer 0", "layer 1"]
    assert abs(start["effects"]["retain_term"]["on_retain_risk"]) < 1e-6  # KL at the original
    assert abs(after["effects"]["retain_term"]["on_retain_risk"]) > 1e-6


def test_a_run_in_bfloat16_is_measured_in_full_precision() -> None:
    """Autocast of the run is off while gradients are taken, before the first step and later."""
    tracker, plain = EffectTracker(OBJECTIVE, QUICK), EffectTracker(OBJECTIVE, QUICK)
    result = unlearner(OBJECTIVE, hooks=[tracker], bf16=True, max_steps=2).fit()
    unlearner(OBJECTIVE, hooks=[plain], max_steps=2).fit()
    assert tracker.points[0] == plain.points[0]
    assert tracker.points[2] != plain.points[2]  # the weights went another way
    assert tracker._meter is not None and tracker._sides is not None
    again = plain_point(EffectPoint(2, "2", tracker._meter.measure(result.model)), tracker._sides)
    assert again == tracker.points[2]


def test_a_resumed_run_adds_to_what_was_measured(tmp_path: Path, tiny_folder: Path) -> None:
    def run(name: str, *hooks: Any) -> None:
        made = unlearner(OBJECTIVE, tiny_folder, hooks=hooks, save_steps=2, max_steps=4)
        made.run(tmp_path / name)

    run("whole", whole := EffectTracker(OBJECTIVE, QUICK))
    with pytest.raises(SystemExit):
        run("cut", EffectTracker(OBJECTIVE, QUICK), Stop(3))
    with pytest.raises(RequestError, match="other options"):
        run("cut", EffectTracker(OBJECTIVE, EffectTrackOptions(every=2, forget=3)))
    run("cut", cut := EffectTracker(OBJECTIVE, QUICK))
    assert cut.points == whole.points


def test_what_cannot_be_tracked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="this one is empty"):
        unlearner(Objective(GA()), hooks=[EffectTracker(OBJECTIVE, QUICK)]).fit()
    with pytest.raises(RequestError, match="nothing was measured"):
        EffectTracker(OBJECTIVE).write()
    monkeypatch.setattr(processes, "world", lambda: (0, 2))
    with pytest.raises(RequestError, match="one process"):
        EffectTracker(OBJECTIVE).prepare(None, None, False)  # type: ignore[arg-type]


def test_options_are_read_from_text() -> None:
    assert EffectTrackOptions.parse("g-effect") == EffectTrackOptions()
    assert EffectTrackOptions.parse("g-effect,every=3, points=2") == EffectTrackOptions(
        every=3, points=2
    )
    for text in ("g-effect,every=0", "g-effect,top_k=3", "g-effect,points=some"):
        with pytest.raises(RequestError):
            EffectTrackOptions.parse(text)
