"""Results of several models as one series."""

from __future__ import annotations

import pytest

from unbelief.errors import RequestError
from unbelief.evaluate.results import LineResult, Results
from unbelief.evaluate.series import series
from unbelief.types import Estimate


def results(split: str, value: float | None, convention: str = "muse") -> Results:
    estimate = Estimate(
        value=value,
        low=None,
        high=None,
        n=4,
        n_unscored=0,
        unit="share",
        convention=convention,
        version=1,
        interval="",
    )
    return Results(
        suite="muse",
        described={"split": split},
        sets={},
        convention=convention,
        encoding={},
        choices={},
        lines=(LineResult(name="utility_preservation", how="rougeL_f1", estimate=estimate),),
    )


def test_steps_are_ordered_and_compared_with_the_first():
    found = series([results("scal/forget_10", 0.25), results("scal/forget_2", 0.5)])
    assert [(s.step, s.estimate.value, s.change) for s in found] == [(2, 0.5, 0), (10, 0.25, -0.25)]
    missing = series([results("sust/forget_1", 0.5), results("sust/forget_2", None)])
    assert missing[1].change is None


@pytest.mark.parametrize(
    "several",
    [
        [],
        [results("forget", 0.5)],
        [results("scal/forget_1", 0.5), results("sust/forget_2", 0.5)],
        [results("scal/forget_1", 0.5), results("scal/forget_2", 0.5, "unbelief")],
    ],
    ids=["nothing", "no series", "two series", "two conventions"],
)
def test_what_is_no_series_is_refused(several: list[Results]):
    with pytest.raises(RequestError, match="not the steps of one series"):
        series(several)


def test_a_step_is_there_once():
    with pytest.raises(RequestError, match="step 1 is there twice"):
        series([results("scal/forget_1", 0.5)] * 2)
