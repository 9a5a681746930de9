"""Load a causal language model: a folder, a hub id or a PEFT adapter folder.

Only safetensors are read (a pickle runs code), the dtype is always explicit (the default of
Transformers 5 is whatever the checkpoint holds), and weights that are absent from the checkpoint
are an error instead of random numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from unbelief.errors import RequestError
from unbelief.models.source import (
    base_of_adapter,
    cache_folder,
    check_model_folder,
    first_line,
    local_folder,
    plain_errors,
    quiet_transformers,
)
from unbelief.provenance import tensor_sha256, weight_files, weights_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory and what is known about where it came from.

    Attributes:
        model: In evaluation mode, on one device. A `PeftModel` when `is_adapter`.
        tokenizer: Unchanged: one without a padding token still has none, see `pad_id`.
        source: Folder or hub id as the user named it.
        revision: Commit of the hub repository, or None for a folder.
        weights_sha256: Digest of the stored weights (`provenance.weights_sha256`); for an adapter
            a digest over the base model's and the adapter's.
        is_adapter: The source is a PEFT adapter on an unchanged base model.
        dtype: Name of the dtype the weights were loaded in.
        pad_id: Id used for padding. Masks are made from lengths, never from this id.
        pad_is_end: There was no padding token of its own, so padding uses the end token's id.
        base_source: For an adapter, the base model it names.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str
    revision: str | None = None
    weights_sha256: str
    is_adapter: bool = False
    dtype: str = "float32"
    pad_id: int
    pad_is_end: bool = False
    base_source: str | None = None


def load_model(
    source: str | Path,
    *,
    dtype: str = "float32",
    device: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    tokenizer_source: str | Path | None = None,
) -> LoadedModel:
    """Load a model and its tokenizer, ready for scoring or training.

    Args:
        source: Model folder, PEFT adapter folder, or hub id such as `org/name`.
        dtype: `float32` (default: also right for training, because bfloat16 weights lose small
            updates), `bfloat16`, `float16` or `float64`.
        device: `auto` (CUDA if there is any, else CPU) or a torch device such as `cuda:1`.
        revision: Branch, tag or commit of a hub repository.
        trust_remote_code: Run Python code that comes with the model.
        tokenizer_source: Folder or hub id of the tokenizer, when it is not with the model.

    Raises:
        RequestError: With a remedy, for everything that is wrong with the request: no such
            folder or repository, no network, no config, pickled weights, absent weights, no
            tokenizer, no token to pad with, unknown dtype or device.
    """
    if dtype not in DTYPES:
        raise RequestError(
            f"unknown dtype {dtype!r}", where="dtype", remedy=f"one of {', '.join(DTYPES)}"
        )
    target = device_named(device)
    folder = local_folder(source)
    if folder is not None and (folder / "adapter_config.json").is_file():
        return _load_adapter(folder, dtype, target, trust_remote_code, tokenizer_source)
    if folder is not None:
        check_model_folder(folder)
    location = str(folder or source)
    with quiet_transformers():
        model = _load_weights(location, dtype, revision, trust_remote_code)
        tokenizer = load_tokenizer(tokenizer_source or location, revision, trust_remote_code)
    commit = None if folder else getattr(model.config, "_commit_hash", None)
    pad_id, pad_is_end = padding_id(tokenizer, model)
    torch.nn.Module.to(model, target)  # in place
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        source=str(source),
        revision=commit or (None if folder else revision),
        weights_sha256=weights_sha256(folder or cache_folder(location, commit or revision)),
        dtype=dtype,
        pad_id=pad_id,
        pad_is_end=pad_is_end,
    )


def in_memory(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, source: str = "in memory"
) -> LoadedModel:
    """Wrap a model that was built or trained in this process; its weights are hashed as they are.

    Raises:
        RequestError: The tokenizer has no token to pad with.
    """
    pad_id, pad_is_end = padding_id(tokenizer, model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        source=source,
        weights_sha256=tensor_sha256(model.state_dict()),
        is_adapter=hasattr(model, "peft_config"),
        dtype=str(model.dtype).removeprefix("torch."),
        pad_id=pad_id,
        pad_is_end=pad_is_end,
    )


def merged(loaded: LoadedModel) -> LoadedModel:
    """The same model with its adapter in its weights; others as they are."""
    if not loaded.is_adapter:
        return loaded
    whole: Any = loaded.model
    model = whole.merge_and_unload()
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # PEFT had frozen them
    return replace(loaded, model=model, is_adapter=False)


def device_named(name: str) -> torch.device:
    """The device of a name; `auto` is the first GPU, or the CPU where there is none.

    Raises:
        RequestError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RequestError(
            f"unknown device {name!r}", where="device", remedy="auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"there is no {name} here ({torch.cuda.device_count()} CUDA devices)",
            where="device",
            remedy="auto or cpu",
        )
    return device


def _load_weights(
    location: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    with plain_errors(location, revision):
        # With output_loading_info the result is a pair, which the annotations do not say.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=DTYPES[dtype],
            revision=revision or "main",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            ignore_mismatched_sizes=True,  # they are reported below, in our words
            output_loading_info=True,
        )
    model, info = cast("PreTrainedModel", loaded[0]), loaded[1]
    absent = sorted({*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])})
    if absent:
        raise RequestError(
            f"the weights of {location} do not fit its config: {len(absent)} tensors are absent "
            f"or of another shape ({', '.join(absent[:3])})",
            remedy="is this a causal language model? fetch or copy it again if it should be",
        )
    return model.eval()


def load_tokenizer(
    location: str | Path, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub id.

    Raises:
        RequestError: There is none, or it needs a package that is not installed.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(location), revision=revision or "main", trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, ImportError, json.JSONDecodeError) as error:
        raise RequestError(
            f"no usable tokenizer in {location}: {first_line(error)}",
            remedy="save the tokenizer into that folder, or name where it is with tokenizer_source",
        ) from error


def padding_id(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> tuple[int, bool]:
    """Choose the id that fills padding: the tokenizer's own, else the end token's.

    A padding token beyond the embedding matrix (added without resizing it) counts as absent.

    Returns:
        The id, and whether it is the end token's for want of another.

    Raises:
        RequestError: There is neither.
    """
    rows = cast("torch.nn.Embedding", model.get_input_embeddings()).weight.shape[0]
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if pad is not None and pad < rows:
        return int(pad), False
    if end is not None and end < rows:
        return int(end), True
    raise RequestError(
        "the tokenizer has neither a padding nor an end token",
        remedy="set tokenizer.pad_token to a token it knows and save it into the model's folder",
    )


def _load_adapter(
    folder: Path,
    dtype: str,
    device: torch.device,
    trust_remote_code: bool,
    tokenizer_source: str | Path | None,
) -> LoadedModel:
    from peft import PeftConfig, PeftModel

    weight_files(folder)
    config = PeftConfig.from_pretrained(str(folder))
    base_source = base_of_adapter(config.base_model_name_or_path, folder)
    own_tokenizer = folder if (folder / "tokenizer_config.json").is_file() else None
    base = load_model(
        base_source,
        dtype=dtype,
        device=str(device),
        revision=config.revision,
        trust_remote_code=trust_remote_code,
        tokenizer_source=tokenizer_source or own_tokenizer,
    )
    try:
        adapted = PeftModel.from_pretrained(base.model, str(folder)).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RequestError(
            f"the adapter in {folder} does not fit {base_source}: {first_line(error)}",
            remedy="put the base model it was trained on into base_model_name_or_path of "
            "adapter_config.json",
        ) from error
    both = f"{base.weights_sha256}\n{weights_sha256(folder)}"
    return LoadedModel(
        model=cast("PreTrainedModel", adapted),  # it forwards everything to the wrapped model
        tokenizer=base.tokenizer,
        source=str(folder),
        weights_sha256=sha256(both.encode()).hexdigest(),
        is_adapter=True,
        dtype=dtype,
        pad_id=base.pad_id,
        pad_is_end=base.pad_is_end,
        base_source=base_source,
    )
