from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.helpers import save_tiny
from unbelief.errors import RequestError
from unbelief.lab.pretrain import PretrainConfig
from unbelief.lab.world import WorldConfig
from unbelief.study.beds import BedRequest, open_testbed
from unbelief.study.lab_bed import LabTestbed, _place
from unbelief.study.records_bed import RecordsTestbed
from unbelief.study.records_parts import Part, deal, own_parts
from unbelief.study.testbed import Case, Setting
from unbelief.types import Record

SETTING = Setting(method="bs-s", options={"learning_rate": 1e-3, "samples": 1})
TEST = Case(split="test", seed=0, ratio="0.1")


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> LabTestbed:
    return LabTestbed(
        cache=tmp_path_factory.mktemp("lab"),
        steps=3,
        pairs_per_step=4,
        kept_people=2,
        world=WorldConfig(attributes=1, values=3),
        pretrain=PretrainConfig(hidden=32, heads=2, steps=4, batch=16),
    )


def test_the_lab_measures_at_the_steps_asked_for_and_ends_there(lab):
    told = []
    points = lab.attempt(SETTING, TEST, (1, 2), told.append)
    assert [p.step for p in points] == [1, 2] and tuple(told) == points
    for point in points:
        v = point.values
        assert 0 <= v["target"] <= 1 - v["forgetting"] <= v["naturalness"] <= 1 + 1e-6
        parts = v["excess_leak"] + v["naturalness_gap"] + v["utility_gap"]
        assert v["distance"] == pytest.approx(parts)
    assert lab.attempt(SETTING, TEST, (1, 2), lambda _p: None) == points


def test_the_retrained_model_is_at_distance_zero(lab):
    found = lab.references(TEST)
    assert found["retrained"].values["distance"] == 0
    assert found["original"].values["distance"] > 0


def test_validation_and_test_worlds_share_no_person_and_no_model(lab):
    test = _place(lab, TEST)
    validation = _place(lab, Case(split="validation", seed=0, ratio="0.1"))
    names = [{p.name for p in place.world.people} for place in (test, validation)]
    assert not names[0] & names[1]
    assert test.original.weights_sha256 != validation.original.weights_sha256
    with pytest.raises(RequestError, match="validation worlds"):
        lab.attempt(SETTING, Case(split="test", seed=1000, ratio="0.1"), (1,), lambda _p: None)


def test_the_lab_says_which_methods_do_not_fit(lab):
    assert "no tokens" in str(lab.refuses("po")) and lab.refuses("bs-s") is None
    assert lab.fixed("rmu") == {"layer": 1} and lab.fixed("bs-s") == {"max_new_tokens": 24}


def test_with_words_for_refusals_their_methods_run_and_a_refusal_is_natural(lab):
    bed = replace(lab, refusals=True, steps=40, cache=lab.cache / "refusals")
    assert bed.refuses("po") is bed.refuses("idk-dpo") is bed.refuses("flat") is None
    assert "refusals" not in lab.describe() and bed.describe()["refusals"] is True
    setting = Setting(method="po", options={"learning_rate": 1e-2, "retain": "none"})
    first, last = bed.attempt(setting, TEST, (1, 40), lambda _p: None)
    assert last.values["naturalness"] > 100 * first.values["naturalness"]
    (question, *_) = _place(bed, TEST).about_forget.asked
    assert len(question.answers) == 3 * 4 + 20  # values × phrasings, and the refusals


def test_only_the_lab_needs_words_for_refusals():
    bed = open_testbed(BedRequest(name="lab", refusals=True))
    assert isinstance(bed, LabTestbed) and bed.refusals
    with pytest.raises(RequestError, match="has words for refusals"):
        open_testbed(BedRequest(name="own", refusals=True))


def records(n: int, prefix: str) -> list[Record]:
    return [
        Record(id=f"{prefix}{i}", prompt=f"who is {prefix} {n} ?", answer="Ada lives in Rome .",
               group=f"{prefix} author {i // 2}")
        for i in range(n)
    ]  # fmt: skip


def test_groups_are_dealt_out_whole_and_the_same_way_every_time():
    dealt = deal(records(20, "f"))
    groups = {split: {r.group for r in its} for split, its in dealt.items()}
    assert len(groups["test"]) == len(groups["validation"]) == 5
    assert not groups["test"] & groups["validation"]
    assert sum(map(len, dealt.values())) == 20
    assert deal(list(reversed(records(20, "f")))) == dealt


def test_who_was_searched_with_is_no_test_case_of_a_larger_split():
    # Twelve authors of two records; the smaller set has the last four of them.
    large = records(24, "f")
    small = large[-8:]
    before, after = deal(small), deal(large, [small])
    for split, its in before.items():
        assert {r.id for r in its} <= {r.id for r in after[split]}
    sizes = {split: len({r.group for r in its}) for split, its in after.items()}
    assert sizes == {"test": 6, "validation": 6}


def test_a_model_of_ones_own_is_measured_without_a_judge(tmp_path):
    model = str(save_tiny(tmp_path / "model", "llama"))
    part = Part(tuple(records(8, "f")), tuple(records(8, "r")), None)
    bed = RecordsTestbed(name="own", model=model, parts={"own": part}, steps=2, pairs_per_step=2,
                         limit=2, device="cpu")  # fmt: skip
    case = Case(split="validation", seed=0, ratio="own")
    (point,) = bed.attempt(
        Setting(method="graddiff", options={"learning_rate": 1e-4}), case, (1,), lambda _p: None
    )
    assert {"forgetting", "naturalness", "utility"} <= point.values.keys()
    assert all(0 <= v <= 1 for v in point.values.values())
    assert "no retrained" in point.unscored["distance"]
    assert bed.references(case).keys() == {"original"}
    with_reference = RecordsTestbed(
        name="own", model=model, parts={"own": Part(part.forget, part.retain, model)}, limit=2,
        device="cpu",
    )  # fmt: skip
    # The retrained model is the original itself here: no distance at all.
    assert with_reference.references(case)["original"].values["distance"] == 0


def test_one_group_cannot_be_split(tmp_path):
    lines = [json.dumps({"prompt": "who ?", "answer": "Ada", "group": "one"})]
    for name in ("f", "r"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    parts = own_parts(str(tmp_path / "f.jsonl"), str(tmp_path / "r.jsonl"), None)
    bed = RecordsTestbed(name="own", model="nowhere", parts=parts)
    with pytest.raises(RequestError, match="no forget records for the validation items"):
        bed.items("validation", "own")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (BedRequest(name="labs"), "no testbed"),
        (BedRequest(name="own", model="m"), "--forget and --retain"),
        (BedRequest(name="tofu"), "--model and --data"),
        (BedRequest(name="lab", steps=0), "at least one step"),
    ],
)
def test_wrong_requests(request_, says):
    with pytest.raises(RequestError, match=says):
        open_testbed(request_)


def test_help_loads_no_heavy_package():
    code = """
import sys
from unbelief.cli.main import main
for command in ("tune", "run", "table"):
    sys.argv = ["unbelief", "study", command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code
loaded = {"torch", "transformers", "peft", "scipy", "optuna", "sqlalchemy"} & sys.modules.keys()
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
