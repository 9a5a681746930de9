"""One run's training: plan, beliefs, reference and trainer put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import TrainerCallback

from unbelief import processes
from unbelief.beliefs.bank import BeliefBank
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, Objective
from unbelief.objectives.forget.transplant import Transplant
from unbelief.rundir import RunFolder
from unbelief.train.average import average_of
from unbelief.train.callbacks import Hooks, InterruptGuard, ProgressBar, StepHook, bar, introduce
from unbelief.train.checkpoints import discard_incomplete, last_complete_checkpoint, step_of
from unbelief.train.options import TrainOptions
from unbelief.train.plan import Beliefs, Plan
from unbelief.train.preparation import Prepared, recompute_activations, weights_digest
from unbelief.train.reference import (
    AdapterOff,
    FrozenCopy,
    Original,
    ReferenceCache,
    frozen_twin,
    needs_original,
    unavailable,
)
from unbelief.train.step import StepLoss, Tally
from unbelief.train.supply import (
    BeliefSupply,
    alternatives_of,
    asks_model,
    decoding_of,
    forget_bank,
    questions,
    sample_bank,
    token_ids,
    transplant_bank,
)
from unbelief.train.trained import Trained
from unbelief.train.trainer import UnlearnTrainer
from unbelief.train.weighing import Weights


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything one run's training depends on.

    Attributes:
        prepared: Model and data.
        objective: What is minimised.
        options: How to train.
        folder: Where to keep what resuming needs.
        reload: Loads the original again; None when it only exists in memory.
        lora: Whether an adapter trains.
        resuming: Whether the folder holds work for this very request.
        checkpoints: Whether to write checkpoints.
        device: `cpu` keeps everything on the CPU.
        hooks: Called along the run.
        callbacks: Further Transformers callbacks.
        progress: Whether to show bars.
    """

    prepared: Prepared
    objective: Objective
    options: TrainOptions
    folder: RunFolder
    reload: Callable[[], LoadedModel] | None
    lora: bool
    resuming: bool
    checkpoints: bool
    device: str
    hooks: Sequence[StepHook]
    callbacks: Sequence[TrainerCallback]
    progress: bool

    def train(self) -> Trained:
        """Run all steps, from the last checkpoint if there is one."""
        model, interrupt = self.prepared.model, InterruptGuard()
        checkpoint = processes.on_main(self._last_checkpoint)
        introduce(self.hooks, self.prepared, self.folder, resuming=checkpoint is not None)
        original, cache = self._original(), self._cache
        supply = self._supply(original)
        self._fill_reference(supply.beliefs)
        with self._autocast():
            for hook in self.hooks if checkpoint is None else ():
                hook(0, model)
        average = average_of(model, self.objective.forget.needs)
        if self.options.gradient_checkpointing:
            recompute_activations(model)
        whole = self._shard()
        weighing = Weights(self.objective)
        step_loss = StepLoss(model, self.objective, cache, original, Tally(), weighing, average)
        trainer = self._trainer(step_loss, supply, [interrupt, *self._callbacks()])
        with interrupt.listening():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        trainer.accelerator.unwrap_model(model.model, keep_fp32_wrapper=False)
        step = trainer.state.global_step
        return Trained(
            model=self._trained(whole),
            log=[entry for entry in trainer.state.log_history if "loss" in entry],
            step=step,
            interrupted=interrupt.asked and step < self.plan.total_steps,
            resumed_from=None if checkpoint is None else step_of(checkpoint),
        )

    @cached_property
    def plan(self) -> Plan:
        """Rows of every step."""
        rank, size = processes.world()
        per_device, forget = self.options.per_device_train_batch_size, self.objective.forget
        return Plan(
            forget=self.prepared.forget,
            retain=self.prepared.retain if self.objective.retain is not None else [],
            pairs_per_step=per_device * self.options.gradient_accumulation_steps * size,
            epochs=self.options.num_train_epochs,
            max_steps=self.options.max_steps,
            seed=self.options.seed,
            belief_weight=forget.weight if isinstance(forget, BSS) else 0.0,
            answers=forget.answers,
            alternatives=self._alternatives,
            per_step=forget.per_step if isinstance(forget, Transplant) else 1,
            target_weight=forget.suppression if isinstance(forget, Transplant) else 0.0,
            keep_fraction=self.objective.keep_fraction,
            rows_per_forward=2 * per_device,
            world_size=size,
            rank=rank,
        )

    @cached_property
    def bank(self) -> BeliefBank | None:
        """Answers of the original model, given or sampled."""
        if not asks_model(self.objective.forget):
            return None
        return self.prepared.beliefs or self._sample(self.objective.forget, 0)

    @property
    def _alternatives(self) -> Beliefs:
        term, ready = self.objective.forget, self.prepared
        bank = self.bank if term.answers != "targets" else None
        return alternatives_of(term, bank, ready.encoder, ready.forget_records, self.options.seed)

    @cached_property
    def _cache(self) -> ReferenceCache:
        return ReferenceCache(self.objective.forget.needs, self.objective.temperature)

    def _sample(self, term: Any, generation: int) -> BeliefBank:
        seed, path = self.options.seed, self.folder.beliefs(generation)
        if isinstance(term, Transplant):
            return transplant_bank(term, self.prepared, seed, path, progress=self.progress)
        return sample_bank(
            self.prepared.model,
            self.prepared.encoder,
            questions(term, self.prepared.forget_records),
            term.samples,
            decoding_of(term, seed, generation),
            path,
            model_sha256=weights_digest(self.prepared.model)
            if generation
            else self.prepared.loaded.weights_sha256,
            progress=self.progress,
        )

    def _supply(self, original: Original) -> BeliefSupply:
        forget = self.objective.forget
        if self.bank is None or not isinstance(forget, BSS):
            return BeliefSupply({})
        if forget.policy == "off-policy":
            return BeliefSupply(token_ids(self.bank))

        def sample(generation: int) -> Beliefs:
            path = self.folder.beliefs(generation)
            processes.on_main(lambda: forget_bank(path))
            with self._gathered():
                return known(token_ids(self._sample(forget, generation)), generation)

        def restore(generation: int) -> Beliefs:
            bank = processes.on_main(lambda: BeliefBank.read(self.folder.beliefs(generation)))
            with self._gathered():
                return known(token_ids(bank), generation)

        def known(beliefs: Beliefs, generation: int) -> Beliefs:
            rows = self._forget_rows(beliefs, generation)
            if self._cache.missing(rows):
                with original() as model, self._autocast():
                    self._cache.fill(model, rows)
            return beliefs

        every = max(1, round(forget.refresh_epochs * self.plan.steps_per_epoch))
        beliefs = token_ids(self.bank)
        return BeliefSupply(beliefs, refresh_every=every, sample=sample, restore=restore)

    def _forget_rows(self, beliefs: Beliefs, generation: int = 0) -> list[Any]:
        indices = range(len(self.plan.forget))
        return [r for i in indices for r in self.plan.forget_rows(i, beliefs, generation)]

    def _original(self) -> Original:
        model = self.prepared.model
        if self.lora:
            return AdapterOff(model)
        every_step = needs_original(self.objective)
        if self.reload is None:
            # The weights are about to change and there is no folder to read them from again.
            copy = frozen_twin(model) if every_step or self._asks_again() else None
            return FrozenCopy(lambda: copy or unavailable(), keep=True)
        reload = self.reload
        return FrozenCopy(lambda: AnswerModel(reload().model, pad_id=model.pad_id), keep=every_step)

    def _asks_again(self) -> bool:
        """Whether answers will need a reference that do not exist yet."""
        term = self.objective.forget
        return isinstance(term, BSS) and term.policy == "on-policy" and self._cache.wanted

    def _fill_reference(self, beliefs: Beliefs) -> None:
        if self.resuming and self.folder.reference.exists():
            self._cache.load(self.folder.reference)
        rows = self._forget_rows(beliefs)
        if not (todo := self._cache.missing(rows)):
            return
        # Nothing has been trained yet: the policy is the original.
        with bar(len(todo), "reference", self.progress) as shown, self._autocast():
            self._cache.fill(self.prepared.model, rows, progress=shown.update)
        if processes.is_main():
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self._cache.save(self.folder.reference)

    def _last_checkpoint(self) -> Any:
        discard_incomplete(self.folder.checkpoints)
        return last_complete_checkpoint(self.folder.checkpoints)

    def _callbacks(self) -> list[TrainerCallback]:
        out: list[TrainerCallback] = list(self.callbacks)
        if self.hooks:
            out.append(Hooks(self.hooks, self.prepared.model))
        if self.progress and processes.is_main():
            out.append(ProgressBar(self.plan.total_steps))
        return out

    def _autocast(self) -> AbstractContextManager[Any]:
        """What the trainer does around every forward, for comparisons of like with like."""
        kind = self.prepared.model.device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.options.bf16)

    def _shard(self) -> Any:
        if not self.options.fsdp:
            return None
        from unbelief.train.sharding import shard

        return shard(self.prepared.model)

    @contextmanager
    def _gathered(self) -> Iterator[None]:
        if not self.options.fsdp:
            yield
            return
        from unbelief.train.sharding import gathered

        with gathered(self.prepared.model.model):
            yield

    def _trained(self, whole: Any) -> AnswerModel:
        model = self.prepared.model
        if not self.options.fsdp:
            return model
        from unbelief.train.sharding import gather_into

        gather_into(whole, model.model)
        if whole is None:
            return model
        return AnswerModel(whole, head_path=model.head_path, pad_id=model.pad_id)

    def _trainer(
        self, step_loss: StepLoss, supply: BeliefSupply, callbacks: list[TrainerCallback]
    ) -> UnlearnTrainer:
        kind: type[UnlearnTrainer] = UnlearnTrainer
        if self.options.fsdp:
            from unbelief.train.sharding import ShardedTrainer

            kind = ShardedTrainer
        options = self.options.model_copy(update={} if self.checkpoints else {"save_steps": 10**9})
        return kind(
            self.prepared.model.model,
            options,
            self.folder.checkpoints,
            self.plan,
            step_loss,
            supply,
            callbacks=callbacks,
            device=self.device,
        )
