"""What a step is made of, once both gradients are there."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.errors import RequestError
from unbelief.objectives import DPO, GA, NLL, NPO, GradientRule, Objective, Rectified
from unbelief.objectives import build_objective as build

VECTORS = st.lists(st.floats(-10, 10).map(lambda v: round(v, 3)), min_size=3, max_size=3)


def step(rule: GradientRule, g: Any, r: Any) -> np.ndarray:
    a, b = rule.share(float(g @ r), float(r @ r))
    return a * g + b * r


def test_by_default_both_gradients_are_summed() -> None:
    g, r = np.array([1.0, 2.0]), np.array([-3.0, 0.0])
    assert (step(Objective(GA(), NLL()).gradients, g, r) == g + r).all()


def test_projection_by_hand() -> None:
    rule = Rectified()
    # <g, r> = -2 and |r|² = 4: g + 2/4 r = (-1, 3) + (1, 0).
    assert step(rule, np.array([-1.0, 3.0]), np.array([2.0, 0.0])).tolist() == [0.0, 3.0]
    # <g, r> = +2: nothing is hurt, and r itself is no part of the step.
    assert step(rule, np.array([1.0, 3.0]), np.array([2.0, 0.0])).tolist() == [1.0, 3.0]
    # Without a retain gradient there is nothing to hurt.
    assert step(rule, np.array([1.0, 3.0]), np.zeros(2)).tolist() == [1.0, 3.0]


@given(g=VECTORS, r=VECTORS)
def test_the_step_never_raises_the_retain_loss_and_is_the_nearest_such(
    g: list[float], r: list[float]
) -> None:
    forget, retain = np.array(g), np.array(r)
    found = step(Rectified(), forget, retain)
    slack = 1e-9 * (1 + np.linalg.norm(forget) * np.linalg.norm(retain))
    assert found @ retain >= -slack
    # The conditions of the nearest point of a half space: what was added is a multiple of r that
    # is not negative, and nothing is added where the boundary is not met.
    assert (found - forget) @ retain >= -slack
    assert abs(((found - forget) @ (found - forget)) - ((found - forget) @ -forget)) <= slack * 10


def test_gru_is_built_from_text_and_described() -> None:
    assert build("gru") == Objective(GA(), NLL(), gradients=Rectified(gamma=0.8))
    assert build("gru", {"gradients.gamma": "1"}).gradients == Rectified(gamma=1.0)
    described = json.loads(json.dumps(build("gru").describe()))["gradients"]
    assert described == {"name": "rectified", "gamma": 0.8}
    assert build("ga").describe()["gradients"] == {"name": "sum"}


def test_gru_around_other_methods() -> None:
    assert build("gru", {"inner": "npo", "inner.beta": "0.2"}) == Objective(
        NPO(beta=0.2), NLL(), gradients=Rectified()
    )
    assert build("gru", {"inner": "altpo"}).forget == DPO(alternatives="model")
    around = build("gru", {"inner": "bs-s", "inner.inner": "npo", "inner.samples": 2})
    assert around == build("bs-s", {"inner": "npo", "samples": 2, "gradients": "rectified"})
    assert build("gru", {"inner": "graddiff-control"}).forget_weight == 0.8
    assert build("gru", {"inner": "ga"}) == build("gru")  # its retain term is gru's own


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("graddiff", {"gradients": "project"}, "unknown gradient rule 'project'"),
        ("graddiff", {"gradients.gamma": 1}, "unknown option of sum gradients: gradients.gamma"),
        ("gru", {"gradients.gamma": 0}, r"gradients.gamma must lie in \(0, 1\]"),
        ("gru", {"gradients.gamma": 1.1}, "gradients.gamma must lie in"),
        ("gru", {"retain_weight": 0}, "needs a retain term"),
        ("gru", {"weights": "primal-dual"}, "does not depend on α"),
        ("gru", {"inner": "npa"}, "unknown method 'npa'"),
        ("gru", {"inner": "npo", "inner.bta": 1}, "unknown option of npo: bta"),
        ("gru", {"inner.beta": 1}, "unknown option of ga: inner.beta"),
        ("ga", {"gradients": "rectified"}, "needs a retain term"),
    ],
)
def test_rules_that_cannot_be_are_refused(
    method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        build(method, options)
