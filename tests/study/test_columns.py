"""The field's columns beside the study's quantities."""

from __future__ import annotations

import pytest

from tests.data.test_tofu import small_tofu
from tests.helpers import save_tiny
from unbelief.errors import RequestError
from unbelief.scores.base import Statistic
from unbelief.study.beds import BedRequest, open_testbed
from unbelief.study.columns import TofuColumns, harmonic_mean
from unbelief.study.compare import table_document
from unbelief.study.records_bed import RecordsTestbed
from unbelief.study.records_parts import deal, tofu_parts
from unbelief.study.tables import to_markdown
from unbelief.study.testbed import COLUMNS, Case, Measured, Setting

GRADDIFF = Setting(method="graddiff", options={"learning_rate": 1e-3})


def share(value: float | None) -> Statistic:
    reasons = {"no answer": 2} if value is None else {}
    return Statistic(value=value, reasons=reasons, unit="share")


def test_harmonic_mean_by_hand() -> None:
    # 3 / (1/0.5 + 1/0.25 + 1/1) = 3 / 7.
    found = harmonic_mean([share(0.5), share(0.25), share(1.0)])
    assert found.value == pytest.approx(3 / 7) and found.n == 3
    assert harmonic_mean([share(0.5), share(0.0)]).value == 0
    lost = harmonic_mean([share(0.5), share(None)])
    assert lost.value is None and lost.reasons == {"no answer": 2}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> RecordsTestbed:
    folder = tmp_path_factory.mktemp("tofu")
    model = str(save_tiny(folder / "model", "llama"))
    data = str(small_tofu(folder))
    columns = TofuColumns(
        data=data, limit=3, samples=2, prompts=2, candidates=5, utility_on=("retain",)
    )
    return RecordsTestbed(
        name="tofu", model=model, parts=tofu_parts(data, {"forget01": model}), steps=3, limit=2,
        device="cpu", columns=columns,
    )  # fmt: skip


def known(point: Measured) -> set[str]:
    """Columns that have a value or say why not."""
    return set(COLUMNS) & (set(point.values) | set(point.unscored))


def test_test_cases_have_the_columns_and_validation_cases_have_not(bed: RecordsTestbed) -> None:
    case = Case(split="test", seed=0, ratio="forget01")
    (point,) = bed.attempt(GRADDIFF, case, (2,), lambda _point: None)
    assert known(point) == set(COLUMNS)
    assert 0 <= point.values["mem"] <= 1 and point.values["squeeze_index"] >= 0
    # Nothing in these answers tells the true one from the perturbed ones by a word of its own.
    assert "leak_rate" in point.unscored
    seen = bed.attempt(GRADDIFF, Case(split="validation", seed=0, ratio="forget01"), (1,), print)
    assert not known(seen[-1])


def test_the_original_is_measured_against_itself(bed: RecordsTestbed) -> None:
    found = bed.references(Case(split="test", seed=0, ratio="forget01"))
    assert known(found["original"]) == set(COLUMNS)
    # Its own curve has not moved: no rise, no fall.
    assert found["original"].values["squeeze_index"] == 0
    # The retrained model is the original itself here.
    assert found["retrained"].values == found["original"].values


def test_only_test_authors_are_asked_about(bed: RecordsTestbed) -> None:
    rule = bed.yardstick("forget01")
    assert rule is not None
    dealt = deal(bed.parts["forget01"].forget)
    ids = {r.id for r in rule.sets["forget"]}
    assert len(ids) == 3 and ids < {r.id for r in dealt["test"]}
    assert not ids & {r.id for r in dealt["validation"]}
    assert set(rule.sets) == {"forget", "retain"}


def test_small_sets_are_not_gone_through_more_often(bed: RecordsTestbed) -> None:
    # 40 records: a twelfth is 3, at least 8 are taken.
    assert bed.pairs("forget01") == 8


def test_a_table_shows_them_where_there_are_some() -> None:
    def run(label: str, seed: int, values: dict[str, float]) -> dict[str, object]:
        plain = {"values": values, "unscored": {}}
        return {
            "label": label, "method": label, "options": {}, "step": 1, "seed": seed,
            "ratio": "forget01", "references": {}, "seconds": 1.0,
            "testbed": {"testbed": "tofu"}, **plain,
        }  # fmt: skip

    runs = [run("npo", s, {"distance": 0.5, "mem": 0.25 * (1 + s)}) for s in (0, 1)]
    text = to_markdown(table_document(runs))
    # (0.25 + 0.5) / 2
    assert "| Mem |" in text and "0.38 (" in text and "the field's columns" in text
    bare = [run("npo", s, {"distance": 0.5}) for s in (0, 1)]
    assert "| Mem |" not in to_markdown(table_document(bare))


def test_utility_is_measured_on_sets_that_there_are() -> None:
    with pytest.raises(RequestError, match="not measured on mmlu"):
        open_testbed(BedRequest(name="tofu", model="m", data="d", utility_on=("retain", "mmlu")))
