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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from unbelief import processes
from unbelief.errors import GuardError
from unbelief.models.load import device_named
from unbelief.objectives.base import Counts
from unbelief.tokens import Row
from unbelief.tokens.batch import grouped
from unbelief.train.checkpoints import discard, load_weights, mark_complete, save_weights
from unbelief.train.gradients import Gradients
from unbelief.train.options import TrainOptions
from unbelief.train.plan import Plan
from unbelief.train.step import StepLoss
from unbelief.train.supply import BeliefSupply


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
        self.gradients = Gradients(step_loss.objective.gradients)
        self._logged_until: int | None = None
        super().__init__(
            model=model,
            args=training_arguments(options, plan, work, device),
            train_dataset=_Steps(plan.total_steps),
            callbacks=callbacks,
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
        step, weights = int(inputs["step"]), self.step_loss.weights
        if self._logged_until is None:
            self._logged_until = self.state.global_step
            if self.state.global_step:
                self._restore()
        if self.step_loss.average is not None and step:
            self.step_loss.average.follow()
        if weights is not None:
            weights.begin(step / self.plan.total_steps)
        beliefs, generation = self.supply.at(step)
        rows = self.plan.step(step, beliefs, generation)
        total = torch.zeros((), device=self.args.device)
        with self.step_loss.model.direct(self._one_process):
            for i, micro_batches in enumerate(self.gradients.passes(rows.micro_batches)):
                parts = [part for m in micro_batches for part in self._parts(m)]
                total += self._backward(model, parts, rows.counts)
                self.gradients.after(i, self.step_loss.model.model, self.step_loss.tally)
        self._guard(total, step)
        if weights is not None:
            weights.end((step + 1) / self.plan.steps_per_epoch)
        return total

    def _backward(
        self, model: nn.Module, parts: Sequence[Sequence[Row]], counts: Mapping[str, Counts]
    ) -> Tensor:
        """Add the gradient of some parts of a step to `.grad`; their share of the loss."""
        total = torch.zeros((), device=self.args.device)
        for i, part in enumerate(parts):
            sync = contextlib.nullcontext() if i == len(parts) - 1 else self._without_sync(model)
            with sync, self.compute_loss_context_manager():
                loss = self.compute_loss(model, {"rows": part, "counts": counts})
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _parts(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows that are best run one part after the other, pairs together."""
        units = {id(max(u, key=lambda r: r.length)): u for u in grouped(rows)}
        longest = [r for r in rows if id(r) in units]
        parts = self.step_loss.model.parts(longest)
        return [[r for row in part for r in units[id(row)]] for part in parts]

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
        """Add the objective's own quantities and the epoch of the forget data to a log entry."""
        if "loss" in logs:
            steps = self.state.global_step - (self._logged_until or 0)
            logs = {**logs, **self.step_loss.tally.take(max(1, steps))}
            if self.step_loss.weights is not None:
                logs |= self.step_loss.weights.now
            self._logged_until = self.state.global_step
        # Transformers sees the whole run as one epoch.
        self.state.epoch = self.state.global_step / self.plan.steps_per_epoch
        super().log(logs, start_time)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        """Refuse a step that would make every weight infinite or NaN."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not math.isfinite(norm):
            self._stop(f"the gradient is not finite ({norm})", self.state.global_step)
        return norm

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        processes.wait()
        if processes.is_main():
            if self.step_loss.weights is not None:
                self.step_loss.weights.save(self._checkpoint())
            self.gradients.save(self._checkpoint())
            if self.step_loss.average is not None:
                self.step_loss.average.save(self._checkpoint())
            mark_complete(self._checkpoint())
        processes.wait()

    def _restore(self) -> None:
        if self.step_loss.weights is not None:
            self.step_loss.weights.restore(self._checkpoint())
        self.gradients.restore(self._checkpoint(), self.step_loss.model.model)
        if self.step_loss.average is not None:
            self.step_loss.average.restore(self._checkpoint())

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what is trained; every process comes here, whatever the version of Transformers."""
        assert output_dir is not None and isinstance(self.model, nn.Module)
        if processes.is_main():
            save_weights(self.model, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert isinstance(self.model, nn.Module)
        load_weights(self.model, Path(resume_from_checkpoint))

    def _checkpoint(self) -> Path:
        return Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"

    @property
    def _one_process(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.NO

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
            if processes.is_main():
                discard(self._checkpoint())  # it holds the very weights that give this loss
            self._stop(f"the loss is not finite ({float(loss)})", step)

    def _stop(self, what: str, step: int) -> None:
        processes.wait()
        raise GuardError(
            f"{what} at step {step + 1} of {self.plan.total_steps}",
            remedy="lower learning_rate or forget_weight, or train in float32; then start anew "
            "with --restart",
        )


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
        # The first step of a warm-up has learning rate 0: a run is never all warm-up.
        warmup_steps=min(total - 1, round(options.warmup_epochs * plan.steps_per_epoch)),
        lr_scheduler_type=options.lr_scheduler_type,
        max_grad_norm=options.max_grad_norm,
        optim=options.optim,
        bf16=options.bf16,
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
        use_cpu=device_named(device).type == "cpu",
        ddp_find_unused_parameters=plan.world_size > 1,
    )
