"""UA, RA, TA, MIA and Gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vision.published import INCONSISTENT, TABLE
from unbelief.vision.measures import GAP_PARTS, Seen, Share, gap, measure, membership
from unbelief.vision.scenario import Scenario, hierarchy

LINES = [line.split() for line in TABLE.strip().splitlines()]
REFERENCES = {tuple(line[:2]): line[3:7] for line in LINES if line[2] == "Retrained"}
PRINTED = [tuple(line[:3]) for line in LINES if line[2] != "Retrained"]
CONSISTENT = [key for key in PRINTED if key not in INCONSISTENT]


def of_line(key: tuple[str, ...]) -> tuple[float, float]:
    """Printed and computed Gap."""
    line = next(one for one in LINES if tuple(one[:3]) == key)
    values, wanted = line[3:7], REFERENCES[key[:2]]
    computed = gap(
        {k: float(v) for k, v in zip(GAP_PARTS, values, strict=True)},
        {k: float(v) for k, v in zip(GAP_PARTS, wanted, strict=True)},
    ).value
    assert computed is not None
    return float(line[7]), computed


def test_the_published_table_is_whole() -> None:
    assert len(LINES) == 80 and len(PRINTED) == 72  # 2 data sets x 4 relations x (1 + 9)
    assert len(CONSISTENT) == 66


@pytest.mark.parametrize("key", CONSISTENT, ids="/".join)
def test_published_gaps(key: tuple[str, ...]) -> None:
    printed, computed = of_line(key)
    assert computed == pytest.approx(printed, abs=0.01)  # all cells are printed with two digits


@pytest.mark.parametrize("key", list(INCONSISTENT), ids="/".join)
def test_published_gaps_that_do_not_follow_from_their_line(key: tuple[str, str, str]) -> None:
    printed, computed = of_line(key)
    assert printed == INCONSISTENT[key][0]
    assert computed == pytest.approx(INCONSISTENT[key][1], abs=0.006)
    assert computed != pytest.approx(printed, abs=0.01)


def test_gap_shows_signs_and_says_what_is_missing() -> None:
    model = {"UA": 1.0, "RA": 90.0, "TA": 80.0, "MIA": 98.0}
    retrained = {"UA": 0.0, "RA": 94.0, "TA": 80.0, "MIA": 99.0}
    found = gap(model, retrained)
    assert found.deltas == {"UA": 1.0, "RA": -4.0, "TA": 0.0, "MIA": -1.0}
    assert found.value == 1.5  # (1 + 4 + 0 + 1) / 4
    without = gap({**model, "MIA": None}, retrained)
    assert without.value is None and without.unscored == "MIA could not be computed"
    assert without.deltas["RA"] == -4.0


@given(st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_gap_to_oneself_is_zero(values: list[float]) -> None:
    model = dict(zip(GAP_PARTS, values, strict=True))
    assert gap(model, model).value == 0


def test_the_attack_tells_seen_from_unseen() -> None:
    drawn = np.random.default_rng(0)
    member, other = drawn.uniform(0.9, 1, 60), drawn.uniform(0, 0.1, 50)
    unknown = membership(member, other, np.full(20, 0.02))
    known = membership(member, other, np.full(20, 0.97))
    assert unknown.efficacy == Share(20, 20)  # all taken for non-members
    assert known.efficacy == Share(0, 20)
    assert unknown.accuracy == Share(100, 100)  # 50 of each kind: the larger set is cut


def test_the_attack_is_the_reference_support_vector_machine() -> None:
    from sklearn.svm import SVC

    drawn = np.random.default_rng(1)
    member, other, target = drawn.beta(5, 1, 40), drawn.beta(2, 1, 40), drawn.uniform(0, 1, 30)
    # order of equal-sized shadow sets does not matter to the machine
    features = np.concatenate([member, other])[:, None]
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(features, [1] * 40 + [0] * 40)
    wanted = int((machine.predict(target[:, None]) == 0).sum())
    assert membership(member, other, target, seed=7).efficacy == Share(wanted, 30)


def test_an_attack_that_cannot_be_made_says_so() -> None:
    few = membership(np.ones(3), np.ones(9), np.ones(4))
    assert few.efficacy.percent is None and few.efficacy.unscored == "fewer than 5 shadow images"
    broken = membership(np.full(9, np.nan), np.ones(9), np.ones(4))
    assert broken.efficacy.unscored == "confidences not finite"
    assert membership(np.ones(9), np.ones(9), np.ones(0)).efficacy.percent is None


def test_sets_and_signs_of_all_numbers() -> None:
    # Classes 0 1 below X, 2 3 below Y; ten training and ten test images of each.
    labels = np.repeat([0, 1, 2, 3], 10)
    scenario = Scenario("target-mismatch", hierarchy({"X": "ab", "Y": "cd"}), (0,))
    logits = np.eye(4)[labels] * 9
    logits[labels == 0] = [0, 9, 0, 0]  # the given class is always called 1
    logits[30:35] = [9, 0, 0, 0]  # half of class 3 is called 0
    seen = Seen(logits, labels)
    split = scenario.split(labels)
    found = measure(seen, seen, split, split)
    assert found["UA"] == Share(10, 20)  # of classes 0 and 1, class 1 is right
    assert found["UA_given"] == Share(0, 10) and found["UA_not_given"] == Share(10, 10)
    assert found["RA"] == Share(15, 20) and found["TA"] == Share(15, 20)
    assert found["TA_full"] == Share(25, 40)
    assert found["siblings"].percent is None and found["siblings"].unscored


def test_numbers_of_a_broken_model_are_unscored() -> None:
    labels = np.repeat([0, 1, 2, 3], 10)
    scenario = Scenario("all-matched", hierarchy({"X": "ab", "Y": "cd"}), (0,))
    seen = Seen(np.full((40, 4), np.nan), labels)
    found = measure(seen, seen, scenario.split(labels), scenario.split(labels))
    assert found["UA"].percent is None and found["UA"].unscored
    assert found["MIA"].percent is None
