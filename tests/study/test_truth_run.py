from __future__ import annotations

import json
from dataclasses import replace

import pytest

from unbelief.errors import Interrupted, RequestError
from unbelief.lab import PretrainConfig, WorldConfig
from unbelief.lab.world import make_world
from unbelief.study import truth_run
from unbelief.study.failures import Masses
from unbelief.study.metric_studies import reanalyse_truth, study_truth
from unbelief.study.truth_lines import candidates
from unbelief.study.truth_meter import holdout_people
from unbelief.study.truth_plan import TruthConfig, count_models, runs_of
from unbelief.study.truth_rows import Row, RowFile, Stopped

TINY = TruthConfig(
    methods=("graddiff", "imitation"),
    learning_rates=(1e-3,),
    epochs=1.5,
    checkpoints=(0.3, 0.7, 1.0),
    seeds=(0,),
    pairs_per_step=4,
    retained_people=2,
    samples=2,
    world=WorldConfig(attributes=1, values=3),
    pretrain=PretrainConfig(hidden=32, heads=2, steps=80, batch=16),
)


def a_row(key: str) -> Row:
    masses = Masses(target=0.1, leak=0.2, natural=0.3, retained=0.4)
    return Row(
        key=key, seed=0, method="m", learning_rate=1.0, step=1, masses=masses,
        metrics={"es": 0.5, "f": None}, unscored={"f": "silent"}, seconds=0.0,
    )  # fmt: skip


def test_the_plan_by_hand():
    # 8 records, 4 per step, 1½ epochs: 3 steps, models at 1, 2 and 3. The imitation has four times
    # the steps and the rate. 2 methods x 1 rate x 3 lengths, and the two reference models.
    assert count_models(TINY) == 8
    assert [(r.method, r.learning_rate, r.steps) for r in runs_of(TINY)] == [
        ("graddiff", 1e-3, (1, 2, 3)),
        ("imitation", 4e-3, (4, 8, 12)),
    ]
    # 15 methods x 3 rates x 3 lengths + 2 per world.
    assert count_models(TruthConfig()) == 2 * (15 * 9 + 2)


def test_rows_are_read_again_and_half_a_line_is_measured_again(tmp_path):
    file = RowFile(tmp_path / "rows.jsonl", "d")
    file.add(a_row("one"))
    file.add(Stopped(key="two", reason="the loss was not finite"))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"key": "thr')
    again = RowFile(file.path, "d")
    assert again.rows == {"one": a_row("one")}
    assert "two" in again and "three" not in again
    assert file.path.read_bytes() == whole
    again.add(a_row("one"))  # it is there
    assert file.path.read_bytes() == whole


def test_rows_of_other_options_are_refused(tmp_path):
    RowFile(tmp_path / "rows.jsonl", "d")
    with pytest.raises(RequestError, match="other options"):
        RowFile(tmp_path / "rows.jsonl", "e")
    assert TINY.digest != replace(TINY, samples=3).digest


def test_people_nobody_learned_are_made_of_known_words():
    world = make_world(TINY.world)
    people = holdout_people(world, 8, 0)
    assert len({p.name for p in people}) == 8
    assert not {p.name for p in people} & {p.name for p in world.people}
    assert {p.first for p in people} <= {p.first for p in world.people}
    assert all(p.values["town"] in world.values["town"] for p in people)


def test_a_study_stops_and_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    told: list[int] = []
    _, whole = study_truth(TINY, one, progress=lambda _what, done: told.append(done))
    assert sum(told) == 8 and not one.with_name("one.work").exists()
    assert len(whole["rows"]) == 8 and whole["models"] == 6
    names = {line.name for line in candidates(2)}
    for row in whole["rows"]:
        m = row["masses"]
        assert 0 <= m["target"] <= m["leak"] <= m["natural"] <= 1 + 1e-6
        assert row["metrics"].keys() == names
        assert all((v is None) == (k in row["unscored"]) for k, v in row["metrics"].items())

    measured = truth_run.TruthMeter.measure
    calls = []

    def stops(self, model):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measured(self, model)

    monkeypatch.setattr(truth_run.TruthMeter, "measure", stops)
    work = tmp_path / "work"
    with pytest.raises(Interrupted, match="same command resumes"):
        study_truth(TINY, two, work=work)
    assert not two.exists()
    # The two reference models and the first checkpoint are kept.
    assert len(RowFile(work / "rows.jsonl", TINY.digest).rows) == 3
    _, resumed = study_truth(TINY, two, work=work)
    # Four calls before, of which the last was stopped; then the five models that are missing.
    assert len(calls) == 4 + 5 and work.exists()
    for a, b in zip(whole["rows"], resumed["rows"], strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}

    _, again = reanalyse_truth(one, tmp_path / "three.json")
    assert again["metrics"] == json.loads(one.read_text())["metrics"]
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(RequestError, match="no result of"):
        reanalyse_truth(other, tmp_path / "four.json")


def test_an_unknown_method_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(RequestError, match="unknown method 'npoo'"):
        study_truth(replace(TINY, methods=("npoo",)), tmp_path / "out.json")
    assert not any(tmp_path.iterdir())
    with pytest.raises(RequestError, match="shares of a run"):
        replace(TINY, checkpoints=(1.5,))
