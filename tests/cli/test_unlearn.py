"""`unbelief unlearn`: what is given where, what is printed where, and how wrong requests end."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.common import Called, call, write_data
from tests.helpers import save_tiny
from unbelief.config import RunConfig, resolve
from unbelief.errors import RequestError
from unbelief.objectives.methods import OBJECTIVE_OPTIONS, methods

NEEDED = {"model": "m", "forget": "f"}
QUICK = ("--device", "cpu", "--max-steps", "1")


@pytest.fixture
def place(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder with `model`, `forget.jsonl` and `retain.jsonl`."""
    shutil.copytree(tiny_folder, tmp_path / "model")
    write_data(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in sorted(folder.rglob("*"))
    }


def unlearn(place: Path, *extra: object, method: str = "npo", **replaced: object) -> Called:
    paths: dict[str, object] = {
        "model": place / "model",
        "forget": place / "forget.jsonl",
        "retain": place / "retain.jsonl",
        "output": place / "out",
        **replaced,
    }
    given = [x for name, value in paths.items() if value is not None for x in (f"--{name}", value)]
    return call("unlearn", *given, "--method", method, *QUICK, *extra)


# --- where values come from ----------------------------------------------------------------------


def yaml_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_flags_beat_the_file_and_the_file_beats_defaults(tmp_path: Path) -> None:
    file = yaml_file(
        tmp_path,
        "model: m\nforget: f\nlearning_rate: 1e-4\nseed: 3\noptions:\n  beta: 0.2\n  retain: kl\n",
    )
    config = resolve({"seed": 7, "method": "npo"}, {"beta": "0.5"}, file)
    assert (config.learning_rate, config.seed) == (1e-4, 7)
    assert config.options == {"beta": "0.5", "retain": "kl"}
    assert config.num_train_epochs == RunConfig.model_fields["num_train_epochs"].default


def test_set_reaches_every_field_and_the_rest_is_for_the_method() -> None:
    settings = {"max_steps": "5", "columns.prompt": "question", "top_k": "3", "bf16": "true"}
    config = resolve(NEEDED, settings)
    assert (config.max_steps, config.bf16) == (5, True)
    assert config.columns == {"prompt": "question"}
    assert config.options == {"top_k": "3"}


def test_no_method_option_is_hidden_by_a_field() -> None:
    """`--set NAME` reaches the field of that name; only `retain` is left to the method."""
    hidden = {
        field.name
        for method in methods().values()
        for field in dataclasses.fields(method.term)
        if field.name in RunConfig.model_fields
    }
    assert hidden == set()
    assert not {*OBJECTIVE_OPTIONS} & RunConfig.model_fields.keys()
    assert resolve({**NEEDED, "retain": "r"}, {"retain": "kl"}).retain == "r"
    assert resolve({**NEEDED, "retain": "r"}, {"retain": "kl"}).options == {"retain": "kl"}


def test_the_method_preset_is_beaten_by_everything(place: Path) -> None:
    """graddiff-control is GradDiff with γ = 0.8."""

    def weight(output: str, *extra: str) -> float:
        done = unlearn(place, *extra, method="graddiff-control", output=place / output)
        assert done.code == 0, done.err
        details = json.loads((place / output / "unbelief.json").read_text())
        return float(details["provenance"]["config"]["objective"]["forget_weight"])

    assert weight("preset") == 0.8
    file = yaml_file(place, "options: {forget_weight: 0.3}\n")
    assert weight("file", "--config", str(file)) == 0.3
    assert weight("flag", "--config", str(file), "--set", "forget_weight=0.5") == 0.5


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("model: m\nlerning_rate: 1\n", 2, "unknown field 'lerning_rate'"),
        ("model: m\nforget: f\n\nlearning_rate: -1\n", 4, "learning_rate=-1"),
        ("model: m\nforget: f\nseed: [1]\n", 3, "seed=[1]"),
        ("model: m\n  forget: f\n", 2, "not valid YAML"),
        ("model: m\nforget: f\nmodel: n\n", 3, "model is given twice"),
        ("- model\n", 1, "not a mapping"),
        ("\njust text\n", 2, "not a mapping"),
        ("model: m\nforget: f\noptions:\n  a: 1\n  a: 2\n", 5, "options.a is given twice"),
        ("model: m\nforget: f\noptions: [1]\n", 3, "options is not a mapping"),
        ("model: m\nforget: f\noptions:\n  a: {b: 1}\n", 4, "options.a"),
        ("model: m\n1: f\n", 2, "a name is not text"),
    ],
)
def test_errors_in_the_file_name_file_and_line(
    text: str, line: int, says: str, tmp_path: Path
) -> None:
    file = yaml_file(tmp_path, text)
    with pytest.raises(RequestError) as caught:
        resolve({}, {}, file)
    assert caught.value.where == f"{file}:{line}"
    assert says in caught.value.message
    assert caught.value.remedy


def test_a_misspelt_field_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="did you mean 'learning_rate'"):
        resolve({}, {}, yaml_file(tmp_path, "lerning_rate: 1\n"))


# --- what is printed where -----------------------------------------------------------------------


def test_json_is_one_object_and_nothing_else(place: Path) -> None:
    done = unlearn(place, "--json", "--set", "max_new_tokens=5", method="bs-s")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    summary = json.loads(done.out)
    assert summary["output"] == str(place / "out")
    assert (summary["method"], summary["steps"], summary["processes"]) == ("bs-s", 1, 1)
    assert summary["first"]["step"] == 1
    # What was written says how the bank looked, the doubly suppressed answers included.
    details = json.loads((place / "out" / "unbelief.json").read_text())
    assert details["beliefs"]["n"] == 18 and details["beliefs"]["targets"] == 0
    assert not [name for entry in details["log"] for name in entry if name.startswith("train_")]


def test_results_are_on_stdout_and_stderr_stays_silent(place: Path) -> None:
    done = unlearn(place)
    assert done.code == 0, done.err
    assert done.out.startswith("npo: 1 steps in ")
    assert "mean target_logp per token" in done.out
    assert done.err == ""


def test_an_error_is_json_too(place: Path) -> None:
    done = unlearn(place, "--json", model=place / "nowhere")
    assert done.code == 2
    assert json.loads(done.out)["exit_code"] == 2
    assert done.err.startswith("unbelief: ")


def test_a_bug_of_ours_is_exit_code_1(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr("unbelief.config.resolve", broken)
    done = unlearn(place)
    assert done.code == 1
    assert "ZeroDivisionError" in done.err and "this is a bug in unbelief" in done.err


def test_an_interrupt_before_the_run_is_exit_code_130(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unbelief.config.resolve", stopped)
    done = unlearn(place)
    assert done.code == 130
    assert "the same command resumes" in done.err and "Traceback" not in done.err


# --- wrong requests ------------------------------------------------------------------------------


def text_model(place: Path) -> dict[str, object]:
    (place / "empty").mkdir()
    return {"model": place / "empty"}


def remote_code(place: Path) -> dict[str, object]:
    config = json.loads((place / "model" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "code.Model", "AutoConfig": "code.Config"}
    config["model_type"] = "someones-own"
    (place / "model" / "config.json").write_text(json.dumps(config))
    return {}


def foreign_bank(place: Path) -> dict[str, object]:
    save_tiny(place / "other", seed=1)
    given = ("--set", "max_new_tokens=5")
    done = unlearn(place, *given, method="bs-s", model=place / "other", output=place / "first")
    assert done.code == 0, done.err
    (place / "first.run" / "beliefs-0000.parquet").rename(place / "bank.parquet")
    return {"beliefs": place / "bank.parquet"}


def rows(text: str) -> Callable[[Path], dict[str, object]]:
    def write(place: Path) -> dict[str, object]:
        (place / "forget.jsonl").write_text(text)
        return {}

    return write


def existing(place: Path) -> dict[str, object]:
    (place / "out").mkdir()
    (place / "out" / "something").write_text("precious")
    return {}


def config(text: str) -> Callable[[Path], dict[str, object]]:
    return lambda place: {"config": yaml_file(place, text)}


def nothing(place: Path) -> dict[str, object]:
    return {}


def same(name: str, value: str | None) -> Callable[[Path], dict[str, object]]:
    return lambda place: {name: None if value is None else place / value}


BAD: dict[str, tuple[str, list[str], Callable[[Path], dict[str, object]], str]] = {
    "no such model": ("npo", [], same("model", "nowhere"), "nowhere"),
    "model without files": ("npo", [], text_model, "empty"),
    "no model": ("npo", [], same("model", None), "--model is missing"),
    "no forget data": ("npo", [], same("forget", None), "--forget is missing"),
    "no output": ("npo", [], same("output", None), "--output is missing"),
    "no such data": ("npo", [], same("forget", "nowhere.jsonl"), "nowhere.jsonl"),
    "no such retain data": ("npo", [], same("retain", "nowhere.jsonl"), "nowhere.jsonl"),
    "broken row": ("npo", [], rows('{"prompt": "a", "completion": "b"}\n{"prom\n'), "jsonl:2"),
    "empty data": ("npo", [], rows(""), "forget.jsonl"),
    "unknown method": ("nop", [], nothing, "did you mean 'npo'"),
    "unknown method option": ("npo", ["--set", "bata=1"], nothing, "bata"),
    "option out of range": ("npo", ["--set", "beta=-1"], nothing, "beta must be positive"),
    "option of another kind": ("bs-t", ["--set", "top_k=many"], nothing, "top_k"),
    "set without value": ("npo", ["--set", "beta"], nothing, "is not key=value"),
    "set twice": ("npo", ["--set", "beta=1", "--set", "beta=2"], nothing, "given twice"),
    "flag and set": ("npo", ["--set", "max_steps=2"], nothing, "max_steps is given twice"),
    "set of a mapping": ("npo", ["--set", "options=1"], nothing, "options is not one value"),
    "unknown flag": ("npo", ["--lerning-rate", "1"], nothing, "--lerning-rate"),
    "flag without value": ("npo", ["--seed"], nothing, "--seed"),
    "flag of another kind": ("npo", ["--seed", "x"], nothing, "--seed"),
    "negative learning rate": ("npo", ["--learning-rate", "-1"], nothing, "learning_rate=-1"),
    "infinite learning rate": ("npo", ["--learning-rate", "inf"], nothing, "learning_rate=inf"),
    "no batch": ("npo", ["--per-device-train-batch-size", "0"], nothing, "batch_size=0"),
    "bad lora": ("npo", ["--lora", "rank16"], nothing, "'rank16' is not key=value"),
    "unknown lora key": ("npo", ["--lora", "rank=16"], nothing, "unknown key 'rank'"),
    "lora on nothing": ("npo", ["--lora", "r=4,target_modules=query"], nothing, "query"),
    "no-merge alone": ("npo", ["--no-merge"], nothing, "no adapter to leave unmerged"),
    "lora and trainable": (
        *("npo", ["--lora", "r=4", "--set", "trainable=.*"], nothing, "only the adapter trains"),
    ),
    "nothing trains": ("npo", ["--set", "trainable=head"], nothing, "no parameter has a name"),
    "layer too high": ("rmu", ["--set", "layer=2"], nothing, "layers 0 to 1"),
    "retain term alone": ("npo", ["--set", "retain=kl"], same("retain", None), "retain"),
    "nothing to keep": ("gru", [], same("retain", None), "hurting the retain data"),
    "no room": ("npo", ["--set", "max_length=5"], nothing, "the prompt alone has"),
    "no room to answer": ("bs-s", ["--set", "max_new_tokens=300"], nothing, "max_new_tokens"),
    "optimiser": ("npo", ["--set", "optim=adamv"], nothing, "adamv"),
    "tracker": ("npo", ["--set", "report_to=crystal-ball"], nothing, "crystal-ball"),
    "dtype": ("npo", ["--set", "dtype=int4"], nothing, "dtype='int4'"),
    "one shard": ("npo", ["--set", "fsdp=true"], nothing, "one process"),
    "template": ("npo", ["--set", "template=fancy"], nothing, "template='fancy'"),
    "bank of another model": ("bs-s", ["--set", "max_new_tokens=5"], foreign_bank, "bank"),
    "bank without bs-s": ("npo", [], same("beliefs", "forget.jsonl"), "uses no belief bank"),
    "no such bank": ("bs-s", [], same("beliefs", "nowhere.parquet"), "nowhere.parquet"),
    "unknown field in file": ("npo", [], config("lr: 1\n"), "run.yaml:1: unknown field 'lr'"),
    "no such file": ("npo", [], same("config", "nowhere.yaml"), "nowhere.yaml"),
    "output is the model": ("npo", ["--overwrite"], same("output", "model"), "output folder"),
    "output holds the data": ("npo", ["--overwrite"], same("output", "."), "output folder"),
    "output exists": ("npo", [], existing, "exists already"),
    "code of its own": ("npo", [], remote_code, "trust"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_requests_say_what_to_do_and_write_nothing(name: str, place: Path) -> None:
    method, extra, prepare, says = BAD[name]
    replaced = prepare(place)
    before = contents(place)
    done = unlearn(place, *extra, method=method, **replaced)
    assert done.code == 2, done.err
    assert says in done.err
    assert done.err.startswith("unbelief: ") and "remedy: " in done.err
    assert "Traceback" not in done.err and done.out == ""
    assert contents(place) == before


FLAGS = """
--beliefs --bf16 --budget --config --device --forget --gradient-accumulation-steps
--gradient-checkpointing
--gradient_accumulation_steps --help --holdout --json --learning-rate --learning_rate --ledger
--lora
--max-steps --max_steps --merge --method --model --no-bf16 --no-gradient-checkpointing --no-merge
--num-train-epochs --num_train_epochs --output --overwrite --per-device-train-batch-size
--per_device_train_batch_size --quiet --request-id --request_id --restart --retain --retrained
--seed --set --track --trust-remote-code
"""


def test_flags_are_only_ever_added() -> None:
    """People's scripts use these: a name here must keep working."""
    import typer.main

    from unbelief.cli.main import app

    commands: Any = typer.main.get_command(app)
    command = commands.commands["unlearn"]
    found = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    assert {o for o in found if o.startswith("--")} == set(FLAGS.split())


@pytest.mark.parametrize("command", ["unlearn", "check", "methods", "quickstart"])
def test_every_command_has_help(command: str) -> None:
    done = call(command, "--help")
    assert done.code == 0 and "Usage:" in done.out and done.err == ""
