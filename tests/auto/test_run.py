from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.common import Called, Command, call
from unbelief.auto.searching import Searching

SCORES = ("extraction_strength", "probability")


def arguments(folder: Path, output: Path, *extra: object, trials: int = 2) -> list[object]:
    return [
        *("unlearn", "--method", "auto", "--model", folder / "model", "--output", output),
        *("--forget", folder / "forget.jsonl", "--retain", folder / "retain.jsonl"),
        *("--set", f"trials={trials}", "--set", "steps=16", "--set", "measurements=2"),
        *("--set", "methods=transplant,wga", "--per-device-train-batch-size", 6),
        *("--gradient-accumulation-steps", 1, "--device", "cpu", "--quiet", "--json", *extra),
    ]


def weights(output: Path) -> bytes:
    return (output / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(knowing: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    """A search that was let alone."""
    output = tmp_path_factory.mktemp("straight") / "out"
    return output, call(*arguments(knowing, output))


def test_what_a_search_leaves(straight: tuple[Path, Called]) -> None:
    output, done = straight
    assert done.code in (0, 3), done.err
    summary = json.loads(done.out.splitlines()[0])
    details = json.loads((output / "unbelief.json").read_text())
    auto = details["auto"]
    assert summary["chosen"] == auto["chosen"] and summary["explanation"] == auto["explanation"]
    assert summary["reached"] == (done.code == 0)
    assert [t["entry"] for t in auto["trials"]] == ["transplant", "wga"]
    assert all(t["seconds"] > 0 for t in auto["trials"])
    chosen = auto["chosen"]
    for trial in auto["trials"]:
        assert (trial["not_chosen"] is None) == (trial["number"] == chosen["trial"])
        assert [p["step"] for p in trial["points"]][:2] == [8, 16]
    # The final run is the chosen trial again: the same steps, the same numbers.
    assert details["steps"] == chosen["stopped_at"] == chosen["point"]["step"]
    config = details["provenance"]["config"]
    assert config["train"]["learning_rate"] == chosen["learning_rate"]
    assert config["train"]["max_steps"] == auto["steps"] == 16
    for score in SCORES:
        assert auto["report"]["choice"][score]["value"] == chosen["point"]["leak"][score]
    assert auto["report"]["choice"]["utility"]["value"] == chosen["point"]["utility"]
    # Nothing that was asked about is in the document: no name, no town.
    assert not [w for w in ("Ada", "Paris", "Felix", "Kyoto") if w in json.dumps(auto)]


def test_the_card_explains_and_only_the_bank_and_the_log_stay(
    straight: tuple[Path, Called],
) -> None:
    output, _ = straight
    card = (output / "README.md").read_text()
    assert "## How method and strength were chosen" in card and "level to stop at" in card
    beside = sorted(p.name for p in output.parent.iterdir())
    assert beside == ["out", "out.run"]
    files = {p.name for p in (output.parent / "out.run").iterdir()}
    assert files <= {"log.jsonl", "beliefs-0000.parquet"} and "log.jsonl" in files
    assert all(p.stat().st_mode & 0o77 == 0 for p in (output.parent / "out.run").iterdir())


@pytest.mark.slow
def test_a_search_killed_after_a_trial_goes_on_and_ends_the_same(
    knowing: Path, straight: tuple[Path, Called], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = tmp_path / "out.search.run" / "trial-0000.json"
    command = Command(arguments(knowing, output), tmp_path)
    assert command.kill_when(first.exists)
    command.wait()
    assert not output.exists()
    before = json.loads(first.read_text())
    done = call(*arguments(knowing, output))
    assert done.code == straight[1].code, done.err
    auto = json.loads((output / "unbelief.json").read_text())["auto"]
    assert auto["trials"][0]["seconds"] == before["seconds"]  # not repeated
    assert weights(output) == weights(straight[0])


def test_an_interrupt_keeps_finished_trials_and_the_same_command_goes_on(
    knowing: Path, straight: tuple[Path, Called], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, run = [], Searching._try

    def stop_once(self: Searching, number: int, *rest: Any) -> Any:
        begun.append(number)
        if begun == [0, 1]:
            raise KeyboardInterrupt
        return run(self, number, *rest)

    monkeypatch.setattr(Searching, "_try", stop_once)
    output, kept = tmp_path / "out", tmp_path / "out.search.run"
    done = call(*arguments(knowing, output))
    assert done.code == 130 and "finished trials are kept (1)" in done.err
    assert "the same command goes on" in done.err and not output.exists()
    assert kept.stat().st_mode & 0o777 == 0o700

    # Another request is refused, and what is there stays; more minutes are no other request.
    other = call(*arguments(knowing, output, "--seed", 5))
    assert other.code == 2 and "different: train.seed" in other.err
    assert call(*arguments(knowing, output, "--budget", 11)).code == straight[1].code
    assert begun == [0, 1, 1] and not kept.exists()
    assert weights(output) == weights(straight[0])


def test_a_budget_that_holds_nothing_is_refused(knowing: Path, tmp_path: Path) -> None:
    done = call(*arguments(knowing, tmp_path / "out", "--budget", 0.0001))
    assert done.code == 2 and "the budget is too small" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_knows_nothing_has_nothing_to_forget(knowing: Path, tmp_path: Path) -> None:
    from tests.helpers import tiny_model, tiny_tokenizer

    tiny_model("llama").save_pretrained(str(tmp_path / "blank"))
    tiny_tokenizer("word").save_pretrained(str(tmp_path / "blank"))
    given = [tmp_path / "blank" if a == knowing / "model" else a for a in arguments(knowing, "x")]
    given[given.index("x")] = tmp_path / "out"
    done = call(*given)
    assert done.code == 4 and "there is nothing to forget by this measure" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["blank"]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--learning-rate", "1e-3"], "learning_rate cannot be given"),
        (["--set", "max_steps=5"], "max_steps cannot be given"),
        (["--set", "top_k=5"], "top_k is no option of --method auto"),
        (["--track", "squeeze"], "--track belongs to one run"),
        (["--beliefs", "bank.parquet"], "--beliefs belongs to one run"),
        (["--set", "fsdp=true"], "does not shard parameters"),
        (["--set", "methods=ga"], "ga has no retain term"),
        (["--budget", "0"], "budget=0"),
    ],
)
def test_combinations_that_make_no_sense(
    extra: list[str], says: str, knowing: Path, tmp_path: Path
) -> None:
    given = list(arguments(knowing, tmp_path / "out"))
    if extra[-1].startswith("methods"):
        given[given.index("methods=transplant,wga")] = extra[-1]
        extra = []
    done = call(*given, *extra)
    assert done.code == 2 and says in done.err and "remedy:" in done.err
    assert list(tmp_path.iterdir()) == []


def test_records_to_keep_are_needed(knowing: Path, tmp_path: Path) -> None:
    given = arguments(knowing, tmp_path / "out")
    at = given.index("--retain")
    done = call(*given[:at], *given[at + 2 :])
    assert done.code == 2 and "there are no records to keep" in done.err
    assert "remedy: give --retain FILE" in done.err


@pytest.mark.parametrize("flag", ["--budget", "--retrained", "--holdout"])
def test_its_flags_belong_to_it_alone(flag: str, tmp_path: Path) -> None:
    given = ["--model", "m", "--forget", "f", "--output", tmp_path / "out"]
    done = call("unlearn", "--method", "wga", flag, "3", *given)
    assert done.code == 2 and f"{flag} has no meaning for --method wga" in done.err


def test_it_does_not_run_in_several_processes(
    knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = call(*arguments(knowing, tmp_path / "out"))
    assert done.code == 2 and "runs in one process" in done.err


def test_methods_says_what_there_is() -> None:
    assert "picks method and strength" in call("methods").out.splitlines()[-1]
    described = call("methods", "auto").out
    assert "transplant+wga" in described and "keep=0.95" in described
    as_data = json.loads(call("methods", "auto", "--json").out)
    assert as_data["options"]["keep"]["default"] == 0.95
