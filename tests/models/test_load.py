from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import EOS, FAMILIES, PAD, VOCABULARY, save_tiny, tiny_model, tiny_tokenizer

from unbelief.errors import RequestError
from unbelief.models.load import in_memory, load_model
from unbelief.provenance import tensor_sha256, weights_sha256


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_with_the_weights_that_were_saved(family: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / "model", family)
    loaded = load_model(tmp_path / "model")
    assert tensor_sha256(loaded.model.state_dict()) == (
        tensor_sha256(tiny_model(family).state_dict())
    )
    assert not loaded.model.training
    assert loaded.revision is None and not loaded.is_adapter


def test_what_is_known_about_a_folder(tiny_folder: Path) -> None:
    loaded = load_model(str(tiny_folder))
    assert loaded.source == str(tiny_folder)
    assert loaded.weights_sha256 == weights_sha256(tiny_folder)
    assert (loaded.pad_id, loaded.pad_is_end, loaded.dtype) == (PAD, False, "float32")
    assert loaded.tokenizer.chat_template is not None


def test_dtype_is_the_one_asked_for_not_the_checkpoints(folder: Path) -> None:
    tiny_model().bfloat16().save_pretrained(folder)
    assert load_model(folder).model.dtype == torch.float32
    assert load_model(folder, dtype="bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(RequestError, match="unknown dtype 'int4'"):
        load_model(folder, dtype="int4")


def test_weights_digest_is_of_the_stored_weights_whatever_the_dtype(tiny_folder: Path) -> None:
    in_half = load_model(tiny_folder, dtype="float16")
    assert in_half.weights_sha256 == load_model(tiny_folder).weights_sha256


def test_tokenizer_without_padding_pads_with_the_end_token_and_stays_as_it_was(
    folder: Path,
) -> None:
    tiny_tokenizer(pad="none").save_pretrained(folder)
    loaded = load_model(folder)
    assert (loaded.pad_id, loaded.pad_is_end) == (EOS, True)
    assert loaded.tokenizer.pad_token_id is None


def test_padding_token_beyond_the_embedding_counts_as_absent(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<extra{i}>" for i in range(VOCABULARY - len(tokenizer))])
    tokenizer.add_special_tokens({"pad_token": "<new>"})
    assert tokenizer.pad_token_id == VOCABULARY
    loaded = in_memory(tiny_model(), tokenizer)
    assert (loaded.pad_id, loaded.pad_is_end) == (EOS, True)


def test_tokenizer_with_neither_padding_nor_end_is_refused(folder: Path) -> None:
    tokenizer = tiny_tokenizer(pad="none")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(RequestError, match="neither a padding nor an end token"):
        load_model(folder)


def test_tokenizer_from_another_place(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (folder / "tokenizer_config.json").rename(tmp_path / "tokenizer_config.json")
    with pytest.raises(RequestError, match="no usable tokenizer") as caught:
        load_model(folder)
    assert "tokenizer_source" in str(caught.value.remedy)
    assert load_model(folder, tokenizer_source=tmp_path).pad_id == PAD


@pytest.mark.parametrize("source", ["./absent", "/absent/model", "a/b/c", "", Path("absent")])
def test_missing_folder(source: str | Path) -> None:
    with pytest.raises(RequestError, match="no such model folder"):
        load_model(source)


def test_file_and_folder_without_config(folder: Path) -> None:
    with pytest.raises(RequestError, match="is a file"):
        load_model(folder / "config.json")
    (folder / "config.json").unlink()
    with pytest.raises(RequestError, match=r"has no config\.json"):
        load_model(folder)


def test_hub_id_without_network_is_told_in_plain_words() -> None:
    with pytest.raises(RequestError, match="hub cannot be reached") as caught:
        load_model("unbelief-tests/absent")
    assert "hf download" in str(caught.value.remedy)


def test_malformed_hub_id() -> None:
    with pytest.raises(RequestError, match="cannot be loaded"):
        load_model("not an id")


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(RequestError, match="pickle files only"):
        load_model(folder)


def test_two_sets_of_weights_are_refused(folder: Path) -> None:
    tiny_model(seed=1).save_pretrained(folder, max_shard_size="20KB")
    with pytest.raises(RequestError, match="two sets of weights"):
        load_model(folder)


def test_absent_weights_are_an_error_not_random_numbers(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(RequestError, match=r"9 tensors are absent .*model\.layers\.2"):
        load_model(folder)


def test_weights_of_another_shape_are_an_error(folder: Path) -> None:
    edit_json(folder / "config.json", vocab_size=64)
    with pytest.raises(RequestError, match="2 tensors are absent or of another shape"):
        load_model(folder)


def test_unknown_architecture_and_remote_code(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="mystery")
    with pytest.raises(RequestError, match="cannot be loaded"):
        load_model(folder)
    edit_json(folder / "config.json", auto_map={"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"})
    with pytest.raises(RequestError, match="needs Python code") as caught:
        load_model(folder)
    assert "trust_remote_code" in str(caught.value.remedy)


def test_devices(tiny_folder: Path) -> None:
    for device in ("potato", "cuda:99"):
        with pytest.raises(RequestError, match=r"unknown device|there is no"):
            load_model(tiny_folder, device=device)
    assert load_model(tiny_folder, device="cpu").model.device.type == "cpu"


def test_loading_prints_no_bars_when_nobody_watches(
    tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_model(tiny_folder)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_real_small_model_loads(shared_dir: Path) -> None:
    loaded = load_model(shared_dir / "models" / "tofu-tiny" / "full")
    assert sum(p.numel() for p in loaded.model.parameters()) == pytest.approx(4.26e6, rel=0.01)
