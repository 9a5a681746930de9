from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.audit.made import trained
from tests.cli.common import call
from tests.patch.made import planted, save_planted
from unbelief.errors import GuardError, RequestError
from unbelief.models.load import load_model
from unbelief.patch import PatchRequest, patch
from unbelief.provenance import weights_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return save_planted(tmp_path_factory.mktemp("planted"))


def request(world: Path, **changes) -> PatchRequest:
    given = {
        "model": str(world / "unlearned"),
        "original": str(world / "original"),
        "forget": str(world / "forget.jsonl"),
        "retain": str(world / "retain.jsonl"),
        "device": "cpu",
        "attacks": (),
        "drift_records": 0,
    }
    return PatchRequest(**{**given, **changes})


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "out"
    full = request(
        world,
        retrained=str(world / "retrained"),
        attacks=("relearn:learning_rate=0.01:num_train_epochs=20", "paraphrase", "few-shot"),
        drift_records=8,
    )
    return patch(full, output), output


def test_the_layer_that_forgets_is_found_and_the_damaged_one_left(made):
    found, _ = made
    assert [r.part for r in found.choice.order] == ["layers.1", "layers.0"]
    assert found.choice.parts == ("layers.1",)
    rows = {row["part"]: row for row in found.document["choice"]["order"]}
    # "Ada was born in Paris .": six tokens. The original has all (1); layer 1 says another city,
    # so that the full stop alone is a correct suffix (1/6). Layer 0 forgets nothing.
    assert rows["layers.1"]["forgetting_change"]["value"] == pytest.approx(5 / 6)
    assert rows["layers.0"]["forgetting_change"]["value"] == 0
    assert abs(rows["layers.1"]["utility_change"]["value"]) < 0.1
    assert rows["layers.0"]["utility_change"]["value"] < -0.3
    # Ranks 1 and 1, 2 and 2.
    assert [row["score"] for row in found.document["choice"]["order"]] == [2, 4]
    sweep = found.document["choice"]["sweep"]
    # Shares kept (about 1) and removed (5/6): the harmonic mean is 2 * 5/6 / (11/6) = 10/11.
    assert sweep[0]["harmonic_mean"] == pytest.approx(10 / 11, abs=0.02)
    assert sweep[0]["harmonic_mean"] > sweep[1]["harmonic_mean"]
    alone = found.document["choice"]["additivity"]
    assert alone["forgetting_together"] == alone["forgetting_sum_of_singles"]  # one part


def test_the_folder_is_the_original_with_that_layer(made):
    found, output = made
    model = AutoModelForCausalLM.from_pretrained(output).state_dict()
    for name, tensor in trained("original").items():
        source = planted()[name] if name.startswith("model.layers.1.") else tensor
        assert torch.equal(model[name], source), name
    assert found.saved.weights_sha256 == weights_sha256(output)
    assert json.loads((output / "patch.json").read_text()) == found.document


def test_the_report_is_on_other_records_and_beside_all_models(made):
    document = made[0].document
    assert list(document["models"]) == ["original", "unlearned", "patched", "retrained"]
    es = {
        name: its["forget_test"]["extraction_strength"]["value"]
        for name, its in document["models"].items()
    }
    kept = {n: its["retain_test"]["probability"]["value"] for n, its in document["models"].items()}
    assert es["original"] == 1 and es["patched"] < 0.3
    assert kept["patched"] > 0.9 > kept["unlearned"]
    assert document["split"]["forget"]["validation"] == document["split"]["forget"]["test"] == 2


def test_attacks_are_made_on_the_patched_and_the_unlearned_model(made):
    attacks = made[0].document["attacks"]
    assert list(attacks["without"]) == ["patched", "unlearned", "retrained"]
    relearn, paraphrase, few_shot = attacks["under"]
    assert list(relearn["models"]) == ["patched", "unlearned", "retrained"]
    before = attacks["without"]["patched"]["probability"]["value"]
    after = relearn["models"]["patched"]["after"]["probability"]["value"]
    assert after > 0.9 > before  # 20 epochs on two records at a high rate bring them back
    change = relearn["models"]["patched"]["change"]["probability"]["value"]
    assert change == pytest.approx(after - before)
    assert paraphrase["models"]["patched"]["after"]["key_fact_recall"]["n"] == 2
    own, other = (relearn["models"][n]["after"]["probability"] for n in ("patched", "unlearned"))
    difference = relearn["patched_minus_unlearned"]["probability"]["value"]
    assert difference == pytest.approx(own["value"] - other["value"])
    assert "few-shot" in few_shot["attack"]
    assert few_shot["models"] or few_shot["not_run"]


def test_drift_is_where_the_weights_differ(made):
    drift = made[0].document["drift"]
    patched = [row["cka"]["value"] for row in drift["patched"]["forget_test"]]
    unlearned = [row["cka"]["value"] for row in drift["unlearned"]["forget_test"]]
    # The patched model's layer 0 is the original's, so its output is too; layer 1 is not.
    assert patched[0] == pytest.approx(1, abs=1e-6) and patched[1] < 0.999
    assert unlearned[0] < 0.999
    assert drift["patched"]["retain_test"][0]["cka"]["n"] == 2


def test_the_original_is_put_back_after_everything(world, tmp_path):
    # The pair's model is loaded anew for every request: what a failed save leaves is not tested
    # here, but that the weights on the disk are those of the inputs still.
    before = weights_sha256(world / "original"), weights_sha256(world / "unlearned")
    patch(request(world, top_k=2), tmp_path / "out")
    assert before == (weights_sha256(world / "original"), weights_sha256(world / "unlearned"))
    # Both layers are all that differs, so this patch is the unlearned model.
    assert weights_sha256(tmp_path / "out") == before[1]


def test_components_are_chosen_one_by_one(world, tmp_path):
    found = patch(request(world, granularity="component"), tmp_path / "out")
    parts = {f"layers.{i}.{c}" for i in (0, 1) for c in ("attention", "mlp", "norm")}
    assert set(found.document["candidates"]) == parts
    only = patch(request(world, granularity="mlp", top_k=1), tmp_path / "mlp")
    assert only.choice.parts == ("layers.1.mlp",)
    assert set(only.document["candidates"]) == {"layers.0.mlp", "layers.1.mlp"}


def test_forget_quality_chooses_with_a_retrained_model(world, tmp_path):
    asked = request(world, retrained=str(world / "retrained"), forgetting="forget_quality")
    found = patch(asked, tmp_path / "out")
    document = found.document["choice"]
    assert found.document["forgetting"] == "forget_quality"
    # Two records against two: p is 1/3 (apart), 1 (alike) or, half apart, 1. Every change is a
    # difference of two of their logarithms, and has no interval.
    for row in document["order"]:
        change = row["forgetting_change"]
        assert min(abs(change["value"] - v) for v in (0, math.log(3), -math.log(3))) < 1e-9
        assert change["low"] is None and change["n"] == 2
    assert "truth_ratio" not in found.document["columns"]


def test_records_without_what_the_criterion_needs_are_refused_with_the_reason(world, tmp_path):
    rows = [json.loads(line) for line in (world / "forget.jsonl").read_text().splitlines()]
    short = tmp_path / "short.jsonl"
    keep = ("id", "group", "question", "answer")
    short.write_text("".join(json.dumps({k: r[k] for k in keep}) + "\n" for r in rows))
    asked = request(world, retrained=str(world / "retrained"), forgetting="forget_quality")
    with pytest.raises(RequestError, match=r"truth_ratio on the forget records has no value: .*"):
        patch(replace(asked, forget=str(short)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_nothing_forgets_nothing_is_written(world, tmp_path):
    # The "unlearned" model has noise in its final norm alone, which is no candidate; its layers
    # are the original's but for a change too small to matter.
    model = load_model(world / "original", device="cpu").model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("model.layers."):
                parameter.mul_(1 + 1e-6)
    model.save_pretrained(str(tmp_path / "same"))
    for file in world.glob("original/*token*"):
        (tmp_path / "same" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "same" / "chat_template.jinja").write_bytes(
        (world / "original" / "chat_template.jinja").read_bytes()
    )
    with pytest.raises(GuardError, match="both forgets and keeps"):
        patch(request(world, model=str(tmp_path / "same")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"granularity": "heads"}, "no granularity"),
        ({"also": ("lm_head",)}, "no part outside the layers"),
        ({"also": ("other",)}, "the model has no other"),
        ({"top_k": 0}, "--top-k"),
        ({"top_k": 3}, "--top-k 3 of 2 parts"),
        ({"forgetting": "forget_quality"}, "compares with a retrained model"),
        ({"utility": "repetition"}, "--utility"),
        ({"attacks": ("relearning",)}, "relearn"),
        ({"drift_records": -1}, "--drift-records"),
    ],
)
def test_wrong_requests_are_refused_and_nothing_is_written(world, tmp_path, changes, message):
    with pytest.raises(RequestError, match=message):
        patch(request(world, **changes), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_tables_and_json(world, tmp_path):
    command = ["patch", "--model", world / "unlearned", "--original", world / "original"]
    command += ["--forget", world / "forget.jsonl", "--retain", world / "retain.jsonl"]
    command += ["--device", "cpu", "--quiet"]
    done = call(*command, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.out.startswith("1 of 2 parts from the unlearned model: layers.1 (harmonic mean")
    for words in ("relearn, patched", "paraphrase, unlearned", "linear CKA", "<-"):
        assert words in done.out
    none = call(*command, "--output", tmp_path / "two", "--attacks", "none", "--json")
    told = json.loads(none.out)
    assert told["attacks"] is None
    assert told["weights_sha256"] == weights_sha256(tmp_path / "two")
    assert any("no attack was tried" in note for note in told["notes"])
