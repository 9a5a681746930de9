"""Several processes, replicated or sharded, see along a run what one process sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.train.common import unlearner
from tests.train.ranks import run_ranks
from unbelief.diagnose import SqueezeTracker, TrackOptions
from unbelief.diagnose.points import Point
from unbelief.objectives import GA, NLL


def tracked(pairs: int, fsdp: bool) -> dict[int, Point]:
    """Points of a run; SGD, since Adam blows up rounding."""
    tracker = SqueezeTracker(TrackOptions(every=3, prompts=2, candidates=3, per_band=1))
    options: dict[str, Any] = {"optim": "sgd", "learning_rate": 0.1, "fsdp": fsdp}
    objective = GA() + NLL()
    unlearner(objective, hooks=[tracker], per_device_train_batch_size=pairs, **options).fit()
    return tracker.points


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [False, True], ids=["replicated", "sharded"])
def test_two_processes_track_like_one(fsdp: bool) -> None:
    alone = tracked(4, False)
    for found in run_ranks(2, tracked, 2, fsdp):
        assert found.keys() == alone.keys() == {0, 3, 6}
        for step, point in found.items():
            for one, other in zip(point.readings, alone[step].readings, strict=True):
                assert (one.record_id, one.name) == (other.record_id, other.name)
                assert one.log_prob == pytest.approx(other.log_prob, rel=1e-4)
