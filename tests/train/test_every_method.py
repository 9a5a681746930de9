"""Every method there is trains a tiny model to the end; new ones are found, not listed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers import tiny_model
from tests.train.common import PEOPLE, largest_difference, unlearner, weights
from unbelief.objectives import build_objective, methods

# What would ask for more than a tiny model has, or take long.
SMALL: dict[str, dict[str, Any]] = {
    "bs-s": {"samples": 2, "max_new_tokens": 6},
    "bs-s-on-policy": {"samples": 2, "max_new_tokens": 6},
    "altpo": {"samples": 2, "max_new_tokens": 6},
    "rmu": {"layer": 0},
    "transplant": {"neighbours": 2, "samples": 2, "per_step": 2, "max_new_tokens": 6},
}


@pytest.mark.parametrize("name", methods())
def test_a_method_runs_to_the_end(name: str) -> None:
    objective = build_objective(name, SMALL.get(name))
    run = unlearner(objective, max_steps=2, warmup_epochs=0)
    if name == "transplant":
        run = replace(run, retain=PEOPLE)  # neighbours are questions of the same kind
    result = run.fit()
    assert [entry["step"] for entry in result.log] == [1, 2]
    assert all(math.isfinite(entry["loss"]) for entry in result.log)
    assert largest_difference(weights(result.model.model), weights(tiny_model())) > 0
