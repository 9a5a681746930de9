"""Lines to statistics, on scores made by hand."""

from __future__ import annotations

import pytest

from unbelief.evaluate.scoring import OtherModel, compare_examples, score_suite
from unbelief.measure.tables import Example
from unbelief.suites.base import Choices, Suite
from unbelief.suites.lines import item_line, set_line
from unbelief.types import Record, Score

CHOICES = Choices()
LINES = (
    item_line("p", "probability", "forget", CHOICES),
    item_line("q", "probability", "retain", CHOICES),
    item_line("accuracy", "choice_accuracy", "forget", CHOICES),
    set_line("both", "harmonic_mean", ("p", "q"), CHOICES),
    set_line("away", "distance_to_retrained", ("p",), CHOICES),
    set_line("relative", "model_utility_normalised", ("p",), CHOICES),
)
SUITE = Suite(
    name="made", sets={"forget": (), "retain": ()}, lines=LINES, absent={"retain": "none given"}
)


def scores(*values: float | None, prefix: str = "f") -> tuple[Score, ...]:
    return tuple(
        Score(v, None if v is not None else "why", f"{prefix}{i}") for i, v in enumerate(values)
    )


ITEMS = {
    "p": scores(0.2, 0.4, None),
    "q": scores(0.1, 0.5, prefix="r"),
    "accuracy": scores(1.0, 0.0, 1.0),
}


def test_means_rates_and_aggregates():
    found = score_suite(SUITE, ITEMS).statistics
    assert found["p"].value == pytest.approx(0.3)
    assert (found["p"].n, found["p"].n_unscored, found["p"].reasons) == (2, 1, {"why": 1})
    assert found["both"].value == pytest.approx(0.3)  # harmonic mean of 0.3 and 0.3
    # Two of three: the exact binomial interval (Clopper-Pearson) is 0.0943 to 0.9916.
    assert found["accuracy"].bounds == pytest.approx((0.0943, 0.9916), abs=1e-4)


def test_without_another_model_comparisons_say_so():
    found = score_suite(SUITE, ITEMS)
    assert found.distances == {} and found.references == {}
    assert "there is no retrained model" in next(iter(found.statistics["away"].reasons))
    assert "original model" in next(iter(found.statistics["relative"].reasons))


def test_distances_are_this_model_minus_the_retrained_one():
    other = OtherModel(scores={**ITEMS, "p": scores(0.1, 0.1, 0.1)})
    found = score_suite(SUITE, ITEMS, retrained=other)
    assert found.distances["p"].value == pytest.approx(0.2)
    assert found.distances["accuracy"].value == 0
    assert found.statistics["away"].value == pytest.approx(0.2)
    assert "away" not in found.distances
    assert found.references["away"].value == 0  # the retrained model compared with itself
    # One number of 0.1 and 0.3: 2 / (10 + 10/3) = 0.15; 0.3 - 0.15
    assert found.distances["both"].value == pytest.approx(0.15)


def test_what_the_other_model_lacks_is_named():
    other = OtherModel(scores={"p": ITEMS["p"]}, unusable={"q": "computed otherwise"})
    found = score_suite(SUITE, ITEMS, retrained=other)
    assert list(found.distances["q"].reasons) == ["the retrained model: computed otherwise"]
    assert "no such line" in next(iter(found.distances["accuracy"].reasons))
    assert found.distances["both"].value is None


def test_the_original_model_is_not_the_retrained_one():
    retrained = OtherModel(scores={**ITEMS, "p": scores(0.1, 0.1, 0.1)})
    original = OtherModel(scores={**ITEMS, "p": scores(0.6, 0.6, 0.6)})
    found = score_suite(SUITE, ITEMS, retrained=retrained, original=original)
    assert found.statistics["relative"].value == pytest.approx(0.5)  # 0.3 / 0.6
    assert found.references["relative"].value == pytest.approx(0.1 / 0.6)
    alone = score_suite(SUITE, ITEMS, retrained=retrained)
    assert alone.statistics["relative"].value is None


def test_an_empty_set_gives_its_own_reason():
    found = score_suite(SUITE, {"p": ITEMS["p"]}).statistics
    assert found["q"].reasons == {"none given": 1}
    assert found["both"].reasons == {"q has no value": 1}


def test_examples_of_two_models_are_joined_by_id():
    own = [Example(record=Record(id=i, prompt="p", answer="a")) for i in ("1", "2")]
    other = [Example(record=Record(id=i, prompt="p", answer="b")) for i in ("2", "3")]
    joined = compare_examples({"forget": own, "retain": own}, {"forget": other})
    assert joined["forget"][0].reference is None
    assert joined["forget"][1].reference is other[0]
    assert joined["retain"][1].reference is None
