"""A run that was killed, interrupted or stopped by a guard loses nothing it had finished."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.common import Command, call, write_data

METHODS = {
    "bs-s": ["--set", "max_new_tokens=12"],
    "npo": [],
    "bs-s-on-policy": [
        *("--set", "max_new_tokens=12", "--set", "inner=npo", "--set", "refresh_epochs=1"),
    ],
}


@pytest.fixture
def arguments(tiny_folder: Path, tmp_path: Path) -> Callable[..., list[Any]]:
    forget, retain = write_data(tmp_path)

    def make(output: Path, method: str = "npo", *extra: object) -> list[Any]:
        return [
            *("unlearn", "--model", tiny_folder, "--forget", forget, "--retain", retain),
            *("--method", method, *METHODS.get(method, []), "--output", output),
            *("--device", "cpu", "--per-device-train-batch-size", "2", "--quiet", "--json"),
            *("--gradient-accumulation-steps", "1", "--num-train-epochs", "3"),
            *("--learning-rate", "1e-3", "--set", "warmup_epochs=0", "--set", "save_steps=1"),
            *extra,
        ]

    return make


def final(output: Path) -> bytes:
    return (output / "model.safetensors").read_bytes()


def moments(output: Path) -> dict[str, Callable[[], Any]]:
    """Signs of what a run is doing."""
    run = output.with_name(output.name + ".run")
    checkpoints = run / "checkpoints"
    return {
        "claimed": (run / "request.json").exists,
        "sampling": (run / ".beliefs-0000.parquet.parts").exists,
        "reference": lambda: [*run.glob("reference*")],
        "training": (checkpoints / "checkpoint-2" / "COMPLETE").exists,
        "sampling again": lambda: [*run.glob(".beliefs-0001*")],
        "writing a checkpoint": (checkpoints / "checkpoint-6").exists,
        "final saving": lambda: [*output.parent.glob(f".{output.name}.partial-*")],
    }


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("bs-s", ("claimed", "sampling", "training", "writing a checkpoint", "final saving")),
        ("bs-s-on-policy", ("reference", "sampling again", "writing a checkpoint")),
    ],
)
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(
    method: str, when: tuple[str, ...], arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    signs, kills = moments(output), 0
    for name in when:
        command = Command(arguments(output, method), tmp_path)
        kills += command.kill_when(signs[name])
        command.wait()
        assert not output.exists(), f"killed too late: {name}"
    assert kills == len(when)
    done = Command(arguments(output, method), tmp_path).wait()
    assert done.code == 0, done.err
    assert json.loads(done.out)["resumed_from"] is not None
    straight = tmp_path / "straight"
    assert call(*arguments(straight, method)).code == 0
    assert final(output) == final(straight)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    method: str, arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output, straight = tmp_path / "killed", tmp_path / "straight"
    started = time.monotonic()
    assert Command(arguments(straight, method), tmp_path).wait().code == 0
    length, draw = time.monotonic() - started, random.Random(0)
    for _ in range(12):
        command = Command(arguments(output, method), tmp_path)
        until = time.monotonic() + draw.uniform(0.2, 0.9) * length
        command.kill_when(lambda until=until: time.monotonic() > until)
        command.wait()
        if output.exists():
            break
    if not output.exists():
        assert Command(arguments(output, method), tmp_path).wait().code == 0
    assert final(output) == final(straight)


@pytest.mark.slow
def test_the_module_itself_can_be_killed_and_resumed(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "unbelief", *map(str, arguments(output))]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while first.poll() is None and not moments(output)["training"]():
        time.sleep(0.001)
    first.kill()
    first.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed_from"] >= 2


def test_an_interrupt_leaves_a_checkpoint_and_the_same_command_resumes(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    # No checkpoint but the one the interrupt makes.
    given = [*arguments(output), "--set", "num_train_epochs=150"]
    given = [a for a in given if a not in ("--num-train-epochs", "3")]
    given[given.index("save_steps=1")] = "save_steps=100000"
    command = Command(given, tmp_path)
    assert command.kill_when(moments(output)["reference"], signal.SIGINT)
    stopped = command.wait()
    assert stopped.code == 130, stopped.err
    assert "remedy: the same command resumes" in stopped.err
    assert "Traceback" not in stopped.err
    assert json.loads(stopped.out)["exit_code"] == 130
    assert not output.exists()
    done = Command(given, tmp_path).wait()
    assert done.code == 0, done.err
    before = json.loads(done.out)["resumed_from"]
    if "stopped after step" in stopped.err:
        assert f"stopped after step {before} of 450" in stopped.err
    straight = tmp_path / "straight"
    given[given.index(output)] = straight
    assert call(*given).code == 0
    assert final(output) == final(straight)


def unfinished(arguments: Callable[..., list[Any]], output: Path, tmp_path: Path) -> Path:
    """A run that was killed after its second step; its run folder."""
    command = Command(arguments(output), tmp_path)
    assert command.kill_when(moments(output)["training"])
    command.wait()
    assert not output.exists()
    return output.with_name(output.name + ".run")


def test_what_an_unfinished_run_left(arguments: Callable[..., list[Any]], tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = unfinished(arguments, output, tmp_path)
    assert run.stat().st_mode & 0o777 == 0o700

    # Other settings: refused, named, and what was there stays.
    other = call(*arguments(output), "--learning-rate", "2e-3", "--seed", "5")
    assert other.code == 2
    assert "different: train.learning_rate, train.seed" in other.err
    assert "--restart" in other.err
    assert (run / "checkpoints" / "checkpoint-2" / "COMPLETE").exists()

    # Settings that do not decide the result may change.
    incomplete = run / "checkpoints" / "checkpoint-99"
    incomplete.mkdir()
    (incomplete / "trained.safetensors").write_text("half of it")
    done = call(*arguments(output), "--set", "logging_steps=3")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert 2 <= summary["resumed_from"] < 99
    assert not (run / "checkpoints").exists()
    assert sorted(p.name for p in run.iterdir()) == ["log.jsonl"]


def test_restart_begins_anew(arguments: Callable[..., list[Any]], tmp_path: Path) -> None:
    output = tmp_path / "out"
    unfinished(arguments, output, tmp_path)
    done = call(*arguments(output), "--learning-rate", "2e-3", "--restart")
    assert done.code == 0, done.err
    assert json.loads(done.out)["resumed_from"] is None


def test_a_second_process_is_refused_while_the_first_works(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = Command([*arguments(output), "--num-train-epochs", "2000"], tmp_path)
    limit = time.monotonic() + 60
    while not moments(output)["claimed"]() and time.monotonic() < limit:
        time.sleep(0.01)
    for extra in ([], ["--restart"]):
        second = call(*arguments(output), "--num-train-epochs", "2000", *extra)
        assert second.code == 2
        assert "another process is working on this output" in second.err
    assert first.kill_when(lambda: True)
    first.wait()


def test_an_existing_output_is_kept_unless_it_may_be_replaced(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert call(*arguments(output)).code == 0
    before = final(output)
    refused = call(*arguments(output), "--learning-rate", "2e-3")
    assert refused.code == 2 and "--overwrite" in refused.err
    failed = call(*arguments(output), "--learning-rate", "1e35", "--overwrite")
    assert failed.code == 3
    assert final(output) == before
    replaced = call(*arguments(output), "--learning-rate", "2e-3", "--overwrite", "--restart")
    assert replaced.code == 0, replaced.err
    assert final(output) != before


def test_a_finished_run_leaves_nothing_that_stops_the_next(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    """Its bank belongs to its settings; other settings get a bank of their own."""
    output = tmp_path / "out"
    assert call(*arguments(output, "bs-s")).code == 0
    other = call(*arguments(output, "bs-s"), "--set", "samples=2", "--overwrite")
    assert other.code == 0, other.err
    # A bank that is given stays, even when it is the finished run's own.
    bank = tmp_path / "out.run" / "beliefs-0000.parquet"
    before = bank.read_bytes()
    reused = call(
        *arguments(output, "bs-s"), "--beliefs", bank, "--set", "samples=2", "--overwrite"
    )
    assert reused.code == 0, reused.err
    assert bank.read_bytes() == before


@pytest.mark.parametrize("moment", ["write_log", "tidy"])
def test_a_run_killed_before_its_tidying_is_finished_and_tidied(
    moment: str, arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = tmp_path / "out.run"
    point = f"unbelief.rundir.RunFolder.{moment}"
    killed = Command(arguments(output), tmp_path, dies_at=point).wait()
    assert killed.code == -signal.SIGKILL
    assert final(output) and (run / "checkpoints").is_dir() and (run / "request.json").exists()
    before = final(output)

    again = call(*arguments(output))
    assert again.code == 2 and f"{output} is finished" in again.err
    assert sorted(p.name for p in run.iterdir()) == ["log.jsonl"]
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines == json.loads((output / "unbelief.json").read_text())["log"] != []
    assert (run / "log.jsonl").stat().st_mode & 0o777 == 0o600
    assert final(output) == before
    # From now on it is an output like any other.
    assert "exists already" in call(*arguments(output)).err


def test_work_towards_a_new_output_is_not_tidied_for_the_old_one(
    arguments: Callable[..., list[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert call(*arguments(output)).code == 0
    other = [*arguments(output), "--learning-rate", "2e-3", "--overwrite"]
    command = Command(other, tmp_path)
    assert command.kill_when(moments(output)["training"])
    command.wait()
    refused = call(*arguments(output))
    assert refused.code == 2 and "exists already" in refused.err
    assert (tmp_path / "out.run" / "checkpoints" / "checkpoint-2" / "COMPLETE").exists()
    done = call(*other)
    assert done.code == 0 and json.loads(done.out)["resumed_from"] is not None


def test_a_guard_stops_the_run_and_names_the_last_good_checkpoint(
    arguments: Callable[..., list[Any]], tiny_folder: Path, tmp_path: Path
) -> None:
    # Warm-up begins at 0: the first step changes nothing, the second ruins the weights, the third
    # sees it. So checkpoint 1 is good and checkpoint 2 is not.
    output = tmp_path / "out"
    given = ["warmup_epochs=1" if a == "warmup_epochs=0" else a for a in arguments(output)]
    stopped = call(*given, "--learning-rate", "1e35", "--set", "weight_decay=0")
    assert stopped.code == 3, stopped.err
    assert "the loss is not finite" in stopped.err and "at step 3 of 9" in stopped.err
    assert "remedy: lower learning_rate" in stopped.err and "--restart" in stopped.err
    checkpoint = tmp_path / "out.run" / "checkpoints" / "checkpoint-1"
    assert f"the last good checkpoint is {checkpoint}" in stopped.err
    assert not output.exists() and not checkpoint.with_name("checkpoint-2").exists()
    kept = load_file(checkpoint / "trained.safetensors")
    original = load_file(tiny_folder / "model.safetensors")
    assert all(torch.equal(kept[name], original[name]) for name in kept)
