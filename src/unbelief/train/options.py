"""How to train, in the words of Transformers' `TrainingArguments`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scheduler = Literal[
    "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
]


class TrainOptions(BaseModel):
    """Training options; fields that exist in `TrainingArguments` mean the same here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate")
    num_train_epochs: float = Field(10.0, gt=0, description="passes over the forget data")
    max_steps: int = Field(
        -1, ge=-1, description="optimiser steps; overrides num_train_epochs when positive"
    )
    per_device_train_batch_size: int = Field(
        8,
        ge=1,
        description="forget pairs per process and accumulation step; as many retain rows (and N "
        "times as many belief rows) stream through forwards of at most twice this many rows",
    )
    gradient_accumulation_steps: int = Field(
        4, ge=1, description="multiplies the pairs per optimiser step, not the memory"
    )
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    warmup_epochs: float = Field(1.0, ge=0, description="linear warm-up, in epochs")
    lr_scheduler_type: Scheduler = "linear"
    max_grad_norm: float = Field(1.0, ge=0, description="gradient clipping; 0 turns it off")
    optim: str = Field("adamw_torch", description="as in Transformers")
    bf16: bool = Field(False, description="bfloat16 autocast over fp32 master weights")
    gradient_checkpointing: bool = Field(False, description="recompute activations in backward")
    dropout: bool = Field(
        False, description="keep the model's dropout; off, since reference and policy must agree"
    )
    trainable: str | None = Field(
        None, description="regular expression over parameter names; all others are frozen"
    )
    save_steps: int = Field(
        0, ge=0, description="optimiser steps between checkpoints; 0 takes a fifth of the run"
    )
    logging_steps: int = Field(1, ge=1, description="optimiser steps between log entries")
    seed: int = Field(0, ge=0, description="of data order, belief sampling and everything else")
    report_to: str = Field("none", description="trackers, as in Transformers")
    fsdp: bool = Field(
        False, description="shard parameters over processes (FSDP2) instead of replicating them"
    )
