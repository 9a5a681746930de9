"""Save a model so that what is on the disk is what was in memory.

`save_pretrained` into a folder that holds an older model can leave the OLD weights as the ones that
load (a single file beats shards). Here a model is written to a fresh folder, read back with plain
Transformers (PEFT for an adapter), compared tensor by tensor, flushed, and only then renamed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import torch

from unbelief.errors import GuardError, RequestError
from unbelief.models.source import quiet_transformers
from unbelief.outputs import atomic_folder, check_destination
from unbelief.provenance import tensor_lines, weights_sha256

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ADAPTER_CARD = """---
library_name: peft
tags: [machine-unlearning, suppression-only]
---

# Suppression only

This folder holds a LoRA adapter. The base model it sits on still knows everything: whoever has the
base model, or detaches the adapter, has the data back. Only merged weights may be called an
unlearned model.

`adapter_config.json` names the base model in `base_model_name_or_path`. If that is a folder on the
machine where the adapter was made, change it before passing the adapter on.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A model on the disk.

    Attributes:
        path: The folder.
        weights_sha256: `provenance.weights_sha256` of the folder.
        is_adapter: It is an adapter, which needs its base model.
        label: `full weights`, or `suppression only` for an adapter: the base model's weights
            are as they were.
        files: Names of all files in the folder, sorted.
    """

    path: Path
    weights_sha256: str
    is_adapter: bool
    label: str
    files: tuple[str, ...]


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    destination: str | Path,
    *,
    extra_files: Mapping[str, str] | None = None,
    merge_adapter: bool = True,
    overwrite: bool = False,
    max_shard_size: str = "5GB",
) -> SavedModel:
    """Write a model folder that plain Transformers loads: weights, config, tokenizer, template.

    The model in memory is not changed. Memory: reading back needs a second copy of the weights on
    the CPU; merging an adapter needs one more.

    Args:
        model: A causal language model, or a `PeftModel` around one.
        tokenizer: Written with its chat template.
        destination: Folder that is to appear.
        extra_files: Relative names to text, written into the folder (`unbelief.json`, a model
            card as `README.md`).
        merge_adapter: Write an adapter merged into its base, as a plain full model. Otherwise the
            adapter alone is written, with a card that says "suppression only".
        overwrite: Replace an existing folder as a whole, once the new one is complete.
        max_shard_size: Split weights into files of at most this size.

    Raises:
        RequestError: The destination must not be written, is the folder the model was loaded
            from, or an extra file has a forbidden name.
        GuardError: What was read back differs from what is in memory; nothing is kept.
    """
    target = check_destination(destination, overwrite)
    _refuse_own_source(model, target)
    is_adapter = hasattr(model, "peft_config") and not merge_adapter
    if hasattr(model, "peft_config") and merge_adapter:
        model = merged_copy(cast("PeftModel", model))
    with quiet_transformers(), atomic_folder(target, overwrite) as folder:
        if is_adapter:
            _write_adapter(cast("PeftModel", model), folder)
        else:
            _write_full(model, folder, max_shard_size)
        tokenizer.save_pretrained(str(folder))
        _write_extra(folder, extra_files or {})
        if is_adapter:
            _compare(_adapter_tensors(cast("PeftModel", model)), _read_adapter(folder))
        else:
            _compare(model.state_dict(), _read_full(folder, model))
        digest = weights_sha256(folder)
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return SavedModel(
        path=target,
        weights_sha256=digest,
        is_adapter=is_adapter,
        label="suppression only" if is_adapter else "full weights",
        files=tuple(files),
    )


def merged_copy(model: PeftModel) -> PreTrainedModel:
    """Return a copy on the CPU with the adapter added to the weights, in the weights' dtype.

    The original keeps its adapter. Merging into bfloat16 rounds W + (alpha/r) B A to 8 bits of
    mantissa and can lose small updates; load the base in float32 to keep them.
    """
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        moved = tensor.detach().to("cpu", copy=True)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        memo[id(tensor)] = torch.nn.Parameter(moved, False) if is_parameter else moved
    merged = copy.deepcopy(model, memo).merge_and_unload()
    return cast("PreTrainedModel", merged)


def _refuse_own_source(model: PreTrainedModel, target: Path) -> None:
    named = getattr(model, "name_or_path", "") or ""
    if named and Path(named).is_dir() and Path(named).resolve() == target.resolve():
        raise RequestError(
            f"{target} is the folder the model was loaded from",
            remedy="choose a new destination; the original is needed to judge the result",
        )


def _write_full(model: PreTrainedModel, folder: Path, max_shard_size: str) -> None:
    with _saved_as_is(model) as generation_config:
        model.save_pretrained(str(folder), max_shard_size=max_shard_size)
    if generation_config is not None:
        generation_config.to_json_file(str(folder / "generation_config.json"))


@contextmanager
def _saved_as_is(model: PreTrainedModel) -> Iterator[Any]:
    """Keep `save_pretrained` from refusing a generation config that loads without complaint.

    Many published models hold a temperature without `do_sample`. They load, but Transformers will
    not save them, which would lose a finished run. Yields the config to be written by hand.
    """
    from transformers import GenerationConfig

    original = getattr(model, "generation_config", None)
    if original is None:
        yield None
        return
    model.generation_config = GenerationConfig()
    try:
        yield original
    finally:
        model.generation_config = original


def _write_adapter(model: PeftModel, folder: Path) -> None:
    model.save_pretrained(str(folder), save_embedding_layers=False)
    # PEFT holds the modules in a set: sorted, the same adapter gives the same file.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # PEFT's own card names the base model's folder, which may be a private path.
    (folder / "README.md").write_text(_ADAPTER_CARD, encoding="utf-8")


def _write_extra(folder: Path, extra_files: Mapping[str, str]) -> None:
    for name, text in extra_files.items():
        path = PurePosixPath(name)
        taken = (folder / path).exists() and name != "README.md"
        if taken or path.is_absolute() or ".." in path.parts or not path.parts:
            raise RequestError(
                f"an extra file cannot be called {name!r}",
                remedy="a relative name that no file of the model has",
            )
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _read_full(folder: Path, model: PreTrainedModel) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    # Code that came with a model is not Transformers' own, so only its class can read it back.
    remote = type(model).__module__.startswith("transformers_modules")
    reader: Any = type(model) if remote else AutoModelForCausalLM
    read = reader.from_pretrained(str(folder), dtype=model.dtype, use_safetensors=True)
    return cast("PreTrainedModel", read).state_dict()


def _adapter_tensors(model: PeftModel) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, save_embedding_layers=False)


def _read_adapter(folder: Path) -> dict[str, torch.Tensor]:
    from peft import PeftConfig, load_peft_weights

    PeftConfig.from_pretrained(str(folder))
    return load_peft_weights(str(folder), device="cpu")


def _compare(memory: Mapping[str, torch.Tensor], disk: Mapping[str, torch.Tensor]) -> None:
    """Raise unless both hold the same tensors, bit for bit."""
    ours, theirs = tensor_lines(memory), tensor_lines(disk)
    wrong = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    if wrong:
        raise GuardError(
            f"the saved model differs from the one in memory in {len(wrong)} of {len(ours)} "
            f"tensors ({', '.join(wrong[:3])}); it was not kept",
            remedy="check the disk's space and health, and that no tensor of the model is on the "
            "meta device or in mixed dtypes",
        )
