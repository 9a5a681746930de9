from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from unbelief import hashing, provenance
from unbelief.errors import RequestError
from unbelief.provenance import (
    Provenance,
    RecordsDigest,
    environment,
    file_sha256,
    records_digest,
    tensor_sha256,
    weight_files,
    weights_sha256,
)
from unbelief.types import Message, Record

KEY = bytes(range(32))
TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "b": torch.ones(4, dtype=torch.bfloat16),
    "c": torch.tensor(3),
    "empty": torch.zeros(0, 5),
}


def write_sharded(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    weight_map = {}
    for i, (name, tensor) in enumerate(tensors.items()):
        save_file({name: tensor}, folder / f"model-{i}.safetensors")
        weight_map[name] = f"model-{i}.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_tensor_digest_is_the_documented_formula() -> None:
    # One tensor: SHA256 of the line '["a", "F32", [2], "<SHA256 of 8 bytes>"]'.
    tensor = torch.tensor([1.0, 2.0])
    content = hashlib.sha256(bytes.fromhex("0000803f00000040")).hexdigest()
    line = f'["a", "F32", [2], "{content}"]'
    assert tensor_sha256({"a": tensor}) == hashlib.sha256(line.encode()).hexdigest()


def test_tensor_digest_ignores_order_and_memory_layout() -> None:
    backwards = dict(reversed(TENSORS.items()))
    backwards["a"] = TENSORS["a"].T.contiguous().T  # same values, other strides
    assert not backwards["a"].is_contiguous()
    assert tensor_sha256(backwards) == tensor_sha256(TENSORS)


@pytest.mark.parametrize(
    "change",
    [
        {"a": TENSORS["a"] + torch.eye(2, 3) * 1e-6},
        {"a": TENSORS["a"].reshape(3, 2)},
        {"b": TENSORS["b"].half()},
        {"b": TENSORS["b"].view(torch.int16)},
        {"c": torch.tensor([3])},
        {"extra": torch.tensor(1.0)},
    ],
)
def test_tensor_digest_sees_values_shape_dtype_and_names(change: dict[str, torch.Tensor]) -> None:
    assert tensor_sha256({**TENSORS, **change}) != tensor_sha256(TENSORS)


def test_folder_digest_equals_that_of_the_tensors_in_one_file_or_many(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    save_file(TENSORS, tmp_path / "one" / "model.safetensors")
    write_sharded(tmp_path / "many", TENSORS)
    assert weights_sha256(tmp_path / "one") == tensor_sha256(TENSORS)
    assert weights_sha256(tmp_path / "many") == tensor_sha256(TENSORS)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=3), st.sampled_from(["float32", "bfloat16", "int8"]))
def test_stored_and_in_memory_digests_agree_for_any_shape(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    tensors = {"x": (torch.rand(shape) * 9).to(getattr(torch, dtype))}
    save_file(tensors, folder / "model.safetensors")
    assert weights_sha256(folder) == tensor_sha256(tensors)


def test_small_chunks_give_the_same_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    monkeypatch.setattr(hashing, "_CHUNK", 5)
    assert weights_sha256(tmp_path) == tensor_sha256(TENSORS)
    assert file_sha256(tmp_path / "model.safetensors") == (
        hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    )


def test_two_sets_of_weights_in_one_folder_are_refused(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    write_sharded(tmp_path, TENSORS)
    with pytest.raises(RequestError, match="two sets of weights"):
        weight_files(tmp_path)


def test_absent_and_damaged_weights_are_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no safetensors weights"):
        weights_sha256(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(RequestError, match=r"pickle files only \(pytorch_model.bin\)"):
        weights_sha256(tmp_path)
    write_sharded(tmp_path, TENSORS)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(RequestError, match=r"lacks model-1\.safetensors"):
        weights_sha256(tmp_path)
    single = tmp_path / "single"
    single.mkdir()
    save_file(TENSORS, single / "model.safetensors")
    whole = (single / "model.safetensors").read_bytes()
    (single / "model.safetensors").write_bytes(whole[:-3])
    with pytest.raises(RequestError, match="cut short"):
        weights_sha256(single)
    (single / "model.safetensors").write_bytes(b"version https://git-lfs")
    with pytest.raises(RequestError, match="not a safetensors file"):
        weights_sha256(single)


RECORDS = [
    Record(id="1", prompt="Who?", answer="Ada"),
    Record(id="2", prompt=(Message("user", "Who?"),), answer="Boris"),
    Record(id="3", prompt=None, answer="Clara"),
]


def test_records_are_only_counted_without_a_key() -> None:
    assert records_digest(RECORDS) == RecordsDigest(n=3, hmac_sha256=None, key_id=None)


def test_keyed_digest_ignores_order_and_ids_but_not_content() -> None:
    digest = records_digest(RECORDS, KEY)
    shuffled = [dataclasses.replace(r, id=f"x{r.id}") for r in reversed(RECORDS)]
    assert records_digest(shuffled, KEY) == digest
    assert records_digest(RECORDS, KEY[::-1]).hmac_sha256 != digest.hmac_sha256
    assert records_digest(RECORDS[:2], KEY).hmac_sha256 != digest.hmac_sha256
    changed = [*RECORDS[:2], dataclasses.replace(RECORDS[2], answer="Klara")]
    assert records_digest(changed, KEY).hmac_sha256 != digest.hmac_sha256


def test_keyed_digest_is_not_a_plain_hash_and_short_keys_are_refused() -> None:
    one = [Record(id="1", prompt=None, answer="Ada")]
    digest = records_digest(one, KEY)
    for content in ("Ada", '[null, "Ada"]'):
        assert hashlib.sha256(content.encode()).hexdigest() != digest.hmac_sha256
    with pytest.raises(RequestError, match="can be guessed"):
        records_digest(one, b"password")


def test_environment_names_versions_and_no_private_path() -> None:
    here = environment()
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.packages["torch"] == torch.__version__
    text = json.dumps(dataclasses.asdict(here))
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


def test_commit_and_dirty_flag_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        options = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        command = ["git", "-C", str(tmp_path), *options, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert provenance._git_state(tmp_path) == (None, None)
    git("init", "-q")
    (tmp_path / "provenance.py").write_text("a")
    assert provenance._git_state(tmp_path) == (None, None)  # inside a checkout, not tracked by it
    git("add", ".")
    git("commit", "-q", "-m", "x")
    assert provenance._git_state(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "provenance.py").write_text("b")
    assert provenance._git_state(tmp_path) == (git("rev-parse", "HEAD"), True)


def test_asking_for_the_environment_does_not_import_torch() -> None:
    code = "import sys; from unbelief.provenance import environment; environment(); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_provenance_survives_json_and_holds_no_text() -> None:
    made = Provenance(
        source="org/model",
        input_weights_sha256="00",
        forget=records_digest(RECORDS, KEY),
        config={"beta": 0.1},
        seed=3,
    )
    text = json.dumps(made.to_dict())
    assert json.loads(text)["forget"]["n"] == 3
    assert json.loads(text)["config"] == {"beta": 0.1}
    assert not any(name in text for name in ("Ada", "Boris", "Clara"))
