"""`unbelief evaluate`, `metrics` and `suites`: what they print, refuse, resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.common import Called, Command, call
from tests.data.test_muse import small_muse
from tests.data.test_tofu import small_tofu, write
from tests.data.test_wmdp import question
from tests.data.test_wmdp import write as write_questions
from tests.evaluate.made import write_records
from tests.helpers import save_tiny

FEW = "forget_probability,forget_rouge,retain_rouge,mia_loss"


@pytest.fixture
def flags(tiny_folder: Path, tmp_path: Path) -> list[Any]:
    """A request that works, without its output."""
    given = [("--" + name, path) for name, path in write_records(tmp_path).items()]
    return [
        *("evaluate", "--model", tiny_folder, "--suite", "own", "--device", "cpu", "--quiet"),
        *(part for pair in given for part in pair),
    ]


def lines_of(done: Called) -> dict[str, Any]:
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)["lines"]
    return found


def test_a_table_for_people_and_json_for_programs(flags: list[Any], tmp_path: Path):
    output = tmp_path / "results.json"
    done = call(*flags, "--output", output, "--metrics", FEW)
    assert done.code == 0, done.err
    assert done.err == ""
    assert done.out.splitlines()[0].startswith("own, definitions: unbelief, model: ")
    assert done.out.endswith(f"-> {output}\n")
    again = call(*flags, "--output", output, "--metrics", FEW, "--overwrite", "--json")
    assert lines_of(again) == json.loads(output.read_text())["lines"]
    assert {p.name for p in tmp_path.glob("results*")} == {
        *("results.json", "results.scores.parquet", "results.measurements"),
    }


def test_an_output_that_is_there_is_kept(flags: list[Any], tmp_path: Path):
    output = tmp_path / "results.json"
    output.write_text("mine")
    done = call(*flags, "--output", output)
    assert done.code == 2 and "exists already" in done.err and "--overwrite" in done.err
    assert output.read_text() == "mine"
    folder = tmp_path / "folder"
    folder.mkdir()
    done = call(*flags, "--output", folder)
    assert done.code == 2 and "is a folder" in done.err


def test_measurements_are_scored_again_without_the_model(flags: list[Any], tmp_path: Path):
    first = call(*flags, "--output", tmp_path / "a.json", "--metrics", FEW, "--json")
    again = call("evaluate", "--from", tmp_path / "a.measurements", "--metrics", FEW, "--json")
    assert lines_of(again) == lines_of(first)
    other = tmp_path / "b.json"
    done = call(
        *("evaluate", "--from", tmp_path / "a.measurements", "--metrics", "forget_probability"),
        *("--convention", "uwc", "--output", other),
    )
    assert done.code == 0, done.err
    assert json.loads(other.read_text())["convention"] == "uwc"
    assert "note: scored under the definitions of uwc" in done.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--suite", "tofuu"], ["unknown suite: 'tofuu'", "did you mean 'tofu'?"]),
        (["--metrics", "forget_probabilty"], ["unknown line", "did you mean 'forget_probability'"]),
        (["--convention", "open-unlerning"], ["unknown convention", "'open-unlearning'"]),
        (["--suite", "tofu"], ["reads no --forget"]),
        (["--forget", "gone.jsonl"], ["there is no such file"]),
        (["--model", "./gone"], ["no such model folder"]),
        (["--retrained", "./gone"], ["no such model folder"]),
        (["--reference", "gone.json"], ["cannot be read"]),
        (["--template", "alpaca"], ["no template 'alpaca'", "chat, plain"]),
        (["--template", "base-model"], ["belongs to the convention open-unlearning"]),
        (["--date-string", "10 Apr"], ["belongs to the convention open-unlearning"]),
        (["--samples", "0"], ["--samples is out of range"]),
        (["--temperature", "-1"], ["--temperature is out of range"]),
        (["--limit", "0"], ["--limit is below 1"]),
        (["--set", "top_k=5"], ["there is no option 'top_k' here"]),
        (["--set", "columns.prompt=words"], ["mapped to the column 'words', which is not there"]),
        (["--tasks", "mmlu"], ["--forget does not go with --tasks"]),
        (["--fluency-model", "./gone"], ["no such model folder"]),
    ],
)
def test_wrong_requests_end_with_a_remedy_and_write_nothing(
    flags: list[Any], tmp_path: Path, monkeypatch, more: list[str], said: list[str]
):
    monkeypatch.chdir(tmp_path)
    before = {p.name for p in tmp_path.iterdir()}
    done = call(*flags, "--output", "results.json", *more)
    assert done.code == 2, done.err
    for part in (*said, "remedy:"):
        assert part in done.err, done.err
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "own", "--output", "o.json"], "--model is missing"),
        (["--model", "m", "--output", "o.json"], "--suite is missing"),
        (["--model", "m", "--suite", "own"], "--output is missing"),
        (["--from", "gone"], "no measurement of an evaluation"),
        (["--from", "gone", "--samples", "3"], "--samples cannot be changed"),
        (["--from", "gone", "--restart"], "--restart cannot be changed"),
        (["--from", "gone", "--convention", "no"], "no measurement of an evaluation"),
        (["--bogus"], "No such option"),
    ],
)
def test_incomplete_requests_are_refused(arguments: list[str], said: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("evaluate", *arguments)
    assert done.code == 2 and said in done.err, done.err


def test_errors_are_json_for_programs(flags: list[Any], tmp_path: Path):
    done = call(*flags, "--output", tmp_path / "o.json", "--metrics", "nothing", "--json")
    assert done.code == 2
    assert json.loads(done.out)["exit_code"] == 2


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_numbers(
    flags: list[Any], tmp_path: Path
):
    arguments = [*flags, "--json", "--samples", "2", "--output"]
    whole = lines_of(call(*arguments, tmp_path / "whole.json"))
    output = tmp_path / "killed.json"
    parts = tmp_path / "killed.measurements.partial"
    command = Command([*arguments, output], tmp_path)
    assert command.kill_when(lambda: [*parts.glob("*.parquet")])
    command.wait()
    assert not output.exists()
    kept = {p.name: p.stat().st_mtime_ns for p in parts.glob("*.parquet")}
    assert kept
    resumed = lines_of(call(*arguments, output))
    assert resumed == whole
    assert not parts.exists()


def test_another_request_in_the_same_place_is_refused(flags: list[Any], tmp_path: Path):
    output = tmp_path / "o.json"
    assert call(*flags, "--output", output, "--metrics", "forget_probability").code == 0
    other = save_tiny(tmp_path / "other", seed=3)
    done = call(*flags, "--output", output, "--overwrite", "--model", other, "--metrics", FEW)
    assert done.code == 2 and "--restart" in done.err and "weights" in done.err
    done = call(
        *(*flags, "--output", output, "--overwrite", "--restart", "--model", other),
        *("--metrics", "forget_probability"),
    )
    assert done.code == 0, done.err


def test_tofu_from_a_folder(tiny_folder: Path, tmp_path: Path):
    small_tofu(tmp_path)
    retrained = save_tiny(tmp_path / "retrained", seed=2)
    few = "forget_quality,real_authors_probability,retain_rouge"
    common = ["evaluate", "--suite", "tofu", "--data", tmp_path, "--split", "forget01"]
    common += ["--limit", "4", "--device", "cpu", "--quiet", "--json", "--metrics", few]
    done = call(
        *common, "--model", tiny_folder, "--retrained", retrained, "--output", tmp_path / "a.json"
    )
    lines = lines_of(done)
    assert lines["forget_quality"]["estimate"]["value"] > 0
    assert lines["real_authors_probability"]["chance"] == 0.25
    assert lines["retain_rouge"]["distance"]["n"] == 4
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["described"]["split"] == "forget01"
    assert content["retrained"]["kind"] == "results"
    # The retrained model's results of another split are no reference.
    write(tmp_path, "forget05", [{"question": "q", "answer": "a"}])
    other = [*common[:6], "forget05", *common[7:], "--model", tiny_folder]
    done = call(
        *other, "--reference", tmp_path / "a.retrained.json", "--output", tmp_path / "b.json"
    )
    assert done.code == 2
    assert "split 'forget01' there, 'forget05' here" in json.loads(done.out)["error"]


def test_muse_from_a_folder(tiny_folder: Path, tmp_path: Path):
    small_muse(tmp_path)
    done = call(
        *("evaluate", "--suite", "muse", "--data", tmp_path, "--model", tiny_folder),
        *("--device", "cpu", "--quiet", "--json", "--convention", "muse"),
        *("--limit", "2", "--metrics", "rougeL_f1,privleak", "--output", tmp_path / "a.json"),
    )
    lines = lines_of(done)
    assert set(lines) == {
        *("verbatim_memorization", "knowledge_memorization", "utility_preservation"),
        *("mia_min_k_forget", "mia_min_k_holdout", "mia_min_k", "privleak"),
    }
    assert lines["verbatim_memorization"]["options"]["stemmer"] is False
    assert lines["mia_min_k"]["estimate"]["n"] == 4
    assert "no retrained model" in next(iter(lines["privleak"]["estimate"]["reasons"]))
    # Texts are completed, whatever template the tokenizer has.
    assert json.loads((tmp_path / "a.json").read_text())["encoding"]["template"] == "plain"


def test_wmdp_from_a_folder(tiny_folder: Path, tmp_path: Path):
    write_questions(tmp_path, "wmdp-bio", [question(i) for i in range(4)])
    done = call(
        *("evaluate", "--suite", "wmdp", "--data", tmp_path, "--model", tiny_folder),
        *("--device", "cpu", "--quiet", "--output", tmp_path / "a.json"),
    )
    assert done.code == 0, done.err
    rows = {row.split()[0]: row for row in done.out.splitlines() if row.strip()}
    assert rows["bio_accuracy"].endswith("(chance 0.25)")
    assert "unscored, because there is no wmdp-chem" in rows["chem_accuracy"]


def test_metrics_are_listed_and_explained():
    everything = call("metrics")
    assert everything.code == 0
    for name in ("extraction_strength", "fluency", "forget_quality", "Conventions: unbelief"):
        assert name in everything.out
    one = call("metrics", "extraction_strength")
    assert "floor=zero" in one.out and "open-unlearning: floor=one_over_n" in one.out
    rows = json.loads(call("metrics", "--json").out)
    assert {row["name"] for row in rows["metrics"]} >= {"probability", "agg", "mia_auc"}
    assert all(row["documentation"] and row["source"] for row in rows["metrics"])
    wrong = call("metrics", "extraction_strenght")
    assert wrong.code == 2 and "did you mean 'extraction_strength'?" in wrong.err


def test_suites_are_listed_and_explained():
    everything = call("suites")
    assert [row.split()[0] for row in everything.out.splitlines()] == [
        *("muse", "own", "tofu", "wmdp"),
    ]
    one = call("suites", "tofu")
    assert "--split (needed)" in one.out and "mia_gradient_norm" in one.out
    assert "(on request)" in one.out
    rows = json.loads(call("suites", "tofu", "--json").out)
    assert rows[0]["required"] == ["data", "split"]
    wrong = call("suites", "mus")
    assert wrong.code == 2 and "did you mean 'muse'?" in wrong.err


@pytest.mark.parametrize(
    "arguments", [["evaluate", "--help"], ["metrics"], ["metrics", "privleak"], ["suites", "tofu"]]
)
def test_listing_imports_no_torch(arguments: list[str]):
    code = (
        "import sys\nfrom unbelief.cli.main import main\n"
        f"sys.argv = ['unbelief', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert not {'torch', 'transformers', 'datasets'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
