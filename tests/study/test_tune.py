from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.study import made
from tests.study.made import FormulaBed
from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.study import studying, trials
from unbelief.study.chosen import read_chosen, settings_of
from unbelief.study.rules import best_point
from unbelief.study.spaces import space_of
from unbelief.study.storage import open_storage, optuna
from unbelief.study.tune import TuneRequest, check, open_study

REQUEST = TuneRequest(methods=("graddiff",), trials=5, ratio="0.1", measurements=4, pruner="none")


def tune(folder: Path, request: TuneRequest = REQUEST, bed: FormulaBed | None = None):
    # A journal is quicker to make than a database.
    storage = str(folder / "search.log")
    return studying.tune(request, bed or FormulaBed(), folder, storage, lambda *_: None)


def study_of(folder: Path, bed: FormulaBed, method: str = "graddiff"):
    storage = open_storage(str(folder / "search.log"))
    return open_study(REQUEST, bed, storage, method, space_of(method, bed.learning_rates))


def test_every_method_gets_the_same_budget_and_the_best_step_counts(tmp_path):
    request = replace(REQUEST, methods=("graddiff", "npo", "graddiff-control", "ga"))
    bed = FormulaBed(refused=("ga",))
    content, written = studying.tune(request, bed, tmp_path, None, lambda *_: None)
    assert written == tmp_path / "chosen.json" and (tmp_path / "search.db").is_file()
    for method in ("graddiff", "npo"):
        entry = content["methods"][method]
        assert entry["trials"] == {"finished": 5, "complete": 5, "pruned": 0, "failed": 0}
        # Naturalness has no gap at half of the 8 steps.
        assert entry["chosen"]["step"] == 4
        rate = entry["chosen"]["options"]["learning_rate"]
        tried = [s.learning_rate for s, _ in bed.asked if s.method == method]
        assert min(tried, key=lambda r: abs(r - 1e-3)) == pytest.approx(rate) or len(tried) == 5
    assert content["unsuitable"]["ga"] == "it is refused"
    assert "settings chosen for bs-t" in content["unsuitable"]["graddiff-control"]
    assert all(case.split == "validation" for _, case in bed.asked)
    assert read_chosen(tmp_path) == json.loads(written.read_text())


def test_the_first_trial_is_the_methods_own_setting(tmp_path):
    bed = FormulaBed()
    tune(tmp_path, bed=bed)
    first = bed.asked[0][0]
    assert first.options["forget_weight"] == 1.0
    assert first.learning_rate == pytest.approx(1e-3)


def test_the_same_command_runs_nothing_twice_and_a_larger_budget_adds(tmp_path):
    tune(tmp_path)
    again = FormulaBed()
    content, _ = tune(tmp_path, bed=again)
    assert again.asked == [] and content["methods"]["graddiff"]["trials"]["finished"] == 5
    tune(tmp_path, replace(REQUEST, trials=7), again)
    assert len(again.asked) == 2
    # Asked for the smaller budget once more, its first five trials are what counts.
    content, _ = tune(tmp_path)
    assert content["methods"]["graddiff"]["trials"]["finished"] == 5
    assert content["methods"]["graddiff"]["chosen"]["trial"] < 5


def test_interrupted_and_resumed_it_draws_what_it_would_have_drawn(tmp_path):
    whole = FormulaBed()
    tune(tmp_path / "whole", bed=whole)
    count = 0

    def stop(_setting) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="finished trials are kept"):
        tune(tmp_path / "cut", bed=FormulaBed(before=stop))
    bed = FormulaBed()
    content, _ = tune(tmp_path / "cut", bed=bed)
    assert len(bed.asked) == 3  # two were done, the interrupted one is run again
    assert content["methods"]["graddiff"]["trials"] == {
        "finished": 5,
        "complete": 5,
        "pruned": 0,
        "failed": 1,
    }


def test_a_run_that_comes_to_nothing_counts(tmp_path):
    def fail(_setting) -> None:
        raise GuardError("the loss is not finite")

    content, written = tune(tmp_path, bed=FormulaBed(before=fail))
    entry = content["methods"]["graddiff"]
    assert entry["trials"]["pruned"] == 5 and entry["chosen"] is None and written is not None
    assert entry["ends"] == ["the loss is not finite"]
    with pytest.raises(RequestError, match="no trial was finished"):
        settings_of(content, ["graddiff"])


def test_a_method_that_cannot_run_is_left_out_with_its_reason(tmp_path):
    def refuse(setting) -> None:
        if setting.method == "npo":
            raise RequestError("there is no such layer")

    request = replace(REQUEST, methods=("npo", "graddiff"))
    content, _ = tune(tmp_path, request, FormulaBed(before=refuse))
    assert content["unsuitable"] == {"npo": "there is no such layer"}
    assert content["methods"]["graddiff"]["trials"]["finished"] == 5


def test_bad_trials_are_pruned_at_the_median(tmp_path):
    # From the fifth trial on, what is worse than the median at the second measurement ends there.
    bed = FormulaBed()
    content, _ = tune(tmp_path, replace(REQUEST, trials=12, pruner="median"), bed)
    count = content["methods"]["graddiff"]["trials"]
    assert count["finished"] == 12 and count["pruned"] >= 1
    assert content["methods"]["graddiff"]["chosen"]["costs"]["distance"] < 0.2


def test_several_aims_give_a_front_and_the_rule_takes_one_of_it(tmp_path):
    request = replace(REQUEST, aims=("forgetting", "naturalness", "utility"), trials=6)
    content, _ = tune(tmp_path, request, FormulaBed(has_retrained=False))
    entry = content["methods"]["graddiff"]
    assert entry["chosen"]["costs"].keys() == {"forgetting", "naturalness", "utility"}
    assert entry["chosen"]["trial"] in [t["trial"] for t in entry["front"]]
    best = min(sum(t["costs"].values()) for t in entry["front"])
    assert sum(entry["chosen"]["costs"].values()) == pytest.approx(best)


def test_an_aim_that_cannot_be_measured_is_refused_before_anything_runs(tmp_path):
    bed = FormulaBed(has_retrained=False)
    with pytest.raises(RequestError, match="no retrained model"):
        tune(tmp_path, bed=bed)
    assert bed.asked == [] and not (tmp_path / "search.log").exists()


def test_a_reference_that_lost_what_was_to_stay_is_refused(tmp_path, monkeypatch):
    # The original keeps 1.0. At 0.9 the reference is taken, below it is not.
    monkeypatch.setitem(made.RETRAINED, "utility", 0.85)
    bed = FormulaBed()
    with pytest.raises(RequestError, match=r"utility of 0\.85 and the original 1\.00") as caught:
        tune(tmp_path, bed=bed)
    assert caught.value.where == "--retrained"
    assert bed.asked == [] and not (tmp_path / "search.log").exists()
    others = replace(REQUEST, aims=("forgetting", "utility"), trials=1)
    content, _ = tune(tmp_path, others, bed)
    assert content["methods"]["graddiff"]["trials"]["finished"] == 1


def test_a_server_that_cannot_be_reached_is_told_before_anything_runs(tmp_path):
    bed = FormulaBed(has_retrained=False)  # which would be refused
    with pytest.raises(RequestError, match="cannot be opened"):
        studying.tune(REQUEST, bed, tmp_path, "sqlite:////no/such/folder/s.db", lambda *_: None)


def test_another_search_in_the_same_storage_is_refused(tmp_path):
    tune(tmp_path)
    with pytest.raises(RequestError, match="another search"):
        tune(tmp_path, bed=FormulaBed(steps=16))


def test_a_method_others_are_still_at_is_not_chosen_from_yet(tmp_path):
    bed = FormulaBed()
    tune(tmp_path, replace(REQUEST, trials=4), bed)
    (tmp_path / "chosen.json").unlink()
    other = study_of(tmp_path, bed)
    taken = trials.claim(other, 5)  # another process has the last trial
    content, written = tune(tmp_path, bed=bed)
    assert content["unfinished"] == ["graddiff"] and written is None
    assert not (tmp_path / "chosen.json").exists()
    other.tell(taken, 1.0, state=optuna().trial.TrialState.COMPLETE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"aims": ("leak",)}, "cannot aim"),
        ({"aims": ()}, "cannot aim"),
        ({"rule": "best"}, "no rule"),
        ({"pruner": "random"}, "no pruner"),
        ({"trials": 0}, "needs methods"),
        ({"ratio": "0.5"}, "no forget ratio"),
        ({"methods": ("nop",)}, "unknown method"),
    ],
)
def test_wrong_requests(change, says):
    with pytest.raises(RequestError, match=says):
        check(replace(REQUEST, **change), FormulaBed())


def test_the_earlier_of_two_equal_steps_is_taken():
    points = [{"step": s, "values": {"distance": d}} for s, d in ((1, 0.5), (2, 0.3), (3, 0.3))]
    found = best_point(points, ("distance",), "sum")
    assert found is not None and found["step"] == 2
    assert best_point([{"step": 1, "values": {}}], ("distance",), "sum") is None


def test_the_mean_over_validation_cases_counts(tmp_path):
    bed = FormulaBed()
    content, _ = tune(tmp_path, replace(REQUEST, seeds=(0, 2), trials=1), bed)
    assert [case.seed for _, case in bed.asked] == [0, 2]
    # Forgetting 0.9 and 0.92 at the rate 1e-3: their mean.
    chosen = content["methods"]["graddiff"]["chosen"]
    assert chosen["values"]["forgetting"] == pytest.approx(0.91)
