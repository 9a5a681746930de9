"""What is inside a model: the causal language model under its wrappers, and its own forward."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import nn

from unbelief.models.chunk import LogitMap


def causal_lm(model: nn.Module) -> nn.Module:
    """The Transformers model inside DDP, PEFT or nothing at all."""
    inner: Any = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def install_answer_call(inner: Any) -> None:
    """Let `inner(answer_call=f)` run f inside the model's own forward.

    The forward is put on the instance as a bound method: the class, its saved configuration and
    other instances stay untouched, and a deep copy of the model gets a forward of its own, where a
    closure would keep running the weights it was made for.
    """
    if hasattr(inner, "_unbelief_forward"):
        return
    original = inner.forward

    @functools.wraps(original)
    def forward(
        self: Any, *args: Any, answer_call: Callable[[], Any] | None = None, **kwargs: Any
    ) -> Any:
        return self._unbelief_forward(*args, **kwargs) if answer_call is None else answer_call()

    # Generation and the trainer read the signature.
    signature = inspect.signature(original)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    changed = signature.replace(parameters=[own, *signature.parameters.values()])
    forward.__signature__ = changed  # type: ignore[attr-defined]
    inner._unbelief_forward = original
    inner.forward = MethodType(forward, inner)


def original_forward(inner: Any) -> Callable[..., Any]:
    """The forward the model came with."""
    forward: Callable[..., Any] = inner._unbelief_forward
    return forward


def context_of(inner: Any, *, stated: bool = True) -> int | None:
    """Longest sequence of a model in tokens; None where there is no limit or none is named.

    Args:
        inner: A Transformers model.
        stated: Heed the length its configuration states. Rotary positions go on beyond it, and
            Transformers lets them; a table of learnt positions ends there in any case.
    """
    config = inner.config.get_text_config(decoder=True)
    context = getattr(config, "max_position_embeddings", None)
    goes_on = getattr(config, "rope_parameters", None) is not None
    return None if context is None or (goes_on and not stated) else int(context)


def logit_map_of(config: Any) -> LogitMap:
    """What this architecture does to its logits before the softmax."""
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale = 1.0
    if getattr(config, "logits_scaling", None):  # Granite
        scale = 1.0 / config.logits_scaling
    elif getattr(config, "logit_scale", None):  # Cohere
        scale = float(config.logit_scale)
    return LogitMap(scale, getattr(config, "final_logit_softcapping", None))
