"""Two processes (DDP, and FSDP2) do what one does with the same pairs per step."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.train.common import FORGET, largest_difference, loaded, unlearner, weights
from tests.train.ranks import free_port, run_ranks
from unbelief import processes
from unbelief.errors import Interrupted, RequestError
from unbelief.models.adapters import LoraOptions
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, BST, GA, KL, NLL, NPO, RMU, HiddenMatch, Objective, Rectified

LORA = LoraOptions(r=4, alpha=8)
ON_POLICY = BSS(inner=NPO(), samples=2, max_new_tokens=6, policy="on-policy", refresh_epochs=1)
CASES: dict[str, tuple[Objective, dict[str, Any]]] = {
    "npo": (NPO() + NLL(), {}),
    "token-mean": ((GA() + NLL()).with_options(reduction="token_mean"), {}),
    "bs-s": (BSS(inner=BST(), samples=3, max_new_tokens=6) + NLL(), {}),
    "bs-s-on-policy": (ON_POLICY + NLL(), {}),
    "kl": (GA() + KL(), {}),
    "kl-lora": (GA() + KL(), {"lora": LORA}),
    "on-policy-lora": (ON_POLICY + KL(), {"lora": LORA}),
    "rmu": (RMU(layer=0) + HiddenMatch(layer=0), {}),
    "recomputed": (NPO() + NLL(), {"gradient_checkpointing": True}),
    "tied": (NPO() + NLL(), {"family": "llama-tied"}),
    "logits": (NPO() + NLL(), {"family": "gemma2"}),
    "gru": (Objective(GA(), NLL(), gradients=Rectified(gamma=0.6)), {}),
}
FAST = ("npo", "bs-s-on-policy", "kl-lora", "rmu")
# Gradients that are kept apart cannot be sharded (tests/train/test_gradients.py).
WHOLE = ("gru",)
SLOW = tuple(name for name in CASES if name not in (*FAST, *WHOLE))
# Losses are of the order of 1 to 20, weights of 0.2; both sum the same numbers in another order.
LOSS, WEIGHT = 2e-5, 2e-6


def run(name: str, per_device: int, fsdp: bool = False) -> tuple[list[dict[str, float]], Any, Any]:
    """Log, weights and beliefs of a run."""
    objective, given = CASES[name]
    # Adam divides by the size of past gradients, which blows up rounding where they are near 0.
    options = {"optim": "sgd", "learning_rate": 0.1, **given}
    options |= {"per_device_train_batch_size": per_device, "fsdp": fsdp}
    model = loaded(options.pop("family", "llama"))
    result = unlearner(objective, model, **options).fit()
    beliefs = None if result.beliefs is None else result.beliefs.beliefs
    return result.log, weights(result.model.model), beliefs


def run_all(names: list[str], per_device: int, fsdp: bool) -> dict[str, Any]:
    return {name: run(name, per_device, fsdp) for name in names}


@cache
def alone(name: str) -> Any:
    return run(name, 4)


@cache
def together(names: tuple[str, ...], fsdp: bool) -> list[dict[str, Any]]:
    return run_ranks(2, run_all, list(names), 2, fsdp)


def compare(one: Any, many: list[Any], *, all_whole: bool) -> None:
    log, final, beliefs = one
    for rank, (their_log, their_final, their_beliefs) in enumerate(many):
        assert [e["step"] for e in their_log] == [e["step"] for e in log]
        for ours, theirs in zip(log, their_log, strict=True):
            assert theirs == pytest.approx(ours, rel=1e-5, abs=LOSS)
        if rank == 0 or all_whole:
            assert largest_difference(final, their_final) < WEIGHT
        if beliefs is not None:
            assert [dataclasses.replace(b, log_prob=0.0) for b in their_beliefs] == [
                dataclasses.replace(b, log_prob=0.0) for b in beliefs
            ]


@pytest.mark.parametrize("name", (*FAST, *WHOLE))
def test_two_processes_train_like_one(name: str) -> None:
    compare(alone(name), [r[name] for r in together((*FAST, *WHOLE), False)], all_whole=True)


@pytest.mark.parametrize("name", FAST)
def test_two_sharded_processes_train_like_one(name: str) -> None:
    compare(alone(name), [r[name] for r in together(FAST, True)], all_whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [False, True], ids=["replicated", "sharded"])
@pytest.mark.parametrize("name", SLOW)
def test_two_processes_train_like_one_slow(name: str, fsdp: bool) -> None:
    compare(alone(name), [r[name] for r in together(SLOW, fsdp)], all_whole=not fsdp)


@pytest.mark.parametrize("name", FAST)
def test_training_moved_the_weights(name: str) -> None:
    """Otherwise the comparisons above would say nothing."""
    final = alone(name)[1]
    if "lora" in CASES[name][1]:
        assert all(float(p.abs().max()) > 1e-3 for n, p in final.items() if "lora_B" in n)
    else:
        assert largest_difference(weights(loaded().model), final) > 1e-3


class Stop:
    """Ends a run after some step, as a failing machine would."""

    every = 1

    def __init__(self, step: int):
        self._step = step

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step == self._step:
            raise RuntimeError("stopped")


def resumed(folder: Path, model: Path, name: str, fsdp: bool) -> tuple[int | None, list[bytes]]:
    """Where a stopped run went on, and the weights it and an undisturbed run ended with."""
    objective, given = CASES[name]
    options = {**given, "per_device_train_batch_size": 2, "fsdp": fsdp, "save_steps": 1}
    with pytest.raises(RuntimeError, match="stopped"):
        unlearner(objective, model, hooks=[Stop(4)], **options).run(folder / "stopped")
    again = unlearner(objective, model, **options).run(folder / "stopped")
    unlearner(objective, model, **options).run(folder / "straight")
    files = [folder / n / "model.safetensors" for n in ("stopped", "straight")]
    return again.resumed_from, [f.read_bytes() for f in files]


@pytest.mark.parametrize(
    ("name", "fsdp"),
    [
        ("bs-s-on-policy", True),
        pytest.param("bs-s-on-policy", False, marks=pytest.mark.slow),
        pytest.param("kl-lora", True, marks=pytest.mark.slow),
    ],
)
def test_several_processes_resume_bit_for_bit(
    name: str, fsdp: bool, tiny_folder: Path, tmp_path: Path
) -> None:
    """Adam's state, the beliefs of the third generation and the shards are all restored."""
    for step, (stopped, straight) in run_ranks(2, resumed, tmp_path, tiny_folder, name, fsdp):
        assert step == 3
        assert stopped == straight
    assert not (tmp_path / "stopped.run" / "checkpoints").exists()


class CtrlC:
    """Presses it in one process after the second step."""

    every = 1

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step == 2 and processes.world()[0] == 1:
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(folder: Path, model: Path) -> tuple[str, int | None]:
    options = {"per_device_train_batch_size": 2, "save_steps": 100}
    with pytest.raises(Interrupted) as caught:
        unlearner(NPO() + NLL(), model, hooks=[CtrlC()], **options).run(folder / "out")
    result = unlearner(NPO() + NLL(), model, **options).run(folder / "out")
    return caught.value.message, result.resumed_from


@pytest.mark.slow
def test_an_interrupt_of_one_process_stops_all_after_the_same_step(
    tiny_folder: Path, tmp_path: Path
) -> None:
    found = run_ranks(2, interrupted, tmp_path, tiny_folder)
    assert found == [("stopped after step 3 of 6", 3)] * 2


@pytest.mark.slow
def test_accelerate_launch_runs_the_command(tiny_folder: Path, tmp_path: Path) -> None:
    """On a CPU it starts one process whatever it is asked for; the result says how many."""
    data = tmp_path / "forget.jsonl"
    data.write_text('{"prompt": "Who?", "completion": "Ada."}\n')
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    arguments = ["unlearn", "--model", str(tiny_folder), "--forget", str(data), "--method", "npo"]
    arguments += ["--max-steps", "2", "--device", "cpu", "--json", "--output", str(tmp_path / "o")]
    done = subprocess.run(
        [*command, "-m", "unbelief", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["processes"] == 1


@pytest.mark.slow
def test_torchrun_makes_the_same_folder(tiny_folder: Path, tmp_path: Path) -> None:
    """The command itself, started as people start it."""
    data = tmp_path / "forget.jsonl"
    lines = [{"prompt": r.prompt, "completion": r.answer} for r in FORGET]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["unlearn", "--model", str(tiny_folder), "--forget", str(data), "--method", "npo"]
    arguments += ["--max-steps", "3", "--device", "cpu", "--set", "optim=sgd", "--json"]
    launcher = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    digests = []
    for name, launch, extra in (
        ("one", [], ["--per-device-train-batch-size", "4"]),
        ("two", [*launcher, "-m"], ["--per-device-train-batch-size", "2"]),
    ):
        command = [sys.executable, "-m", *launch, "unbelief", *arguments, *extra]
        done = subprocess.run(
            [*command, "--output", str(tmp_path / name)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        digests.append(json.loads(done.stdout))
        assert "Traceback" not in done.stderr
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    assert largest_difference(one, two) < WEIGHT
    assert [d["processes"] for d in digests] == [1, 2]


def test_a_group_smaller_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match="MASTER_ADDR, MASTER_PORT is not set"):
        processes.join("cpu")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")

    class Alone:
        num_processes = 1

        def __init__(self, cpu: bool):
            assert cpu

    monkeypatch.setattr("accelerate.PartialState", Alone)
    with pytest.raises(RequestError, match=r"2 processes were asked for, but .* a group of 1"):
        processes.join("cpu")


def test_an_error_of_the_main_process_is_everybodys() -> None:
    assert run_ranks(2, _fail_on_main) == ["no: remedy", "no: remedy"]


def _fail_on_main() -> str:
    processes.join("cpu")

    def fail() -> None:
        assert processes.is_main()
        raise RequestError("no", remedy="remedy")

    try:
        processes.on_main(fail)
    except RequestError as error:
        return f"{error.message}: {error.remedy}"
    return "nothing"
