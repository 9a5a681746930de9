"""Putting a question to a model: through its wrappers, in eval mode, and leaving it as it was."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError
from unbelief.models.chunk import HeadWeights
from unbelief.models.dense import full_logits as head_logits
from unbelief.models.inside import context_of, logit_map_of

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder


@dataclass(frozen=True, slots=True)
class Stops:
    """Where an answer ends, and what else an encoder says of how it is decoded.

    Attributes:
        end_ids: Tokens that end it.
        pad_id: Fills the columns after it (never seen).
        repetition_penalty: Of greedy answers, see `Encoder`.
    """

    end_ids: tuple[int, ...]
    pad_id: int
    repetition_penalty: float = 1.0


def stops_of(encoder: Encoder) -> Stops:
    """What the encoder says of them."""
    return Stops(encoder.stop_ids, encoder.pad_id, encoder.repetition_penalty)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the Transformers model inside DDP and LoRA wrappers (LoRA stays active).

    Raises:
        RequestError: The adapter is a soft prompt, which lives in the wrapper.
    """
    inner: Any = model
    if isinstance(inner, nn.parallel.DistributedDataParallel):
        inner = inner.module
    if hasattr(inner, "peft_config") and hasattr(inner, "get_base_model"):
        if getattr(inner.active_peft_config, "is_prompt_learning", False):
            raise RequestError(
                "beliefs cannot be sampled through a soft-prompt adapter",
                where="model",
                remedy="use LoRA, or the model without the adapter",
            )
        inner = inner.get_base_model()
    return cast(nn.Module, inner)


@contextmanager
def asking(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, without gradients, and restore each one's own mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def check_prompts(
    model: nn.Module,
    prompts: Sequence[tuple[int, ...]],
    decoding: Decoding,
    *,
    stated: bool = True,
) -> None:
    """Refuse prompts without tokens, and prompts that leave too little of the model's context.

    Args:
        model: What is to be asked.
        prompts: Token ids.
        decoding: How.
        stated: As for `context_of`.
    """
    empty = [i for i, p in enumerate(prompts) if not p]
    if empty:
        raise RequestError(
            f"{len(empty)} prompts have no tokens, the first is number {empty[0] + 1}; a model "
            "cannot be asked with nothing",
            where="prompts",
            remedy="use a tokenizer with a BOS token, or give the records a prompt",
        )
    context = context_of(model, stated=stated)
    longest = max(len(p) for p in prompts)
    if context is not None and longest + decoding.max_new_tokens > context:
        room = context - longest
        raise RequestError(
            f"the longest prompt has {longest} tokens and the model's context {context}, which "
            f"leaves {max(room, 0)} of the {decoding.max_new_tokens} tokens asked for",
            where="max_new_tokens",
            remedy=f"set max_new_tokens={room} or less" if room > 0 else "shorten the prompt",
        )


def next_logits(
    model: nn.Module, ids: Tensor, mask: Tensor, positions: Tensor, past: Any
) -> Tensor:
    """Logits (R, V) of the token after the last column; `past` grows by the columns of `ids`."""
    out = model(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=past,
        use_cache=True,
        **_optional(model, positions, 1),
    )
    return cast(Tensor, out.logits[:, -1])


def drafting_head(model: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """What makes logits (U, V) of hidden states (U, d), if the output embedding can be asked alone.

    It cannot where its weight is adapted, sharded or elsewhere, and it says nothing where the
    backbone is not a module of its own.
    """
    own: Any = model
    linear = own.get_output_embeddings()
    accepted = _accepted(cast(Hashable, type(model)))
    if (
        type(linear) is not nn.Linear
        or type(linear.weight.data) is not Tensor
        or linear.weight.is_meta
        or not {"position_ids", "logits_to_keep"} <= accepted
        or own.base_model is model
    ):
        return None
    head = HeadWeights(linear.weight, linear.bias, logit_map_of(own.config))
    return lambda hidden: head_logits(hidden.to(head.weight.device), head)


def full_logits(model: nn.Module, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    """Logits of left-padded rows without a cache, of at least the last `keep` columns."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(
        input_ids=ids, attention_mask=mask, use_cache=False, **_optional(model, positions, keep)
    )
    return cast(Tensor, out.logits)


def _optional(model: nn.Module, positions: Tensor, keep: int) -> dict[str, Any]:
    """What only some models take: ALiBi models have no positions, older ones keep all logits."""
    offered = {"position_ids": positions, "logits_to_keep": keep}
    accepted = _accepted(cast(Hashable, type(model)))
    return {name: value for name, value in offered.items() if name in accepted}


@cache
def _accepted(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind.forward).parameters)
