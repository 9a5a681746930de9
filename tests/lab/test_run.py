from __future__ import annotations

import json

import pytest

from unbelief.errors import RequestError
from unbelief.lab import LabConfig, PretrainConfig, WorldConfig, quickstart, run_lab
from unbelief.lab.plan import METHODS, prepared_methods, record_steps, work_in_seconds
from unbelief.lab.result import LabResult

TINY = LabConfig(
    methods=("graddiff", "bs-s"),
    learning_rates=(1e-3,),
    epochs=1.0,
    pairs_per_step=4,
    retained_people=2,
    world=WorldConfig(attributes=1, values=3),
    pretrain=PretrainConfig(hidden=32, heads=2, steps=4, batch=16),
)


def test_every_method_gets_the_same_steps_from_the_same_start(tmp_path):
    told: list[float] = []
    result = run_lab(TINY, tmp_path, progress=lambda _what, amount: told.append(amount))
    assert [c.method for c in result.curves] == ["graddiff", "bs-s"]
    # 8 forget records, 4 per step, one epoch: 2 steps; few enough to measure all of them.
    for curve in result.curves:
        assert [p.step for p in curve.points] == [0, 1, 2]
        assert curve.points[0] == result.references[0].original
        assert curve.stopped is None
    assert all(len(p.retained) == 2 and len(p.target) == 8 for p in result.curves[0].points)
    assert sum(told) == pytest.approx(work_in_seconds(TINY))


def test_masses_are_nested_at_every_recorded_step(tmp_path):
    result = run_lab(TINY, tmp_path)
    for p in (p for c in result.curves for p in c.points):
        for target, leak, natural in zip(p.target, p.leak, p.natural, strict=True):
            assert 0 <= target <= leak <= natural <= 1 + 1e-6


def test_a_second_run_measures_the_same(tmp_path):
    first, second = run_lab(TINY, tmp_path / "a"), run_lab(TINY, tmp_path / "b")
    assert [c.points for c in first.curves] == [c.points for c in second.curves]


def test_example_sums_to_one(tmp_path):
    shown = run_lab(TINY, tmp_path).example
    for model in ("original", "retrained"):
        assert sum(a[model] for a in shown["answers"]) == pytest.approx(1.0, abs=1e-6)
    assert [a["kind"] for a in shown["answers"]][:4] == ["target", "other", "other", "other"]


def test_recorded_steps_are_dense_where_the_target_falls():
    steps = record_steps(40)
    assert set(range(11)) <= steps and 40 in steps and 13 not in steps
    assert record_steps(1) == {0, 1}


def test_all_default_methods_exist():
    LabConfig(methods=METHODS)
    families = {info.name: info.family for info, _ in prepared_methods(METHODS)}
    assert families["bs-t"] == families["bs-s"] == "belief"
    assert families["graddiff-control"] == "control"
    assert families["npo"] == "baseline"


def test_quickstart_writes_everything_or_nothing(tmp_path):
    output = tmp_path / "out"
    with pytest.raises(RequestError, match="no-such-method"):
        quickstart(output, methods=("no-such-method",), config=TINY)
    assert not output.exists() and not list(tmp_path.iterdir())


def test_quickstart_folder_can_be_used_by_other_commands(tmp_path):
    from transformers import AutoModelForCausalLM

    from unbelief.data import read_records

    output = tmp_path / "out"
    made = quickstart(output, config=TINY, progress=False)
    assert sorted(p.name for p in output.iterdir()) == [
        "forget.jsonl",
        "models",
        "report.html",
        "result.json",
        "retain.jsonl",
    ]
    assert sorted(p.name for p in (output / "models").iterdir()) == ["original", "retrained"]
    AutoModelForCausalLM.from_pretrained(output / "models" / "original")
    assert len(read_records(output / "forget.jsonl")) == 8
    assert len(read_records(output / "retain.jsonl")) == 72
    stored = json.loads((output / "result.json").read_text())
    assert LabResult.from_dict(stored).curves[0].method == "graddiff"
    assert json.loads(json.dumps(made.summary()))["report"].endswith("report.html")
    assert "Distance to the retrained model" in made.text()
    with pytest.raises(RequestError, match="exists already"):
        quickstart(output, config=TINY)


@pytest.mark.parametrize("bad", [{"seeds": 0}, {"seed": -1}])
def test_impossible_seeds_are_refused(tmp_path, bad):
    with pytest.raises(RequestError, match="seeds"):
        quickstart(tmp_path / "out", config=TINY, **bad)


def test_named_twice_is_refused():
    with pytest.raises(RequestError, match="each once"):
        LabConfig(methods=("npo", "npo"))
