"""A model's facts from its config and file headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions, add_lora, trainable_parameters
from unbelief.models.load import DTYPES
from unbelief.models.source import (
    base_of_adapter,
    check_model_folder,
    local_folder,
    plain_errors,
    quiet_transformers,
)
from unbelief.preflight.result import ModelFacts
from unbelief.provenance import weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_facts(
    source: str | Path,
    *,
    lora: LoraOptions | None = None,
    trainable: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> ModelFacts:
    """Build the model without storage (on the `meta` device) and count.

    Args:
        source: Model folder, adapter folder or hub id.
        lora: The adapter that would train.
        trainable: Pattern of the parameter names that would train.
        dtype: Dtype the weights would be loaded in.
        revision: Commit of a hub model.
        trust_remote_code: Run code that comes with the model.

    Raises:
        RequestError: There is no such model, its config is not one of a causal language model, or
            its weight files are damaged.
    """
    if dtype not in DTYPES:
        raise RequestError(
            f"unknown dtype {dtype!r}", where="dtype", remedy=f"one of {', '.join(DTYPES)}"
        )
    folder = local_folder(source)
    base = None if folder is None else _base_of(folder)
    location = base or str(folder or source)
    if base is None and folder is not None:
        check_model_folder(folder)
    with quiet_transformers():
        model = _empty_model(location, dtype, revision if base is None else None, trust_remote_code)
    output: Any = model.get_output_embeddings()
    inputs: Any = model.get_input_embeddings()
    embeddings = {id(m.weight): m.weight for m in (inputs, output)}
    facts = _sizes(model)
    total, trained = sum(p.numel() for p in model.parameters()), "all weights"
    training: Any = model
    if lora is not None:
        training, trained = add_lora(model, lora), f"LoRA r={lora.r}"
    elif trainable is not None:
        trainable_parameters(model, trainable)
        trained = f"names matching {trainable}"
    stored = (None, None) if folder is None else _stored(folder)
    return ModelFacts(
        source=str(source),
        base_source=base,
        parameters=total,
        embedding_parameters=sum(w.numel() for w in embeddings.values()),
        trainable=sum(p.numel() for p in training.parameters() if p.requires_grad),
        trained=trained,
        output_trains=bool(output.weight.requires_grad),
        vocabulary=int(output.weight.shape[0]),
        stored_bytes=stored[0],
        stored_parameters=stored[1],
        **facts,
    )


def _base_of(folder: Path) -> str | None:
    """Return the model an adapter folder belongs to; None when it is no adapter folder."""
    config = folder / "adapter_config.json"
    if not config.is_file():
        return None
    try:
        named = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise RequestError(
            "not an adapter's config", where=str(config), remedy="copy the adapter again"
        ) from error
    return base_of_adapter(named, folder)


def _empty_model(
    location: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> PreTrainedModel:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with plain_errors(location, revision):
        config = AutoConfig.from_pretrained(
            location, revision=revision or "main", trust_remote_code=trust_remote_code
        )
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(
                config, dtype=DTYPES[dtype], trust_remote_code=trust_remote_code
            )
    return cast("PreTrainedModel", model)


def _sizes(model: PreTrainedModel) -> dict[str, Any]:
    """Widths and depths, under the names that configs use for them."""
    config: Any = model.config.get_text_config()
    hidden = int(config.hidden_size)
    heads = int(config.num_attention_heads)
    head = int(getattr(config, "head_dim", None) or hidden // heads)
    return {
        "architecture": type(model).__name__,
        "layers": int(config.num_hidden_layers),
        "hidden": hidden,
        "intermediate": _first(config, ("intermediate_size", "n_inner", "ffn_dim")) or 4 * hidden,
        "key_value": (_first(config, ("num_key_value_heads",)) or heads) * head,
        "heads": heads,
        "stores_attention": config._attn_implementation == "eager",
        "context": _first(config, ("max_position_embeddings",)),
        "experts": bool(_first(config, ("num_local_experts", "num_experts", "n_routed_experts"))),
    }


def _first(config: Any, names: tuple[str, ...]) -> int | None:
    found = (getattr(config, name, None) for name in names)
    return next((int(value) for value in found if isinstance(value, int) and value), None)


def _stored(folder: Path) -> tuple[int, int]:
    """Bytes and number of values in the weight files, from their headers."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    values = 0
    files = weight_files(folder)
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                names = opened.keys()
                values += sum(prod(opened.get_slice(name).get_shape()) for name in names)
        except SafetensorError as error:
            raise RequestError(
                f"the weight file is damaged or cut off ({error})",
                where=str(file),
                remedy="copy or download it again",
            ) from error
    return sum(file.stat().st_size for file in files), values
