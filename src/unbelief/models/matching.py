"""Whether two models can be mixed, and what an adapter adds to its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel


def check_vocabulary(original: LoadedModel, unlearned: LoadedModel) -> None:
    """Refuse models whose tokens or embeddings do not match.

    Raises:
        RequestError: The vocabularies differ, or the embeddings have another number of rows.
    """
    theirs, ours = unlearned.tokenizer.get_vocab(), original.tokenizer.get_vocab()
    if theirs != ours:
        differing = sorted(t for t in {*theirs, *ours} if theirs.get(t) != ours.get(t))
        raise RequestError(
            f"the two models have different vocabularies ({len(differing)} tokens differ, "
            f"such as {differing[0]!r}), so their weights cannot be mixed",
            where="--model",
            remedy="name the model that was unlearned as --original",
        )
    rows = [
        int(cast("Any", loaded.model).get_input_embeddings().weight.shape[0])
        for loaded in (original, unlearned)
    ]
    if rows[0] != rows[1]:
        raise RequestError(
            f"the original embeds {rows[0]} tokens, the unlearned model {rows[1]}: the vocabulary "
            "was resized in between",
            where="--model",
            remedy="resize the original in the same way, or name the model that was unlearned",
        )


def check_tensors(live: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Refuse models that do not have the same tensors in the same shapes.

    Args:
        live: The original's.
        others: The unlearned model's.

    Raises:
        RequestError: They differ in names or shapes.
    """
    odd = sorted(live.keys() ^ others.keys())
    if odd:
        whose = "original" if odd[0] in live else "unlearned model"
        raise RequestError(
            f"{len(odd)} tensors are in one of the two models only (the {whose} alone has "
            f"{odd[0]})",
            where="--model",
            remedy="both must be of one architecture and have as many layers",
        )
    wrong = [n for n, t in live.items() if t.shape != others[n].shape]
    if wrong:
        name = wrong[0]
        raise RequestError(
            f"{len(wrong)} tensors have different shapes in the two models ({name}: "
            f"{tuple(live[name].shape)} in the original, {tuple(others[name].shape)} in the "
            "unlearned model)",
            where="--model",
            remedy="name the model that was unlearned as --original",
        )


@torch.no_grad()
def adapter_change(unlearned: LoadedModel, live: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """What plain LoRA adds to each weight, by its name in the base model.

    Returns:
        None where a mixture is not linear in the adapter (DoRA, trained biases or whole modules,
        another kind) or its base weights are not the original's; it is merged then.
    """
    from peft.tuners.lora import LoraLayer

    adapted: Any = unlearned.model
    configs = [adapted.peft_config[name] for name in adapted.active_adapters]
    if any(not _is_plain_lora(config) for config in configs):
        return None
    base: dict[str, Tensor] = {}
    change: dict[str, Tensor] = {}
    inner = adapted.get_base_model()
    for name, tensor in inner.state_dict().items():
        if "lora_" not in name:
            base[name.replace(".base_layer.", ".")] = tensor
    if base.keys() != live.keys():
        return None
    if any(not torch.equal(t.cpu(), live[name].cpu()) for name, t in base.items()):
        return None
    for name, module in inner.named_modules():
        if isinstance(module, LoraLayer):
            deltas = [
                cast("Any", module).get_delta_weight(adapter).detach().cpu()
                for adapter in module.active_adapters
                if adapter in (*module.lora_A, *module.lora_embedding_A)
            ]
            if deltas:
                change[f"{name}.weight"] = torch.stack(deltas).sum(0)
    return change


def _is_plain_lora(config: Any) -> bool:
    kind = getattr(config.peft_type, "value", config.peft_type)
    odd = ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias")
    return (
        kind == "LORA"
        and getattr(config, "bias", "none") == "none"
        and not any(getattr(config, name, None) for name in odd)
    )
