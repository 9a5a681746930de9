"""How γ and α move."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.errors import RequestError
from unbelief.objectives import GA, NLL, Objective, PrimalDual, Schedule, WeightRule
from unbelief.objectives import build_objective as build


def test_constant_weights_stay() -> None:
    rule = Objective(GA()).weights
    assert rule == WeightRule()
    assert rule.forget_factor(0.9) == 1
    assert rule.next_retain_weight(0.3, 100.0, 7) == 0.3


def test_a_schedule_falls_in_a_line_and_is_never_negative() -> None:
    # TARF with T = 10, t_0 = 2, k = 0.5: k(0) = 0.40, k(7) = 0.05, k(8) = k(9) = 0.
    k = [0.5 * Schedule(tail=0.2).forget_factor(t / 10) for t in range(10)]
    assert [k[0], k[7], k[8], k[9]] == pytest.approx([0.40, 0.05, 0, 0])
    assert min(k) >= 0


def test_dual_ascent_by_hand() -> None:
    rule = PrimalDual(bound=0.3, step=2.0, warmup_epochs=1)
    assert rule.next_retain_weight(1.0, 9.0, 1.0) == 1.0  # the warm-up's last step
    assert rule.next_retain_weight(1.0, 0.8, 1.5) == pytest.approx(2.0)  # 1 + 2 · 0.5
    assert rule.next_retain_weight(0.1, 0.2, 1.5) == 0  # 0.1 - 0.2 < 0


@given(
    weight=st.floats(0, 100), loss=st.floats(0, 50), bound=st.floats(0, 5), step=st.floats(0.01, 5)
)
def test_the_multiplier_rises_exactly_where_the_constraint_is_broken(
    weight: float, loss: float, bound: float, step: float
) -> None:
    following = PrimalDual(bound=bound, step=step, warmup_epochs=0).next_retain_weight(
        weight, loss, 1
    )
    assert following >= 0
    assert following >= weight if loss >= bound else following <= weight


def test_rules_are_built_from_text_and_described() -> None:
    objective = build("graddiff", {"weights": "primal-dual", "weights.bound": "0.5"})
    assert objective == Objective(GA(), NLL(), weights=PrimalDual(bound=0.5))
    assert build("ga", {"weights": "schedule", "weights.tail": 0}).weights == Schedule(tail=0)
    described = json.loads(json.dumps(objective.describe()))["weights"]
    assert described == {"name": "primal-dual", "bound": 0.5, "step": 1.0, "warmup_epochs": 5.0}


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("graddiff", {"weights": "dual"}, "unknown weight rule 'dual'"),
        ("graddiff", {"weights.tail": 1}, "unknown option of constant weights: weights.tail"),
        ("graddiff", {"weights": "schedule", "weights.tail": 1}, r"weights.tail must lie in"),
        (
            "graddiff",
            {"weights": "primal-dual", "weights.step": 0},
            "weights.step must be positive",
        ),
        ("graddiff", {"weights": "primal-dual", "weights.bound": -1}, "must not be negative"),
        ("graddiff", {"weights": "primal-dual", "retain_weight": 0}, "needs a retain term"),
        ("ga", {"weights": "primal-dual"}, "needs a retain term"),
    ],
)
def test_rules_that_cannot_be_are_refused(
    method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        build(method, options)
