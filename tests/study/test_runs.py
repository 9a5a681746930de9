from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.study.made import FormulaBed
from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.study import runs as running
from unbelief.study import studying

OPTIONS = {"learning_rate": 1e-3, "forget_weight": 1.0}
CHOSEN: dict[str, Any] = {
    "methods": {
        "graddiff": {"chosen": {"options": OPTIONS, "step": 4}},
        "npo": {"chosen": {"options": {**OPTIONS, "beta": 0.1}, "step": 8}},
        "wga": {"chosen": None},
    },
    "unsuitable": {"po": "no refusals here"},
}


def quiet(*_arguments: object) -> None:
    pass


def test_every_method_seed_and_ratio_gives_one_file(tmp_path):
    work = running.tasks(CHOSEN, (), (0, 1), ("0.1", "0.2"))
    assert len(work) == 8  # wga has nothing chosen
    bed = FormulaBed()
    found = running.run(work, bed, tmp_path, quiet)
    assert len(found["made"]) == 8 and len(list(tmp_path.glob("*.json"))) == 8
    assert all(case.split == "test" for _, case in bed.asked)
    one = json.loads((tmp_path / "graddiff--forget-0.1--seed-1.json").read_text())
    # At step 4 of 8 only forgetting is off: 0.9 + 0.01 for the seed, above the retrained 0.9.
    assert one["values"]["forgetting"] == pytest.approx(0.91)
    assert one["values"]["distance"] == pytest.approx(0)
    assert one["references"]["retrained"]["values"]["forgetting"] == 0.9


def test_what_is_done_is_not_done_again(tmp_path):
    running.run(running.tasks(CHOSEN, ("npo",), (0,), ("0.1",)), FormulaBed(), tmp_path, quiet)
    before = {f: f.read_bytes() for f in tmp_path.glob("*.json")}
    bed = FormulaBed()
    work = running.tasks(CHOSEN, ("npo",), (0, 1), ("0.1",))
    found = running.run(work, bed, tmp_path, quiet)
    assert (len(found["there"]), len(found["made"]), len(bed.asked)) == (1, 1, 1)
    assert all(f.read_bytes() == content for f, content in before.items())


def test_what_another_process_is_at_is_left_to_it(tmp_path):
    (task,) = running.tasks(CHOSEN, ("npo",), (0,), ("0.1",))
    with running._mine(tmp_path / task.file) as mine:
        assert mine
        found = running.run([task], FormulaBed(), tmp_path, quiet)
    assert found["elsewhere"] == [task.file] and not (tmp_path / task.file).exists()


def test_other_settings_in_the_same_folder_are_refused_before_anything_runs(tmp_path):
    work = running.tasks(CHOSEN, ("npo",), (0,), ("0.1",))
    running.run(work, FormulaBed(), tmp_path, quiet)
    bed = FormulaBed(steps=16)
    with pytest.raises(RequestError, match="something else"):
        running.run(running.tasks(CHOSEN, (), (0,), ("0.1",)), bed, tmp_path, quiet)
    assert bed.asked == []


def test_interrupted_nothing_half_done_stays(tmp_path):
    def stop(setting) -> None:
        if setting.method == "npo":
            raise KeyboardInterrupt

    work = running.tasks(CHOSEN, (), (0,), ("0.1",))
    with pytest.raises(Interrupted):
        running.run(work, FormulaBed(before=stop), tmp_path, quiet)
    assert [f.name for f in tmp_path.iterdir()] == ["graddiff--forget-0.1--seed-0.json"]


def test_a_run_that_comes_to_nothing_says_so(tmp_path):
    def fail(_setting) -> None:
        raise GuardError("the loss is not finite")

    (task,) = running.tasks(CHOSEN, ("npo",), (0,), ("0.1",))
    running.run([task], FormulaBed(before=fail), tmp_path, quiet)
    one = json.loads((tmp_path / task.file).read_text())
    assert one["values"] == {} and "not finite" in one["unscored"]["distance"]


def test_variants_change_the_chosen_settings(tmp_path):
    work = running.tasks(CHOSEN, (), (0,), ("0.1",), ["npo:beta=0.5,learning_rate=0.01"])
    task = work[-1]
    assert task.label == "npo[beta=0.5,learning_rate=0.01]" and task.step == 8
    assert task.setting.options == {"learning_rate": "0.01", "forget_weight": 1.0, "beta": "0.5"}
    assert task.setting.learning_rate == 0.01
    assert len({t.file for t in work}) == 3 and "/" not in task.file


@pytest.mark.parametrize("text", ["npo", "npo:", "npo:beta", ":beta=1", "npo:beta="])
def test_malformed_variants(text):
    with pytest.raises(RequestError, match="--variant"):
        running.tasks(CHOSEN, (), (0,), ("0.1",), [text])


def test_what_was_not_chosen_cannot_be_run(tmp_path):
    with pytest.raises(RequestError, match="no refusals here"):
        running.tasks(CHOSEN, ("po",), (0,), ("0.1",))
    with pytest.raises(RequestError, match="no forget ratio"):
        work = running.tasks(CHOSEN, ("npo",), (0,), ("0.5",))
        running.run(work, FormulaBed(), tmp_path, quiet)
    with pytest.raises(RequestError, match="steps of the search"):
        work = running.tasks(CHOSEN, ("npo",), (0,), ("0.1",))
        running.run(work, FormulaBed(steps=4), tmp_path, quiet)


def test_reading_refuses_what_does_not_belong_together(tmp_path):
    with pytest.raises(RequestError, match="no results"):
        running.read_runs([tmp_path])
    work = running.tasks(CHOSEN, ("npo",), (0,), ("0.1",))
    running.run(work, FormulaBed(), tmp_path / "a", quiet)
    running.run(running.tasks(CHOSEN, ("npo",), (1,), ("0.1",)), FormulaBed(steps=9),
                tmp_path / "b", quiet)  # fmt: skip
    assert len(running.read_runs([tmp_path / "a"])) == 1
    with pytest.raises(RequestError, match="different testbeds"):
        running.read_runs([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(RequestError, match="twice"):
        running.read_runs([tmp_path / "a", tmp_path / "a"])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RequestError, match="no result of"):
        running.read_runs([tmp_path / "other.json"])


@pytest.mark.parametrize("ending", studying.FORMATS)
def test_the_table_is_written_in_every_format(tmp_path, ending):
    work = running.tasks(CHOSEN, (), (0, 1), ("0.1",))
    running.run(work, FormulaBed(), tmp_path / "runs", quiet)
    target: Path = tmp_path / f"table{ending}"
    pairs = [("graddiff", "npo")]
    args = ([tmp_path / "runs"], target, None, pairs, ["distance"])
    content, _, written = studying.table(*args, False)
    assert written == target and "graddiff" in target.read_text()
    # npo stops at the last step, whose naturalness is 0.9 − 0.4 · 0.5: a gap of 0.2 on both seeds.
    difference = content["comparisons"][0]["difference"]
    assert difference["value"] == pytest.approx(-0.2) and difference["n"] == 2
    with pytest.raises(RequestError, match="exists already"):
        studying.table(*args, False)
    with pytest.raises(RequestError, match="no format"):
        studying.table(args[0], tmp_path / "table.pdf", None, pairs, ["distance"], False)


def chosen_file(folder: Path, bed: str = "formula", **methods: Any) -> Path:
    content = {
        "schema": "unbelief/study-chosen",
        "testbed": {"testbed": bed},
        "methods": {**CHOSEN["methods"], **methods},
        "unsuitable": {},
    }
    file = folder / "chosen.json"
    file.write_text(json.dumps(content))
    return file


def test_settings_of_another_testbed_are_not_run(tmp_path):
    bed, file = FormulaBed(), chosen_file(tmp_path, "own")
    with pytest.raises(RequestError, match="searched on the testbed 'own'"):
        studying.run(bed, file, "npo", [0], None, [], tmp_path / "runs", quiet)
    assert not bed.asked and not (tmp_path / "runs").exists()


def test_a_search_is_not_shown_beside_runs_of_other_settings(tmp_path):
    work = running.tasks(CHOSEN, ("npo",), (0, 1), ("0.1",))
    running.run(work, FormulaBed(), tmp_path / "runs", quiet)
    other = {"chosen": {"options": {**OPTIONS, "beta": 0.2}, "step": 8}}
    file = chosen_file(tmp_path, npo=other)
    with pytest.raises(RequestError, match="npo had other settings than those that were chosen"):
        studying.table([tmp_path / "runs"], None, file, [], ["distance"], False)
