from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.auto.made import FORGOTTEN, people, records, save_knowing
from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.auto.items import Items, neighbours_of, swapped_records, told_records
from unbelief.auto.options import SCORES
from unbelief.auto.prepare import ESTIMATED, GIVEN, MEASURED, Said, references
from unbelief.auto.yardstick import Yardstick
from unbelief.models.load import load_model
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder
from unbelief.types import Record

FORGET, RETAIN = records()


def ready(folder: Path, scores: tuple[str, ...] = SCORES) -> tuple[Yardstick, AnswerModel]:
    loaded = load_model(folder, device="cpu")
    encoder = Encoder(loaded.tokenizer)
    return Yardstick(encoder, scores, 8), AnswerModel(loaded.model, pad_id=encoder.pad_id)


@pytest.fixture(scope="module")
def items(knowing: Path) -> Items:
    yardstick, model = ready(knowing / "model")
    strangers = neighbours_of(FORGET, RETAIN, 3, 0)
    said = Said(None, model, yardstick, 0)
    told, moved = told_records(FORGET, strangers, lambda asked: said("choice", asked))
    return Items(tuple(FORGET), tuple(RETAIN), swapped_records(FORGET, strangers), told, moved)


def test_the_level_lies_between_knowing_and_nothing(knowing: Path, items: Items) -> None:
    yardstick, model = ready(knowing / "model")
    before, level = yardstick.read(model, items, facts=True), yardstick.level(model, items)
    for score in SCORES:
        one, other = before.value(score), level.value(score)
        assert one is not None and other is not None
        assert one > 0.99 > 0.9 > other > 0
    assert (before.values["utility"].n, before.values["told"].n) == (18, 6)
    assert before.value("key_facts") == 1.0 and "key_facts" not in level.values
    # Three strangers per record, one number per record.
    assert level.values["probability"].n == 6
    low, high = (getattr(level.estimates()["probability"], k) for k in ("low", "high"))
    assert low <= level.value("probability") <= high


def test_the_estimate_against_a_model_that_never_saw_the_records(
    knowing: Path, items: Items, tmp_path: Path
) -> None:
    """The two are nearer to each other than either is to the original."""
    gold = save_knowing(tmp_path / "gold", 60, known=people()[FORGOTTEN:])
    yardstick, model = ready(knowing / "model")
    estimate = yardstick.level(model, items).estimates()["probability"]
    truth = yardstick.read(ready(gold)[1], items).value("probability")
    assert truth is not None and estimate.value is not None
    assert abs(estimate.value - truth) < 0.3 < 0.5 < 0.999 - max(truth, estimate.value)

    halves = {"choice": items, "report": items}
    one = references(yardstick, model, halves, None, None)[0]  # type: ignore[arg-type]
    assert one.how == ESTIMATED and one.level == one.estimated
    two = references(yardstick, model, halves, ready(gold), None)[0]  # type: ignore[arg-type]
    assert two.how == MEASURED and two.estimated == one.estimated
    assert two.level["choice"]["probability"]["value"] == truth
    single, same = ready(knowing / "model", ("probability",))
    three = references(single, same, halves, None, 0.25)[0]  # type: ignore[arg-type]
    assert three.how == GIVEN and three.level["report"]["probability"]["value"] == 0.25
    assert three.estimated["report"]["probability"] == one.estimated["report"]["probability"]


def test_key_facts_may_be_the_score_where_records_tell_them(knowing: Path, items: Items) -> None:
    """Nothing is given of the answer, so its text cannot be gone on with."""
    yardstick, model = ready(knowing / "model", ("key_fact_recall",))
    assert yardstick.read(model, items).value("key_fact_recall") == 1.0
    level = yardstick.level(model, items).value("key_fact_recall")
    assert level is not None and level <= 0.5
    without = Items(tuple(replace(r, facts=()) for r in items.forget), items.retain, ())
    reading = yardstick.read(model, without).values["key_fact_recall"]
    assert reading.value is None and "neither facts nor perturbed" in next(iter(reading.reasons))


def test_no_neighbour_means_no_level_and_says_so() -> None:
    encoder = Encoder(tiny_tokenizer("word"))
    model = AnswerModel(tiny_model("llama"), pad_id=encoder.pad_id)
    document = Record(id="d", prompt=None, answer="Ada lives in Rome .")
    found = Yardstick(encoder, SCORES, 8).level(model, Items((document,), (), ()))
    for score in SCORES:
        assert found.value(score) is None
        assert "has a neighbour" in next(iter(found.values[score].reasons))
