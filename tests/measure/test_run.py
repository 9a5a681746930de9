"""Runs that are interrupted, killed or started wrongly; and those that are not."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import tiny_tokenizer
from tests.measure.common import ALL, ANSWERS, GREEDY, OWN, answer_model, encoder, plan, record
from tests.train.ranks import run_ranks, server
from unbelief.errors import Interrupted, RequestError
from unbelief.measure import parts as parts_module
from unbelief.measure import run as run_module
from unbelief.measure.journal import Journal, changed
from unbelief.measure.parts import choose_settings, parts_of
from unbelief.measure.plan import Plan
from unbelief.measure.run import context_of, measure, prepare, share
from unbelief.measure.store import read_measurements
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder

WEIGHTS = {"weights_sha256": "abc"}


def run(folder: Path, its: Plan | None = None, **options: Any) -> None:
    """Measure in many small parts."""
    options = {"fingerprint": WEIGHTS, "tokens_per_forward": 1, **options}
    measure(
        options.pop("model", None) or answer_model(), encoder(), its or plan(), folder, **options
    )


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch.setattr)


def small_parts(set_: Callable[[Any, str, int], Any]) -> None:
    set_(parts_module, "_FORWARDS", 2)
    set_(parts_module, "_GRADIENTS", 2)
    set_(sys.modules["unbelief.measure.texts"], "_MOST_PROMPTS", {"cpu": 2})
    set_(sys.modules["unbelief.measure.texts"], "_PROMPTS_PER_PLACE", {"cpu": 2})


def tables(folder: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.parquet"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "m"
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch.setattr)
        run(folder)
    assert len(tables(folder)) == 4
    return tables(folder)


class Counted:
    """Parts as they are done; an exception can be raised before one of them."""

    def __init__(self, stop: BaseException | None = None, at: int = 0):
        self.names: list[str] = []
        self.stop, self.at = stop, at

    def __enter__(self) -> Counted:
        self.real = real = Journal.keep

        def keep(journal: Journal, name: str, *rest: Any) -> None:
            if self.stop is not None and len(self.names) == self.at:
                raise self.stop
            real(journal, name, *rest)
            self.names.append(name)

        Journal.keep = keep  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Journal.keep = self.real  # type: ignore[method-assign]


def test_there_are_many_parts_of_every_kind(tmp_path: Path) -> None:
    """Otherwise the tests below would interrupt nothing."""
    with Counted() as done:
        run(tmp_path / "m")
    kinds = [name.split("-")[0] for name in done.names]
    assert {kind: kinds.count(kind) >= 2 for kind in kinds} == dict.fromkeys(
        ("answers", "texts", "gradients"), True
    )
    assert not (tmp_path / "m.partial").exists()


@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_ctrl_c_keeps_what_is_done(
    tmp_path: Path, at: int, undisturbed: Mapping[str, bytes]
) -> None:
    folder = tmp_path / "m"
    with Counted(KeyboardInterrupt(), at) as first, pytest.raises(Interrupted) as caught:
        run(folder)
    assert caught.value.exit_code == 130 and caught.value.where == str(tmp_path / "m.partial")
    assert not folder.exists()
    with Counted() as second:
        run(folder)
    assert not {*first.names} & {*second.names}
    assert tables(folder) == undisturbed


def test_a_failing_part_is_reported_and_the_others_are_kept(
    tmp_path: Path, undisturbed: Mapping[str, bytes]
) -> None:
    with Counted(RuntimeError("the device is gone"), 3), pytest.raises(RuntimeError, match="gone"):
        run(tmp_path / "m")
    with Counted() as rest:
        run(tmp_path / "m")
    assert rest.names and tables(tmp_path / "m") == undisturbed


def _killed(folder: Path, at: int) -> None:
    """Measure, and kill this process instead of its `at`-th write of a file."""
    torch.set_num_threads(1)  # another number sums in another order
    small_parts(setattr)
    real, count = os.replace, iter(range(1 << 30))

    def replace_or_die(*arguments: Any) -> None:
        if next(count) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    os.replace = replace_or_die  # type: ignore[assignment]
    run(folder)


SOME = random.Random(0).sample(range(20), 10)  # the head, parts, files of the finished folder


@pytest.mark.parametrize(
    "at", [*SOME[:2], *(pytest.param(at, marks=pytest.mark.slow) for at in SOME[2:])]
)
def test_killed_anywhere_and_started_again(
    tmp_path: Path, at: int, undisturbed: Mapping[str, bytes]
) -> None:
    process = server().Process(target=_killed, args=(tmp_path / "m", at))
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "m").exists()
    run(tmp_path / "m")
    assert tables(tmp_path / "m") == undisturbed
    assert not (tmp_path / "m.partial").exists()


def test_a_run_that_died_after_the_last_rename_is_finished(tmp_path: Path) -> None:
    run(tmp_path / "m", plan(2, (OWN,)))
    (tmp_path / "m.partial").mkdir()
    with Counted() as again:
        run(tmp_path / "m", plan(2, (OWN,)))
    assert again.names == [] and not (tmp_path / "m.partial").exists()


def test_a_finished_measurement_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path / "m")
    before = (tmp_path / "m" / "meta.json").read_bytes()
    with Counted() as again:
        run(tmp_path / "m")
    assert again.names == [] and (tmp_path / "m" / "meta.json").read_bytes() == before


CHANGED = [record(0, answer="x"), *plan().sets["forget"][1:]]
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "weights": ({"fingerprint": {"weights_sha256": "other"}}, "fingerprint.weights_sha256"),
    "more about the model": ({"fingerprint": {**WEIGHTS, "step": 3}}, "fingerprint.step"),
    "needs": ({"its": plan(6, ALL[:2])}, "needs, the records"),
    "number": ({"its": plan(5)}, "sets.forget, the records"),
    "text": (
        {
            "its": Plan(
                {"forget": [record(0, answer="x"), *plan().sets["forget"][1:]]}, plan().needs
            )
        },
        "the records",
    ),
    "dtype": ({"model": "double"}, "model.dtype"),
}


@pytest.mark.parametrize("state", ["unfinished", "finished"])
@pytest.mark.parametrize("name", OTHERS)
def test_measurements_of_something_else_are_not_mixed(
    tmp_path: Path, name: str, state: str
) -> None:
    folder = tmp_path / "m"
    if state == "finished":
        run(folder, plan(6, ALL))
    else:
        with Counted(KeyboardInterrupt(), 2), pytest.raises(Interrupted):
            run(folder)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    options, words = OTHERS[name]
    if options.get("model") == "double":
        options = {"model": AnswerModel(answer_model().inner.double())}
    with pytest.raises(RequestError) as caught:
        run(folder, **options)
    assert caught.value.message.endswith(f"(different: {words})")
    assert caught.value.where == str(folder) and "--restart" in (caught.value.remedy or "")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    run(folder, restart=True, **options)
    assert read_measurements(folder).fingerprint == options.get("fingerprint", WEIGHTS)


def test_another_encoder_is_something_else(tmp_path: Path) -> None:
    one = plan(1, (OWN,))
    run(tmp_path / "m", one)
    other = Encoder(tiny_tokenizer(), end_token=False)
    with pytest.raises(RequestError, match=r"encoder\.end_token_scored"):
        measure(answer_model(), other, one, tmp_path / "m", fingerprint=WEIGHTS)


def test_a_finished_measurement_of_another_version_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = plan(2, (OWN,))
    run(tmp_path / "m", one)
    real = run_module.environment()
    monkeypatch.setattr(run_module, "environment", lambda: replace(real, unbelief="99"))
    with Counted() as again:
        run(tmp_path / "m", one)
    assert again.names == []
    with Counted(KeyboardInterrupt(), 0), pytest.raises(Interrupted):
        run(tmp_path / "new", one)
    monkeypatch.undo()
    small_parts(monkeypatch.setattr)
    with pytest.raises(RequestError, match=r"different: versions\.unbelief"):
        run(tmp_path / "new", one)


def test_a_restart_replaces_only_when_it_is_done(tmp_path: Path) -> None:
    folder, small = tmp_path / "m", plan(2, (OWN,))
    run(folder, small)
    with Counted(KeyboardInterrupt(), 1), pytest.raises(Interrupted):
        run(folder, fingerprint={}, restart=True)
    assert read_measurements(folder).fingerprint == WEIGHTS


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    claim = Journal(tmp_path / "m").claimed(restart=False)
    with claim, pytest.raises(RequestError, match="another process is measuring"):
        run(tmp_path / "m", plan(1, (OWN,)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, restart: bool) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.tex").write_text("mine")
    with pytest.raises(RequestError, match="something that is no measurement is there already"):
        run(tmp_path / "m", plan(1, (OWN,)), restart=restart)
    assert [p.name for p in tmp_path.rglob("*")] == ["m", "thesis.tex"]
    with pytest.raises(RequestError, match="something that is no measurement is there already"):
        run(tmp_path / "m" / "thesis.tex", plan(1, (OWN,)), restart=restart)
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty", plan(1, (OWN,)), restart=restart)


def test_settings_of_the_first_start_hold(tmp_path: Path, undisturbed: Mapping[str, bytes]) -> None:
    with Counted(KeyboardInterrupt(), 2), pytest.raises(Interrupted):
        run(tmp_path / "m")
    head = json.loads((tmp_path / "m.partial" / "head.json").read_text())
    run(tmp_path / "m", tokens_per_forward=500)
    assert read_measurements(tmp_path / "m").meta["settings"] == head["settings"]
    assert tables(tmp_path / "m") == undisturbed


def test_the_models_mode_is_left_alone(tmp_path: Path) -> None:
    model = answer_model()
    model.inner.train()
    run(tmp_path / "m", plan(2, (OWN, GREEDY)), model=model)
    assert model.inner.training


def test_the_bar_is_silent_where_there_is_no_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "m", plan(2, (OWN,)), progress=True)
    assert capfd.readouterr() == ("", "")


def test_the_bar_counts_answers_texts_and_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(run_module.sys, "stderr", terminal := Terminal())  # type: ignore[attr-defined]
    run(tmp_path / "m", plan(2, (OWN, GREEDY)), progress=True)
    assert "texts: 100%" in terminal.text and "4/4" in terminal.text


def test_changed_names_are_dotted() -> None:
    before = {"a": 1, "b": {"c": 2, "d": [1]}, "gone": 0}
    now = {"a": 1, "b": {"c": 3, "d": [1]}, "new": {"e": 1}}
    assert changed(before, now) == ["b.c", "gone", "new"]
    assert changed(before, before) == []


# Several processes


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_dealt_out_once_each(size: int) -> None:
    names = [f"p{i}" for i in range(10)]
    hands = [share(names, rank, size) for rank in range(size)]
    assert sorted(n for hand in hands for n in hand) == names
    assert max(map(len, hands)) - min(map(len, hands)) <= 1


def test_parts_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[tuple[str, int]]:
        model, its = answer_model(), plan()
        work = prepare(its, encoder(), context_of(model))
        settings = choose_settings(model, its, work, 50)
        return [(part.name, part.items) for part in parts_of(model, encoder(), its, work, settings)]

    alone = names()
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    assert names() == alone


def _rank(folder: Path, fail: int | None = None) -> list[str]:
    """Measure as one of several processes; the parts this one did."""
    small_parts(setattr)
    failure = None if fail is None else RuntimeError(f"rank {os.environ['RANK']} fails")
    stop = failure if fail is not None and os.environ["RANK"] == str(fail) else None
    with Counted(stop, 1) as done:
        try:
            run(folder)
        except RuntimeError as error:
            return [*done.names, str(error)]
    return done.names


def test_two_processes_give_the_tables_of_one(
    tmp_path: Path, undisturbed: Mapping[str, bytes]
) -> None:
    first, second = run_ranks(2, _rank, tmp_path / "m")
    assert first and second and not {*first} & {*second}
    assert tables(tmp_path / "m") == undisturbed
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("rank", [0, 1])
def test_one_processes_failure_is_everybodys_and_the_rest_is_kept(
    tmp_path: Path, rank: int, undisturbed: Mapping[str, bytes]
) -> None:
    hands = run_ranks(2, _rank, tmp_path / "m", rank)
    assert [names.pop() for names in hands] == [f"rank {rank} fails"] * 2
    assert len(hands[rank]) == 1 < len(hands[1 - rank])  # the other one did all of its share
    with Counted() as rest:
        run(tmp_path / "m")
    assert rest.names and not {*rest.names} & {name for names in hands for name in names}
    assert tables(tmp_path / "m") == undisturbed


def test_a_plan_of_nothing_is_measured(tmp_path: Path) -> None:
    run(tmp_path / "m", Plan({"empty": (), "idle": [record(0)]}, {"empty": ANSWERS}))
    examples = read_measurements(tmp_path / "m").examples
    assert examples["empty"] == () and len(examples["idle"]) == 1
    assert examples["idle"][0].answers == {}
