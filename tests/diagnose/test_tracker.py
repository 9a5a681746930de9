"""Tracking along a run: points where they are due, the run unchanged, resumed as one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.common import FORGET, unlearner, weights
from unbelief.diagnose import CandidateSet, SqueezeTracker, TrackOptions, squeeze_index
from unbelief.diagnose.points import read_points
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.objectives import GA, NLL

OBJECTIVE = GA() + NLL()
QUICK = TrackOptions(every=2, prompts=3, candidates=4, per_band=1)


def test_points_are_measured_and_the_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    tracker = SqueezeTracker(QUICK)
    result = unlearner(OBJECTIVE, hooks=[tracker]).run(tmp_path / "out")
    plain = unlearner(OBJECTIVE).fit()
    for name, value in weights(plain.model.inner).items():
        assert torch.equal(value, weights(result.model.inner)[name]), name

    folder = tmp_path / "out.run" / "squeeze"
    assert [p.step for p in read_points(folder)] == [0, 2, 4, 6] == sorted(tracker.points)
    series = tracker.series()
    assert len(series.record_ids) == 3 and series.target.shape == (3, 4)
    assert (series.target[:, -1] < series.target[:, 0]).all()  # it is being unlearned
    whole = CandidateSet.read(folder / "candidates.parquet")
    assert len(whole.candidates) >= len(tracker.candidates.candidates) > 0  # type: ignore[union-attr]

    written, document = tracker.write()
    assert written == folder
    assert json.loads((folder / "squeeze.json").read_text()) == document
    assert "<svg" in (folder / "squeeze.html").read_text()
    means = [series.target.mean(axis=0), series.bands["high"].mean(axis=0)]
    assert document["index"]["index"]["value"] == pytest.approx(squeeze_index(*means), abs=1e-5)
    assert document["kind"] == "run" and [p["step"] for p in document["points"]] == [0, 2, 4, 6]
    texts = [r.answer for r in FORGET] + [c.text for c in whole.candidates if len(c.text) > 3]
    assert not [t for t in texts if t in json.dumps(document)]


class Stop:
    """Ends a run like a crash, after some step."""

    every = 1

    def __init__(self, after: int):
        self.after = after

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step == self.after:
            raise SystemExit("crash")


def test_a_resumed_run_adds_to_what_was_tracked(tmp_path: Path, tiny_folder: Path) -> None:
    def run(name: str, *hooks: Any) -> None:
        made = unlearner(OBJECTIVE, tiny_folder, hooks=hooks, save_steps=2, max_steps=4)
        made.run(tmp_path / name)

    run("whole", whole := SqueezeTracker(QUICK))
    with pytest.raises(SystemExit):
        run("cut", SqueezeTracker(QUICK), Stop(3))
    with pytest.raises(RequestError, match=r"with other options so far \(per_band\)"):
        run("cut", SqueezeTracker(replace(QUICK, per_band=2)))
    run("cut", resumed := SqueezeTracker(QUICK))
    assert resumed.points == whole.points
    # Nothing is left to train: what was tracked is still there.
    document = resumed.document()
    assert document["curves"] == whole.document()["curves"]


def test_tracking_cannot_begin_in_the_middle(tmp_path: Path, tiny_folder: Path) -> None:
    def run(*hooks: Any) -> None:
        made = unlearner(OBJECTIVE, tiny_folder, hooks=hooks, save_steps=1, max_steps=2)
        made.run(tmp_path / "out")

    with pytest.raises(SystemExit):
        run(Stop(2))
    with pytest.raises(RequestError, match="original model was not measured") as caught:
        run(SqueezeTracker(QUICK))
    assert "--restart" in str(caught.value.remedy)
    run()  # and the run goes on without it


def test_candidates_are_used_again(tmp_path: Path, tiny_folder: Path) -> None:
    def run(name: str, model: Path, tracker: SqueezeTracker) -> None:
        unlearner(OBJECTIVE, model, hooks=[tracker], max_steps=1).run(tmp_path / name)

    run("a", tiny_folder, SqueezeTracker(QUICK))
    file = tmp_path / "a.run" / "squeeze" / "candidates.parquet"
    again = SqueezeTracker(TrackOptions(every=1, prompts=1, reuse=str(file)))
    run("b", tiny_folder, again)
    assert again.series().record_ids == CandidateSet.read(file).meta.record_ids
    with pytest.raises(RequestError, match="another model"):
        run("c", tmp_path / "a", again)
    assert not (tmp_path / "c").exists() and not (tmp_path / "c.run").exists()


def test_a_tracker_needs_a_run() -> None:
    with pytest.raises(RequestError, match="was not measured"):
        SqueezeTracker().series()


def test_options_in_words() -> None:
    assert TrackOptions.parse("squeeze") == TrackOptions()
    assert TrackOptions.parse("squeeze, every=3,prompts=5,responses=r.jsonl") == TrackOptions(
        every=3, prompts=5, responses="r.jsonl"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss", "nothing called 'loss'"),
        ("squeeze,steps=3", "is not one of its options"),
        ("squeeze,every", "is not one of its options"),
        ("squeeze,every=3,every=4", "is given twice"),
        ("squeeze,every=often", "not a whole number"),
        ("squeeze,every=0", "every=0"),
        ("squeeze,candidates=1", "cannot be cut into bands"),
    ],
)
def test_wrong_options(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        TrackOptions.parse(text)
    assert caught.value.remedy
