"""Which parameters train: a LoRA adapter, or those whose names match a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unbelief.errors import RequestError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """Low-rank adaptation: W + (alpha / r) B A with B (out, r) zero at the start and A (r, in).

    Attributes:
        r: Rank.
        alpha: Numerator of the scale alpha / r.
        dropout: Dropout on the adapter's input; 0 by default, so that scores taken while training
            are those of the model.
        target_modules: `all-linear` (every linear layer but the output embedding), or names of
            modules.

    Source: Hu et al., LoRA, arXiv 2106.09685; defaults are ours.
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if self.r < 1:
            raise RequestError(f"r={self.r} is not a rank", where="lora", remedy="r >= 1")
        if self.alpha < 1:
            raise RequestError(f"alpha={self.alpha} is not positive", where="lora", remedy="2 r")
        if not 0 <= self.dropout < 1:
            raise RequestError(
                f"dropout={self.dropout} is not a probability below 1", where="lora", remedy="0"
            )
        if not self.target_modules:
            raise RequestError("no target modules", where="lora", remedy="all-linear")

    @classmethod
    def parse(cls, text: str) -> LoraOptions:
        """Read such as `r=16,alpha=32,target_modules=q_proj+v_proj`; the rest keeps its default.

        Raises:
            RequestError: Unknown or repeated key, or a value that is not a number.
        """
        example = "for example r=16,alpha=32 or r=8,alpha=16,target_modules=q_proj+v_proj"
        given: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not value:
                raise RequestError(f"{part!r} is not key=value", where="lora", remedy=example)
            if key not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise RequestError(
                    f"unknown key {key!r} (there are {known})", where="lora", remedy=example
                )
            if key in given:
                raise RequestError(f"{key} is given twice", where="lora", remedy=example)
            given[key] = value
        kinds: dict[str, Callable[[str], Any]] = {
            "r": int,
            "alpha": int,
            "dropout": float,
            "target_modules": _module_names,
        }
        try:
            return cls(**{key: kinds[key](value) for key, value in given.items()})
        except ValueError as error:
            raise RequestError(
                f"not a number of the right kind: {error}", where="lora", remedy=example
            ) from None


def _module_names(text: str) -> str | tuple[str, ...]:
    return text if text == "all-linear" else tuple(n for n in text.split("+") if n)


def add_lora(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    """Put a fresh adapter on a model and freeze everything else.

    The adapter is float32 whatever the model's dtype, since its updates are small. The model is
    changed in place: its linear layers are wrapped. At the start the adapter does nothing (B = 0).

    Raises:
        RequestError: The model has an adapter already, or no module matches.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    if hasattr(model, "peft_config"):
        raise RequestError(
            "the model has an adapter already", where="lora", remedy="merge it first"
        )
    targets = options.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=options.r,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        # GPT-2's Conv1D keeps its weight transposed.
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise RequestError(
            str(error).splitlines()[0],
            where="lora",
            remedy="all-linear, or names of linear layers such as q_proj+v_proj",
        ) from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def trainable_parameters(
    model: torch.nn.Module, pattern: str | None = None
) -> dict[str, torch.nn.Parameter]:
    r"""Let only the parameters train whose whole name matches a regular expression.

    `requires_grad` is set on every parameter of the model: True on the matching ones, False on
    the others. Tied parameters go by any of their names.

    Args:
        model: The model.
        pattern: For example `model\.layers\.(5|6|7)\..*`; None changes nothing.

    Returns:
        The parameters that train, by name.

    Raises:
        RequestError: The pattern is no regular expression, or matches nothing.
    """
    if pattern is not None:
        try:
            matches = re.compile(pattern).fullmatch
        except re.error as error:
            raise RequestError(
                f"{pattern!r} is not a regular expression: {error}",
                where="trainable",
                remedy=r"for example model\.layers\.(5|6|7)\..*",
            ) from None
        every = list(model.named_parameters(remove_duplicate=False))
        chosen = {id(p) for name, p in every if matches(name)}
        if not chosen:
            some = ", ".join(name for name, _ in every[:4])
            raise RequestError(
                f"no parameter has a name that matches {pattern!r} as a whole",
                where="trainable",
                remedy=f"names look like {some}",
            )
        for _, parameter in every:
            parameter.requires_grad_(id(parameter) in chosen)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
