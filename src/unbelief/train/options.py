"""How to train, in the words of Transformers' `TrainingArguments`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unbelief.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Training options; fields that exist in `TrainingArguments` mean the same here.

    Attributes:
        learning_rate: Peak learning rate.
        num_train_epochs: Passes over the forget data.
        max_steps: Optimiser steps; overrides `num_train_epochs` when positive.
        per_device_train_batch_size: Forget pairs per process and accumulation step. As many retain
            rows come along, and N times as many belief rows with BS-S; they are streamed through
            forwards of at most twice this many rows.
        gradient_accumulation_steps: Multiplies the pairs per optimiser step, not the memory.
        weight_decay: AdamW's.
        warmup_epochs: Linear warm-up, in epochs (one in the field's TOFU setting).
        lr_scheduler_type: As in Transformers.
        max_grad_norm: Gradient clipping; 0 turns it off.
        optim: As in Transformers.
        bf16: bfloat16 autocast over fp32 master weights.
        gradient_checkpointing: Recompute activations in backward.
        dropout: Keep the model's dropout; off by default, since reference and policy must agree.
        trainable: Regular expression over parameter names; others are frozen.
        save_steps: Optimiser steps between checkpoints; 0 takes a fifth of the run.
        logging_steps: Optimiser steps between log entries.
        seed: Of data order, belief sampling and everything else.
        report_to: Trackers, as in Transformers; nothing by default.
        fsdp: Shard parameters over processes (FSDP2) instead of replicating them (DDP).
    """

    learning_rate: float = 1e-5
    num_train_epochs: float = 10.0
    max_steps: int = -1
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 4
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
    ] = "linear"
    max_grad_norm: float = 1.0
    optim: str = "adamw_torch"
    bf16: bool = False
    gradient_checkpointing: bool = False
    dropout: bool = False
    trainable: str | None = None
    save_steps: int = 0
    logging_steps: int = 1
    seed: int = 0
    report_to: str = "none"
    fsdp: bool = False

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, "learning_rate", "positive", self.learning_rate)
        _require(
            self.num_train_epochs > 0 or self.max_steps > 0,
            "num_train_epochs",
            "positive",
            self.num_train_epochs,
        )
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps", "logging_steps"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("weight_decay", "warmup_epochs", "max_grad_norm", "save_steps", "seed"):
            _require(getattr(self, name) >= 0, name, "not negative", getattr(self, name))


def _require(ok: bool, field: str, expected: str, value: object) -> None:
    if not ok:
        raise RequestError(
            f"{field}={value} is out of range", where=field, remedy=f"{field} must be {expected}"
        )
