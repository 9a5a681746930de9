from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.audit.made import CITIES, FORGET, save_model, trained
from tests.calibrate.made import save_pair
from tests.cli.common import call
from unbelief.calibrate import CalibrateRequest, calibrate
from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.load import load_model
from unbelief.models.save import save_model as save
from unbelief.provenance import weights_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return save_pair(tmp_path_factory.mktemp("pair"))


def request(world: Path, **changes) -> CalibrateRequest:
    given = {
        "model": str(world / "unlearned"),
        "original": str(world / "original"),
        "forget": str(world / "forget.jsonl"),
        "retain": str(world / "retain.jsonl"),
        "device": "cpu",
        "grid": 0.25,
    }
    return CalibrateRequest(**{**given, **changes})


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "out"
    return calibrate(request(world), output), output


def test_the_folder_holds_the_mixture_at_alpha(world, made):
    found, output = made
    alpha = found.search.alpha
    assert 0 < alpha < 1
    model = AutoModelForCausalLM.from_pretrained(output)
    for name, tensor in trained("original").items():  # the unlearned weights are all zero
        expected = ((1 - alpha) * tensor).to(torch.float32)
        assert torch.equal(model.state_dict()[name], expected)
    assert found.saved.weights_sha256 == weights_sha256(output)


def test_the_curve_begins_at_the_original_and_the_answer_is_on_it(made):
    found, output = made
    document = json.loads((output / "calibration.json").read_text())
    assert document == found.document
    first = document["curve"][0]
    # The original knows every retain answer by heart: extraction strength 1.
    assert (first["alpha"], first["score"]["value"], first["ratio"]["value"]) == (0, 1, 1)
    assert document["bar"] == 0.95
    at = next(p for p in document["curve"] if p["alpha"] == document["alpha"])
    assert at["feasible"] and at["ratio"]["value"] == document["kept"]["value"] >= 0.95
    assert not document["curve"][-1]["feasible"]  # all weights zero: nothing is known
    assert all(p["score"]["n"] == 2 for p in document["curve"])
    assert document["binding"] is True


def test_the_search_never_sees_forget_or_test_items(world, tmp_path, monkeypatch):
    from unbelief.calibrate import pair

    asked = []
    measured = pair.measure_examples

    def watched(model, encoder, plan, **options):
        asked.append({name: {r.id for r in its} for name, its in plan.sets.items()})
        return measured(model, encoder, plan, **options)

    monkeypatch.setattr(pair, "measure_examples", watched)
    calibrate(request(world), tmp_path / "out")
    searched = [sets["retain_search"] for sets in asked if "retain_search" in sets]
    reported = [sets for sets in asked if "retain_search" not in sets]
    assert len(searched) >= 5 and len(reported) == 3
    kept = set(CITIES) - set(FORGET)
    for sets in reported:
        assert sets["forget"] == set(FORGET)
        assert all(not ids & (sets["forget"] | sets["retain_test"]) for ids in searched)
        assert sets["retain_test"] | searched[0] == kept


def test_three_models_are_reported_on_the_other_items(made):
    document = made[0].document
    rows = document["models"]
    assert list(rows) == ["original", "unlearned", "calibrated"]
    assert rows["original"]["forget"]["extraction_strength"]["value"] == 1
    # Zero weights: every token equally likely. Of 120 tokens the first (id 0) wins ties, and no
    # answer holds it; the mean probability per token is 1/120.
    assert rows["unlearned"]["forget"]["extraction_strength"]["value"] == 0
    assert rows["unlearned"]["forget"]["probability"]["value"] == pytest.approx(1 / 120)
    assert document["columns"]["extraction_strength"]["convention"] == "uwc"
    assert document["kept_on_test"]["original"]["value"] == 1
    inputs = document["provenance"]["config"]["inputs"]
    assert inputs["original"]["source"] == "original"
    assert document["provenance"]["forget"]["n"] == 4


def test_a_model_that_keeps_enough_is_taken_as_it_is(world, tmp_path):
    save_model(tmp_path / "mild", "rephrasing")
    found = calibrate(request(world, model=str(tmp_path / "mild")), tmp_path / "out")
    assert found.search.alpha == 1
    assert any(note.startswith("not binding") for note in found.document["notes"])
    assert weights_sha256(tmp_path / "out") == weights_sha256(tmp_path / "mild")


def test_where_only_the_original_keeps_enough_nothing_is_written(world, tmp_path):
    # One step of the grid and no bisection: 1 is infeasible, 0 is what is left.
    hard = request(world, grid=1.0, width=1.0)
    with pytest.raises(GuardError, match=r"alpha=1 falls below it"):
        calibrate(hard, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, "--keep"),
        ({"keep": 95}, "--keep"),
        ({"grid": 0.3}, "does not divide 1"),
        ({"search_share": 1.0}, "--search-share"),
        ({"score": "collapse_rate"}, "does not grow with what a model knows"),
        ({"score": "loss"}, "does not grow with what a model knows"),
        ({"score": "extraction"}, "extraction_strength"),
        ({"convention": "uvw"}, "uwc"),
    ],
)
def test_wrong_requests_are_refused_and_nothing_is_written(world, tmp_path, changes, message):
    with pytest.raises(RequestError, match=message):
        calibrate(request(world, **changes), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_forget_records_among_the_retain_records_are_refused(world, tmp_path):
    with pytest.raises(RequestError, match="4 records are to be forgotten and to be kept"):
        calibrate(request(world, retain=str(world / "forget.jsonl")), tmp_path / "out")


def test_the_same_model_twice_is_refused(world, tmp_path):
    with pytest.raises(RequestError, match="same folder"):
        request(world, model=str(world / "original"))
    shutil.copytree(world / "original", tmp_path / "copy")
    with pytest.raises(RequestError, match="nothing between them"):
        calibrate(request(world, model=str(tmp_path / "copy")), tmp_path / "out")


def test_an_adapter_over_the_original_is_calibrated_as_one(world, tmp_path):
    base = load_model(world / "original", device="cpu")
    adapted = add_lora(base.model, LoraOptions(r=2))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    save(adapted, base.tokenizer, tmp_path / "adapter", merge_adapter=False)
    found = calibrate(request(world, model=str(tmp_path / "adapter")), tmp_path / "out")
    assert found.document["mixing"]["how"] == "adapter"
    alpha = found.search.alpha
    assert 0 < alpha < 1
    layer = adapted.get_base_model().model.layers[0].self_attn.q_proj
    expected = layer.base_layer.weight + alpha * layer.get_delta_weight("default")
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "out")  # full weights, no adapter
    assert torch.equal(made.model.layers[0].self_attn.q_proj.weight, expected)


def test_ctrl_c_writes_nothing(world, tmp_path, monkeypatch):
    from unbelief.calibrate.pair import Pair

    def stopped(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pair, "statistics", stopped)
    with pytest.raises(Interrupted, match="nothing was written"):
        calibrate(request(world), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_inputs_are_never_replaced(world):
    with pytest.raises(RequestError, match="the folder given as --model"):
        calibrate(request(world), world / "unlearned", overwrite=True)


def test_the_command_prints_alpha_and_the_table(world, tmp_path):
    flags = [f"--{n}={world / n}" for n in ("original", "forget", "retain")]
    flags = [f if "original" in f else f + ".jsonl" for f in flags]
    command = ["calibrate", "--model", world / "unlearned", *flags, "--grid", "0.25"]
    done = call(*command, "--output", tmp_path / "out", "--device", "cpu", "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("alpha 0.")
    assert "calibrated" in done.out and "forget ES" in done.out
    again = call(*command, "--output", tmp_path / "out", "--quiet")
    assert again.code == 2 and "exists already" in again.err
    as_json = call(*command, "--output", tmp_path / "two", "--device", "cpu", "--json", "--quiet")
    told = json.loads(as_json.out)
    assert told["weights_sha256"] == weights_sha256(tmp_path / "out")
    assert call("calibrate", "--model", "x", "--output", tmp_path / "three").code == 2
