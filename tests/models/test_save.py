from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.helpers import FAMILIES, save_tiny, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from unbelief.errors import GuardError, RequestError
from unbelief.models import save
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.load import load_model
from unbelief.models.save import merged_copy, save_model
from unbelief.provenance import tensor_sha256, weights_sha256

IDS = torch.arange(7, 19)[None]
SEED_1 = tensor_sha256(tiny_model(seed=1).state_dict())


def adapted_model(family: str = "llama") -> torch.nn.Module:
    """A tiny model with an adapter that does something."""
    adapted = add_lora(tiny_model(family), LoraOptions(r=2))
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted.eval()


def plain_digest(folder: Path) -> str:
    return tensor_sha256(AutoModelForCausalLM.from_pretrained(folder).state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_folder_loads_with_plain_transformers(family: str, tmp_path: Path) -> None:
    model = tiny_model(family)
    saved = save_model(model, tiny_tokenizer(), tmp_path / "out")
    assert plain_digest(saved.path) == tensor_sha256(model.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(saved.path)
    assert tokenizer.encode("Ada?") == tiny_tokenizer().encode("Ada?")
    assert tokenizer.chat_template == tiny_tokenizer().chat_template


def test_what_is_returned_and_written(tmp_path: Path) -> None:
    extra = {"unbelief.json": "{}", "README.md": "# Card", "figures/a.svg": "<svg/>"}
    saved = save_model(tiny_model(), tiny_tokenizer(), tmp_path / "out", extra_files=extra)
    assert saved.path == tmp_path / "out"
    assert (saved.is_adapter, saved.label) == (False, "full weights")
    assert saved.weights_sha256 == weights_sha256(tmp_path / "out")
    assert saved.files == (
        "README.md",
        "chat_template.jinja",
        "config.json",
        "figures/a.svg",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "unbelief.json",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_new_sharded_weights_replace_old_single_file_weights(tmp_path: Path) -> None:
    # Trap: save_pretrained would leave the old model.safetensors, and that is what then loads.
    save_tiny(tmp_path / "out", seed=0)
    new = tiny_model(seed=1)
    saved = save_model(
        new, tiny_tokenizer(), tmp_path / "out", overwrite=True, max_shard_size="20KB"
    )
    assert "model.safetensors" not in saved.files
    assert "model.safetensors.index.json" in saved.files
    assert plain_digest(tmp_path / "out") == SEED_1
    assert load_model(tmp_path / "out").weights_sha256 == saved.weights_sha256


def test_existing_destination_is_refused_without_overwrite(tmp_path: Path) -> None:
    save_tiny(tmp_path / "out", seed=1)
    with pytest.raises(RequestError, match="exists already"):
        save_model(tiny_model(), tiny_tokenizer(), tmp_path / "out")
    assert plain_digest(tmp_path / "out") == SEED_1


def test_folder_the_model_came_from_is_never_replaced(tmp_path: Path) -> None:
    loaded = load_model(save_tiny(tmp_path / "original", seed=1))
    with pytest.raises(RequestError, match="was loaded from"):
        save_model(loaded.model, loaded.tokenizer, tmp_path / "original", overwrite=True)


def test_kill_in_the_middle_leaves_no_destination(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from unbelief.models import save\n"
        "from tests.helpers import tiny_model, tiny_tokenizer\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "save._compare = die\n"  # everything is written, nothing is checked yet
        "save.save_model(tiny_model(), tiny_tokenizer(), sys.argv[1])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], cwd=root)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


def test_weights_that_read_back_differently_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny(tmp_path / "out", seed=1)
    write = save._write_full

    def flips_a_bit(model: torch.nn.Module, folder: Path, max_shard_size: str) -> None:
        write(model, folder, max_shard_size)
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)

    monkeypatch.setattr(save, "_write_full", flips_a_bit)
    with pytest.raises(GuardError, match="differs from the one in memory in 1 of 21"):
        save_model(tiny_model(), tiny_tokenizer(), tmp_path / "out", overwrite=True)
    assert plain_digest(tmp_path / "out") == SEED_1
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["../out.txt", "/etc/x", "config.json", ""])
def test_extra_files_stay_inside_and_replace_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="extra file"):
        save_model(tiny_model(), tiny_tokenizer(), tmp_path / "out", extra_files={name: "x"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gpt2", "gemma2"])
def test_merged_adapter_is_a_plain_full_model(family: str, tmp_path: Path) -> None:
    adapted = adapted_model(family)
    before = tensor_sha256(adapted.state_dict())
    expected = adapted(IDS).logits
    saved = save_model(adapted, tiny_tokenizer(), tmp_path / "out", merge_adapter=True)
    assert not any("adapter" in name for name in saved.files)
    assert (saved.is_adapter, saved.label) == (False, "full weights")
    plain = AutoModelForCausalLM.from_pretrained(saved.path)
    # (W + BA)x and Wx + BAx are the same number in exact arithmetic.
    torch.testing.assert_close(plain(IDS).logits, expected, rtol=1e-4, atol=1e-4)
    assert (plain(IDS).logits - tiny_model(family)(IDS).logits).abs().max() > 0.01
    assert tensor_sha256(adapted.state_dict()) == before  # the model in memory is untouched


def test_merged_copy_keeps_ties_and_shares_no_memory() -> None:
    adapted = adapted_model("llama-tied")
    merged = merged_copy(adapted)
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    ours = {p.data_ptr() for p in adapted.parameters()}
    assert not any(p.data_ptr() in ours for p in merged.parameters())


def test_unmerged_adapter_says_suppression_only_and_leaks_no_path(
    tiny_folder: Path, tmp_path: Path
) -> None:
    adapted = add_lora(load_model(tiny_folder).model, LoraOptions(r=2))
    saved = save_model(adapted, tiny_tokenizer(), tmp_path / "out", merge_adapter=False)
    assert (saved.is_adapter, saved.label) == (True, "suppression only")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Suppression only" in card
    leaks = [
        name
        for name in saved.files
        if str(tiny_folder).encode() in (saved.path / name).read_bytes()
    ]
    # Plain PEFT needs it there to find the base model; the card says so.
    assert leaks == ["adapter_config.json"]
    assert "base_model_name_or_path" in card
    config = json.loads((saved.path / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])


def test_full_model_folder_names_no_path(tiny_folder: Path, tmp_path: Path) -> None:
    loaded = load_model(tiny_folder)
    saved = save_model(loaded.model, loaded.tokenizer, tmp_path / "out")
    for name in saved.files:
        assert str(tiny_folder.parent).encode() not in (saved.path / name).read_bytes(), name


def test_generation_config_that_transformers_would_not_save_is_kept_as_it_is(
    tmp_path: Path,
) -> None:
    # Many published models hold a temperature without do_sample: they load but do not save.
    model = tiny_model()
    model.generation_config.temperature = 0.6
    with pytest.raises(ValueError, match="GenerationConfig is invalid"):
        model.save_pretrained(tmp_path / "plain")
    saved = save_model(model, tiny_tokenizer(), tmp_path / "out")
    assert json.loads((saved.path / "generation_config.json").read_text())["temperature"] == 0.6
    assert AutoModelForCausalLM.from_pretrained(saved.path).generation_config.temperature == 0.6
    assert model.generation_config.temperature == 0.6


def test_bfloat16_stays_bfloat16(tmp_path: Path) -> None:
    saved = save_model(tiny_model().bfloat16(), tiny_tokenizer(), tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(saved.path).dtype == torch.bfloat16
