"""Points to curves, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.diagnose.common import candidate, candidate_set
from unbelief.diagnose.points import Point, Reading, point_file, read_points
from unbelief.diagnose.series import series_of
from unbelief.errors import RequestError

CANDIDATES = candidate_set(
    [
        candidate("a", record_id="f0", rank=0, band="high"),
        candidate("b", record_id="f0", rank=1, band="low"),
        candidate("c", record_id="f0", rank=2, band="low"),
        candidate("d", record_id="f1", rank=0, band="high"),
    ],
    ("f0", "f1", "f2"),
)


def reading(record: str, name: str, log_prob: float, tokens: int = 2, **more: Any) -> Reading:
    role = "target" if name == "target" else "candidate" if name.isdigit() else "response"
    values: dict[str, Any] = {"own_log_prob": log_prob / 2, "own_tokens": 1} | more
    if role == "target":
        values |= {"own_log_prob": None, "own_tokens": None}
    return Reading(
        record_id=record, role=role, name=name, log_prob=log_prob, tokens=tokens, **values
    )


def point(step: int, shift: float = 0.0) -> Point:
    return Point(
        step=step,
        label=str(step),
        readings=(
            reading("f0", "target", -2.0 - shift, mass=0.9, entropy=0.5),
            reading("f1", "target", -6.0, mass=0.8, entropy=0.4),
            reading("f2", "target", -8.0, mass=0.7, entropy=0.3),
            reading("f0", "0", -4.0 + shift),
            reading("f0", "1", -6.0, tokens=3),
            reading("f0", "2", -8.0, tokens=8, own_log_prob=None, own_tokens=None),
            reading("f1", "0", -1.0, tokens=1),
            reading("f1", "no", -10.0, tokens=5),
            reading("f1", "no", -20.0, tokens=5),
        ),
    )


def test_curves_by_hand() -> None:
    series = series_of([point(10, 1.0), point(0)], CANDIDATES, {"f0": "g", "f2": None})
    nan = math.nan
    assert series.steps == (0, 10) and series.labels == ("0", "10")
    assert series.groups == ("g", None, None)
    # f0: -2 / 2 and -3 / 2 per token
    np.testing.assert_allclose(series.target, [[-1, -1.5], [-3, -3], [-4, -4]])
    np.testing.assert_allclose(series.bands["high"], [[-2, -1.5], [-1, -1], [nan, nan]])
    # mean of -6 / 3 and -8 / 8
    np.testing.assert_allclose(series.bands["low"][0], [-1.5, -1.5])
    # own parts: half of the sum on one token; f0's second in low has none
    np.testing.assert_allclose(series.own["high"], [[-2, -1.5], [-0.5, -0.5], [nan, nan]])
    np.testing.assert_allclose(series.own["low"][0], [-3, -3])
    assert series.pair("own")[1] is series.own["high"]
    assert series.pair("probability") == (series.target_mass, series.band_masses["high"])
    # 1 of 2 and 0 of 1 tokens shared in high; 2 of 3 and 8 of 8 in low
    assert series.shared["high"] == 0.25
    assert series.shared["low"] == pytest.approx((2 / 3 + 1) / 2)
    np.testing.assert_allclose(series.bands["mid"], np.full((3, 2), nan))
    # mean of -10 / 5 and -20 / 5
    np.testing.assert_allclose(series.responses["no"], [[nan] * 2, [-3, -3], [nan] * 2])
    np.testing.assert_allclose(series.target_mass[0], np.exp([-2.0, -3.0]))
    np.testing.assert_allclose(series.band_masses["low"][0], [np.exp(-6) + np.exp(-8)] * 2)
    assert np.isnan(series.band_masses["high"][2]).all()
    np.testing.assert_allclose(series.belief_mass[:, 0], [0.9, 0.8, 0.7])
    np.testing.assert_allclose(series.entropy[:, 1], [0.5, 0.4, 0.3])
    assert list(series.scored()) == list(series.scored("own")) == [True, True, False]


def test_points_in_files_come_back_as_they_were(tmp_path: Path) -> None:
    point(10, 1.0).write(tmp_path)
    point(0).write(tmp_path)
    point(10, 2.0).write(tmp_path)  # measured again
    found = read_points(tmp_path)
    assert [p.step for p in found] == [0, 10]
    assert found[1].readings[0].log_prob == -4.0
    assert found[0] == point(0)
    assert found[0].label == "0" and found[0].weights_sha256 is None


def test_a_damaged_point_is_refused(tmp_path: Path) -> None:
    point_file(tmp_path, 0).write_bytes(b"?")
    with pytest.raises(RequestError, match="damaged"):
        read_points(tmp_path)


def test_nothing_is_compared_without_the_original() -> None:
    with pytest.raises(RequestError, match="original model was not measured"):
        series_of([point(10)], CANDIDATES, {})
