"""The one trainer: `transformers.Trainer` with a loss that is handed whole optimiser steps.

Everything a method is lives in its objective; nothing per method is subclassed here. Transformers
brings optimisers, schedules, mixed precision, checkpoints, resuming, callbacks and trackers. Its
gradient accumulation is not used: a step's micro-batches are cut here, so that reductions know the
whole step's counts.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from unbelief.errors import GuardError
from unbelief.train.options import TrainOptions
from unbelief.train.plan import Beliefs, Plan
from unbelief.train.step import StepLoss

COMPLETE = "COMPLETE"
"""Marks a checkpoint folder that was written to its end."""


class _Steps(Dataset[dict[str, int]]):
    """The step numbers of a run; their rows are made when a step is due."""

    def __init__(self, total: int):
        self.total = total

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, step: int) -> dict[str, int]:
        return {"step": step}


def _only(items: list[dict[str, int]]) -> dict[str, int]:
    return items[0]


class BeliefSupply:
    """The beliefs in force at each step.

    Args:
        initial: Beliefs sampled before training, by record id; empty without BS-S.
        refresh_every: Steps between samplings (0: never again).
        sample: Samples anew for a generation number, from the current weights.
        restore: Reads the beliefs of a generation that an earlier start of this run wrote.
    """

    def __init__(
        self,
        initial: Beliefs,
        *,
        refresh_every: int = 0,
        sample: Callable[[int], Beliefs] | None = None,
        restore: Callable[[int], Beliefs] | None = None,
    ):
        self.beliefs, self.generation = initial, 0
        self._every, self._sample, self._restore = refresh_every, sample, restore

    def at(self, step: int) -> tuple[Beliefs, int]:
        """Beliefs for a step, sampled or restored when it is time."""
        if not self._every or self._sample is None or self._restore is None:
            return self.beliefs, 0
        wanted = step // self._every
        if wanted != self.generation:
            due_now = step % self._every == 0
            self.beliefs = self._sample(wanted) if due_now else self._restore(wanted)
            self.generation = wanted
        return self.beliefs, self.generation


class UnlearnTrainer(Trainer):
    """Runs a `Plan` with a `StepLoss`.

    Args:
        model: What is trained; already an instance an `AnswerModel` was made for.
        options: Training options.
        work: Folder for checkpoints.
        plan: Rows of every step.
        step_loss: Loss of a micro-batch.
        supply: Beliefs of every step.
        callbacks: Further Transformers callbacks.
        device: `cpu` keeps everything on the CPU even where there is a GPU.
    """

    def __init__(
        self,
        model: nn.Module,
        options: TrainOptions,
        work: Path,
        plan: Plan,
        step_loss: StepLoss,
        supply: BeliefSupply,
        *,
        callbacks: list[TrainerCallback] | None = None,
        device: str = "auto",
    ):
        self.plan, self.step_loss, self.supply = plan, step_loss, supply
        self.micro_batches_seen = 0
        super().__init__(
            model=model,
            args=training_arguments(options, plan, work, device),
            train_dataset=_Steps(plan.total_steps),
            callbacks=[CompleteCheckpoints(), *(callbacks or [])],
        )
        self.remove_callback(PrinterCallback)  # stdout is for results
        # Without this, Trainer divides by num_items_in_batch conventions of its own and
        # multiplies custom losses by the accumulation steps.
        self.model_accepts_loss_kwargs = False

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Step numbers in order, the same on every process."""
        return DataLoader(
            _Steps(self.plan.total_steps), batch_size=1, shuffle=False, collate_fn=_only
        )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not estimated: rows are made inside the step."""
        return 0

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Forward and backward over all micro-batches of one optimiser step."""
        model.train()
        beliefs, generation = self.supply.at(int(inputs["step"]))
        rows = self.plan.step(int(inputs["step"]), beliefs, generation)
        total = torch.zeros((), device=self.args.device)
        last = len(rows.micro_batches) - 1
        for i, micro_batch in enumerate(rows.micro_batches):
            sync = contextlib.nullcontext() if i == last else self._without_sync(model)
            with sync, self.compute_loss_context_manager():
                loss = self.compute_loss(model, {"rows": micro_batch, "counts": rows.counts})
                self.accelerator.backward(loss)
            total += loss.detach()
        self._guard(total, int(inputs["step"]))
        return total

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Share of the step's loss; times the number of processes, whose gradients are averaged."""
        call = functools.partial(self.step_loss, inputs["rows"], inputs["counts"])
        loss = self.step_loss.model.within(model, call)
        return loss * self.plan.world_size

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the objective's own quantities to Transformers' log entry."""
        extra = _averaged_over_processes(self.step_loss.tally.take(), self.plan.world_size)
        if "loss" in logs:
            # Shares of the loss are sums over the steps since the last entry.
            steps = max(1, self.args.logging_steps)
            for name in ("forget_loss", "retain_loss"):
                if name in extra:
                    extra[name] = extra[name] * self.plan.world_size / steps
            logs = {**logs, **extra}
        super().log(logs, start_time)

    def _without_sync(self, model: nn.Module) -> Any:
        # Sharded gradients are reduced after every backward: keeping whole ones would cost the
        # memory that sharding saves.
        if isinstance(model, nn.parallel.DistributedDataParallel):
            return model.no_sync()
        return contextlib.nullcontext()

    def _guard(self, loss: Tensor, step: int) -> None:
        finite = torch.isfinite(loss).float()
        if self.plan.world_size > 1:
            dist.all_reduce(finite, op=dist.ReduceOp.MIN)
        if not finite.item():
            raise GuardError(
                f"the loss is not finite ({float(loss)}) at step {step + 1} of "
                f"{self.plan.total_steps}",
                remedy="lower learning_rate or forget_weight, or train in float32; "
                "then start again",
            )


class CompleteCheckpoints(TrainerCallback):
    """Marks each checkpoint once it is whole: a killed process leaves unmarked ones behind."""

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after everything of a checkpoint has been written."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            if folder.is_dir():
                (folder / COMPLETE).touch()


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    found = [p.parent for p in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return max(found, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def training_arguments(
    options: TrainOptions, plan: Plan, work: Path, device: str
) -> TrainingArguments:
    """Transformers' arguments for our options; one of its batches is one optimiser step."""
    total = plan.total_steps
    return TrainingArguments(
        output_dir=str(work),
        max_steps=total,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        warmup_steps=min(total, round(options.warmup_epochs * plan.steps_per_epoch)),
        lr_scheduler_type=options.lr_scheduler_type,
        max_grad_norm=options.max_grad_norm,
        optim=options.optim,
        bf16=options.bf16,
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=options.save_steps or math.ceil(total / 5),
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=options.logging_steps,
        logging_nan_inf_filter=False,
        seed=options.seed,
        report_to=options.report_to,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
        use_cpu=device == "cpu",
        ddp_find_unused_parameters=plan.world_size > 1,
    )


def _averaged_over_processes(values: Mapping[str, float], world: int) -> dict[str, float]:
    if world == 1:
        return dict(values)
    gathered: list[Any] = [None] * world
    dist.all_gather_object(gathered, dict(values))
    names = sorted(set().union(*gathered))
    return {
        name: sum(v[name] for v in gathered if name in v) / sum(name in v for v in gathered)
        for name in names
    }
