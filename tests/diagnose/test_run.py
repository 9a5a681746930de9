"""Several models on the same answers: shared architecture, resumed, refused, written whole."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from tests.diagnose.common import RECORDS
from tests.helpers import save_tiny, tiny_model, tiny_tokenizer
from unbelief.diagnose import ProposeOptions, SqueezeMeter, SqueezeRequest, run_squeeze
from unbelief.diagnose.checkpoints import Checkpoints
from unbelief.diagnose.points import read_points
from unbelief.errors import Interrupted, RequestError


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders a, b, c with Llamas of other weights, `gemma`, and `words` with other tokens."""
    folder = tmp_path_factory.mktemp("models")
    for i, name in enumerate("abc"):
        save_tiny(folder / name, seed=i)
    save_tiny(folder / "gemma", "gemma2")
    tiny_model().save_pretrained(str(folder / "words"))
    tiny_tokenizer("word").save_pretrained(str(folder / "words"))
    return folder


def request(models: Path, *names: str, **changed: Any) -> SqueezeRequest:
    return SqueezeRequest(
        original=str(models / "a"),
        models=tuple(str(models / n) for n in names or ("b", "c")),
        forget=changed.pop("forget", RECORDS[:3]),
        propose=ProposeOptions(candidates=4, max_new_tokens=5),
        device="cpu",
        **changed,
    )


def test_every_model_is_measured_on_the_same_answers(models: Path, tmp_path: Path) -> None:
    result = run_squeeze(request(models), tmp_path / "out", progress=False)
    assert [p["label"] for p in result.document["points"]] == ["original", "b", "c"]
    points = read_points(result.output)
    keys = [[(r.record_id, r.role, r.name) for r in p.readings] for p in points]
    assert keys[0] == keys[1] == keys[2]
    assert sorted(p.name for p in result.output.iterdir()) == [
        "candidates.parquet",
        *(f"point-00000{i}.parquet" for i in range(3)),
        "squeeze.html",
        "squeeze.json",
    ]
    assert stat.S_IMODE((result.output / "candidates.parquet").stat().st_mode) == 0o600
    assert json.loads((result.output / "squeeze.json").read_text()) == result.document
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    # A model compared with itself has not changed.
    same = run_squeeze(request(models, "a"), tmp_path / "same", progress=False).document
    assert same["index"]["index"]["value"] == 0 and same["index"]["points"][1]["gap"]["value"] == 0


def test_tensors_are_exchanged_where_the_architecture_is_the_same(models: Path) -> None:
    ids = torch.tensor([[9, 10, 11]])
    checkpoints = Checkpoints(device="cpu")
    for name, built in (("a", 1), ("b", 1), ("gemma", 2), ("c", 3), ("a", 3)):
        loaded, model, digest = checkpoints.open(str(models / name))
        fresh, _, same = Checkpoints(device="cpu").open(str(models / name))
        assert digest == same
        assert checkpoints.built == built
        with torch.no_grad():
            one, other = (m.model(input_ids=ids).logits for m in (loaded, fresh))
        assert torch.equal(one, other), name
        assert model.inner is loaded.model


def test_tied_weights_are_exchanged_once(tmp_path: Path) -> None:
    for i in range(2):
        save_tiny(tmp_path / str(i), "llama-tied", seed=i)
    checkpoints = Checkpoints(device="cpu")
    checkpoints.open(str(tmp_path / "0"))
    loaded, _, _ = checkpoints.open(str(tmp_path / "1"))
    assert checkpoints.built == 1
    inner: Any = loaded.model
    assert inner.lm_head.weight is inner.model.embed_tokens.weight
    assert torch.equal(inner.lm_head.weight, tiny_model("llama-tied", 1).lm_head.weight)


def test_half_a_checkpoint_does_not_take_the_place_of_a_whole_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for i in range(2):
        save_tiny(tmp_path / str(i), seed=i)
    file = tmp_path / "1" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop("model.norm.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    checkpoints = Checkpoints(device="cpu")
    checkpoints.open(str(tmp_path / "0"))
    with pytest.raises(RequestError, match="do not fit its config"):
        checkpoints.open(str(tmp_path / "1"))


def test_an_interrupted_diagnosis_goes_on(models: Path, tmp_path: Path) -> None:
    whole = run_squeeze(request(models), tmp_path / "whole", progress=False).document
    measure, calls = SqueezeMeter.measure, []

    def interrupted(self: SqueezeMeter, model: Any) -> Any:
        calls.append(model)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, model)

    with mock.patch.object(SqueezeMeter, "measure", interrupted):
        with pytest.raises(Interrupted):
            run_squeeze(request(models), tmp_path / "out", progress=False)
        assert not (tmp_path / "out").exists()
        with pytest.raises(RequestError, match=r"other settings is here \(top_k\)"):
            run_squeeze(replace(request(models), top_k=3), tmp_path / "out", progress=False)
        result = run_squeeze(request(models), tmp_path / "out", progress=False)
    assert len(calls) == 4  # the original, b, c in vain, c
    for name in ("curves", "index", "points"):
        assert result.document[name] == whole[name]
    assert not (tmp_path / "out.partial").exists()


def test_other_weights_under_the_same_name_are_measured_again(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "b", tmp_path / "m")
    asked = replace(request(models), models=(f"m={tmp_path / 'm'}", str(models / "c")))
    real, calls = SqueezeMeter.measure, []

    def measure(self: SqueezeMeter, model: Any) -> Any:
        calls.append(model)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, model)

    with mock.patch.object(SqueezeMeter, "measure", measure):
        with pytest.raises(Interrupted):
            run_squeeze(asked, tmp_path / "out", progress=False)
        shutil.rmtree(tmp_path / "m")
        shutil.copytree(models / "c", tmp_path / "m")
        document = run_squeeze(asked, tmp_path / "out", progress=False).document
    assert len(calls) == 5
    first, second = document["points"][1:]
    assert first["weights_sha256"] == second["weights_sha256"]
    assert document["curves"]["target"][1] == document["curves"]["target"][2]


def test_candidates_and_responses_of_a_file(models: Path, tmp_path: Path) -> None:
    first = run_squeeze(request(models, "b", prompts=2), tmp_path / "one", progress=False)
    responses = tmp_path / "r.jsonl"
    responses.write_text('{"response": "No.", "name": "refusal"}\n')
    again = run_squeeze(
        request(
            models,
            "b",
            prompts=1,
            per_band=1,
            candidates=str(first.output / "candidates.parquet"),
            responses=str(responses),
        ),
        tmp_path / "two",
        progress=False,
    )
    assert again.document["candidates"]["prompts"] == 2  # the file's, not one
    assert len(again.document["curves"]["response:refusal"]) == 2
    assert "refusal" in (again.output / "squeeze.html").read_text()


@pytest.mark.parametrize(
    ("names", "changed", "message"),
    [
        (("none",), {}, "no such model folder"),
        (("b", "b"), {}, "two models are called 'b'"),
        (("words",), {}, "another vocabulary"),
        (("b",), {"prompts": 0}, "0 prompts"),
        (("b",), {"top_k": 0}, "top_k=0"),
        (("b",), {"candidates": "none.parquet"}, "there is no such file"),
        (("b",), {"responses": "none.jsonl"}, "cannot read responses"),
        (("b",), {"forget": "none.jsonl"}, "none.jsonl"),
    ],
)
def test_wrong_requests_write_nothing(
    models: Path, tmp_path: Path, names: tuple[str, ...], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        run_squeeze(request(models, *names, **changed), tmp_path / "out", progress=False)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_no_models_and_a_destination_that_exists(models: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no model to compare"):
        run_squeeze(replace(request(models), models=()), tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(RequestError, match="exists already"):
        run_squeeze(request(models), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
