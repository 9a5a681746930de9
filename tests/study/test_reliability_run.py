from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.audit.made import save_data, trained
from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.errors import RequestError
from unbelief.study import reliability_run
from unbelief.study.metric_studies import study_reliability
from unbelief.study.reliability_files import ReadingFile, read_table
from unbelief.study.reliability_run import ReliabilityRequest, check_request, collect, named

ATTACKS = ("jailbreak", "relearn:max_steps=2:learning_rate=0.001", "quantise:bits=4")
METRICS = ("probability", "extraction_strength")


def save_between(folder: Path, share: float) -> str:
    """A model between the one that knows everybody and the one that never met the forgotten."""
    model = tiny_model("llama")
    knows, never = trained("original"), trained("retrained")
    mixed = {
        name: (1 - share) * knows[name] + share * never[name]
        if knows[name].is_floating_point()
        else knows[name]
        for name in knows
    }
    model.load_state_dict(mixed)
    model.save_pretrained(str(folder))
    tiny_tokenizer("word").save_pretrained(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def population(tmp_path_factory) -> ReliabilityRequest:
    folder = tmp_path_factory.mktemp("population")
    forget, retain = save_data(folder)
    return ReliabilityRequest(
        models=tuple(
            save_between(folder / f"between-{i}", s)
            for i, s in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))
        ),
        knowing=(save_between(folder / "original", 0.0),),
        retrained=save_between(folder / "retrained", 1.0),
        forget=str(forget),
        retain=str(retain),
        attacks=ATTACKS,
        metrics=METRICS,
    )


def test_fewer_records_are_asked_but_none_is_kept_from_an_attack(population, tmp_path, monkeypatch):
    seen = []
    attack = reliability_run.parse_attacks(ATTACKS[2:])[ATTACKS[2]]

    class Watched(type(attack)):
        def require(self, context):
            seen.append((len(context.forget), len(context.retain)))
            super().require(context)

    watched = Watched(bits=4)
    monkeypatch.setattr(reliability_run, "parse_attacks", lambda _: {"watched": watched})
    some = replace(population, limit=1)
    readings, _ = collect(some, ReadingFile(tmp_path / "r.jsonl", some.digest))
    assert {r.n for r in readings} == {1} and set(seen) == {(4, 4)}


def test_a_population_is_attacked_once_and_read_again(population, tmp_path, monkeypatch):
    kept = ReadingFile(tmp_path / "r.jsonl", population.digest)
    told: list[str] = []
    readings, models = collect(population, kept, progress=lambda name, _n: told.append(name))
    names = [*(f"between-{i}" for i in range(5)), "original", "retrained"]
    assert told == names and list(models) == names
    assert models["original"]["pool"] == "with" and models["retrained"]["pool"] == "retrained"
    # 7 models x 3 attacks x 2 sides x 2 metrics, each on the 4 records of its side.
    assert len(readings) == 84 and {r.n for r in readings} == {4}

    def before(model, side):
        wanted = ("probability", side, model)
        found = {r.before for r in readings if (r.metric, r.side, r.model) == wanted}
        assert len(found) == 1, "what a model shows before does not depend on the attack"
        return found.pop()

    # The loss at the end of training was below 0.05 nats, so the probability is above e^-0.05.
    assert before("original", "forget") > 0.95 and before("retrained", "retain") > 0.95
    assert before("retrained", "forget") < before("between-0", "forget")
    relearned = {r.model: r for r in readings if r.attack == ATTACKS[1] and r.side == "forget"
                 and r.metric == "probability"}  # fmt: skip
    assert relearned["retrained"].after > relearned["retrained"].before

    def never(*_args, **_options):
        raise AssertionError("everything is there already")

    monkeypatch.setattr(reliability_run, "measure_examples", never)
    again, _ = collect(population, ReadingFile(kept.path, population.digest))
    assert again == readings


def test_the_command_writes_tables_and_a_file_that_is_whole(population, tmp_path):
    from unbelief.cli.main import app

    output = tmp_path / "reliability.json"
    arguments = [
        "study", "reliability", *population.models, "--with", population.knowing[0],
        "--retrained", population.retrained, "--forget", population.forget,
        "--retain", population.retain, "--attacks", ",".join(ATTACKS[::2]),
        "--metrics", "probability", "--output", str(output), "--quiet",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Pearson" in done.output and "Faithfulness" in done.output
    document = json.loads(output.read_text())
    assert document["schema"] == "unbelief/metric-reliability"
    assert not output.with_name("reliability.work").exists()
    first = document["reliability"][0]
    assert (first["attack"], first["side"], first["pearson"]["n"]) == ("jailbreak", "forget", 5)
    assert first["knowledge_stays"] is True
    opinion = document["second_opinion"][0]
    assert opinion["faithfulness"]["value"] == 1.0  # the original knows, the retrained does not
    assert opinion["relearning"]["value"] is None  # it was not among the attacks

    # The file's readings, as a table, give the same once more.
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(r) + "\n" for r in document["readings"]))
    assert len(read_table(table)) == len(document["readings"])
    second = tmp_path / "second.json"
    done = CliRunner().invoke(
        app, ["study", "reliability", "--table", str(table), "--output", str(second), "--json"],
        catch_exceptions=False,
    )  # fmt: skip
    assert json.loads(done.output)["reliability"] == document["reliability"]


def test_what_is_wrong_is_told_before_a_model_is_loaded(population, tmp_path):
    from dataclasses import replace

    few = replace(population, models=population.models[:4])
    with pytest.raises(RequestError, match="4 unlearned models: between-0, between-1"):
        study_reliability(few, tmp_path / "out.json")
    twice = replace(population, models=(*population.models[:4], population.models[0]))
    with pytest.raises(RequestError, match="two models are called 'between-0'"):
        check_request(twice)
    with pytest.raises(RequestError, match="unknown attack"):
        check_request(replace(population, attacks=("relern",)))
    with pytest.raises(RequestError, match="unknown metric"):
        check_request(replace(population, metrics=("es",)))
    assert not any(tmp_path.iterdir())


def test_names_of_models():
    assert named("runs/npo-1") == ("npo-1", "runs/npo-1")
    assert named("npo=runs/1") == ("npo", "runs/1")


def test_result_files_of_evaluations_are_readings_too(tmp_path):
    from tests.study.results import write_pair

    table = tmp_path / "t.jsonl"
    write_pair(tmp_path, before=0.2, after=0.5)
    table.write_text(json.dumps({"model": "a", "attack": "relearn", "before": "before.json",
                                 "after": "after.json"}) + "\n")  # fmt: skip
    forget, retain = read_table(table)
    assert (forget.metric, forget.side, forget.before, forget.after) == ("es", "forget", 0.2, 0.5)
    assert (retain.metric, retain.side, retain.before) == ("kept", "retain", 0.2)
