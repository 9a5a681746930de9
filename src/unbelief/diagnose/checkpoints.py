"""Many checkpoints of one architecture, one at a time in memory.

Building a model, and checking its answer head, costs more than reading its weights. Where a folder
holds the same architecture as the model before it, only its tensors are read, into the place of
the old ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel, load_model, load_tokenizer
from unbelief.models.runner import AnswerModel
from unbelief.models.source import local_folder
from unbelief.provenance import weight_files, weights_sha256

# Of a config these do not change what a model computes.
_IDLE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")


class Checkpoints:
    """Opens one checkpoint after the other.

    Args:
        dtype: Of the weights, see `load_model`.
        device: Likewise.
        trust_remote_code: Likewise.

    Attributes:
        built: How many models were built from nothing.
    """

    def __init__(
        self, *, dtype: str = "float32", device: str = "auto", trust_remote_code: bool = False
    ):
        self._options: dict[str, Any] = {"dtype": dtype, "device": device}
        self._options["trust_remote_code"] = trust_remote_code
        self._held: tuple[LoadedModel, AnswerModel] | None = None
        self._folder: Path | None = None
        self.built = 0

    def open(self, source: str) -> tuple[LoadedModel, AnswerModel, str]:
        """The model of a folder or hub id, and the digest of its weights.

        What was returned before holds the new weights, or none.

        Raises:
            RequestError: It cannot be loaded.
        """
        folder = local_folder(source)
        if self._held is not None and folder is not None and self._fits(folder):
            _copy(folder, self._held[1].inner)
            self._folder = folder
            return (*self._held, weights_sha256(folder))
        self._held = None  # two models at once may not fit into memory
        loaded = load_model(source, **self._options)
        self._held = loaded, AnswerModel(loaded.model, pad_id=loaded.pad_id)
        self._folder, self.built = folder, self.built + 1
        return (*self._held, loaded.weights_sha256)

    def _fits(self, folder: Path) -> bool:
        """Whether its tensors can take the place of those in memory."""
        assert self._held is not None
        loaded = self._held[0]
        if self._folder is None or loaded.is_adapter or (folder / "adapter_config.json").is_file():
            return False
        return (
            _config(folder) == _config(self._folder)
            and _same_tokens(folder, self._folder, loaded)
            and _covers(folder, self._held[1].inner)
        )


def check_vocabulary(first: LoadedModel, source: str, loaded: LoadedModel) -> None:
    """Refuse a model whose tokens mean something else than the original's.

    Raises:
        RequestError: Its tokenizer has another vocabulary.
    """
    if loaded.tokenizer.get_vocab() != first.tokenizer.get_vocab():
        raise RequestError(
            f"{source} has another vocabulary than the original model",
            where="models",
            remedy="compare checkpoints of one model",
        )


def _config(folder: Path) -> dict[str, Any] | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # `load_model` says what is wrong
    if not isinstance(config, dict):
        return None
    return {name: value for name, value in config.items() if name not in _IDLE}


def _same_tokens(folder: Path, before: Path, loaded: LoadedModel) -> bool:
    """Whether the folder's tokenizer has the same vocabulary; a checkpoint may have none."""
    if not (folder / "tokenizer_config.json").is_file():
        return not (folder / "tokenizer.json").is_file()
    files = [place / "tokenizer.json" for place in (folder, before)]
    if all(f.is_file() for f in files) and files[0].read_bytes() == files[1].read_bytes():
        return True
    return load_tokenizer(folder).get_vocab() == loaded.tokenizer.get_vocab()


def _covers(folder: Path, model: torch.nn.Module) -> bool:
    """Whether the files hold every tensor of the model, tied ones at least under one name."""
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    stored: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            stored |= {n: tuple(tensors.get_slice(n).get_shape()) for n in tensors.keys()}  # noqa: SIM118
    if any(own.get(name) != shape for name, shape in stored.items()):
        return False
    places = {_place(t) for name, t in model.state_dict().items() if name in stored}
    return all(_place(t) in places for t in model.state_dict().values())


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)


@torch.no_grad()
def _copy(folder: Path, model: torch.nn.Module) -> None:
    own = model.state_dict()  # the tensors themselves, not copies
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - a file handle, not a mapping
                own[name].copy_(tensors.get_tensor(name))
