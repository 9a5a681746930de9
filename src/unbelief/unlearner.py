"""From a request to an unlearned model: the glue between data, objective, trainer and folders."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, set_seed

from unbelief import processes
from unbelief.beliefs.bank import BeliefBank
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.fill import fill_bank
from unbelief.card import model_card
from unbelief.data import read_records
from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.models.adapters import LoraOptions, add_lora, trainable_parameters
from unbelief.models.load import LoadedModel, load_model
from unbelief.models.runner import AnswerModel
from unbelief.models.save import SavedModel, save_model
from unbelief.objectives import BSS, Objective
from unbelief.outputs import atomic_write, check_destination
from unbelief.provenance import Provenance, records_digest
from unbelief.rundir import RunFolder
from unbelief.tokens import Encoded, Encoder
from unbelief.tokens.encode import Template
from unbelief.train.callbacks import Hooks, InterruptGuard, ProgressBar, StepHook, bar
from unbelief.train.options import TrainOptions
from unbelief.train.plan import Beliefs, Plan
from unbelief.train.reference import AdapterOff, FrozenCopy, Original, ReferenceCache
from unbelief.train.step import StepLoss, Tally
from unbelief.train.trainer import BeliefSupply, UnlearnTrainer, last_complete_checkpoint
from unbelief.types import Record

Records = str | Path | Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class UnlearnResult:
    """What a run made.

    Attributes:
        output: The model folder, or None when nothing was to be saved.
        model: The trained model in memory.
        log: Log entries, one per `logging_steps`.
        steps: Optimiser steps of the run.
        beliefs: The belief bank, where the objective has one.
        resumed_from: Step of the checkpoint the run went on from, or None.
        provenance: What is written to `unbelief.json`.
        seconds: Wall time of this start.
    """

    output: Path | None
    model: AnswerModel
    log: list[dict[str, float]]
    steps: int
    beliefs: BeliefBank | None
    resumed_from: int | None
    provenance: dict[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Unlearner:
    """Makes a model forget.

    Attributes:
        model: Folder, hub id, adapter folder or a loaded model.
        forget: Records to forget: a file, folder, hub id, or records.
        retain: Records to keep, likewise; None trains on the forget records alone.
        objective: What to minimise, for example `BSS(inner=BST(), weight=0.5) + NLL()`.
        train: Training options.
        lora: Train a low-rank adapter instead of the weights.
        merge: Merge the adapter into the weights at the end. An unmerged adapter only suppresses:
            the base model still knows everything.
        columns: Data columns to read, where they have names of their own.
        template: Chat template or plain text, see `Encoder`.
        system_prompt: System message of chat prompts.
        end_token: Whether the end token is forgotten and kept like any other.
        max_length: Longest prompt plus answer, in tokens (default: the model's own limit).
        beliefs: A belief bank to use instead of sampling one.
        dtype: Dtype of the weights. `float32` masters are the default because pure bfloat16
            weights lose most small updates; `bfloat16` reproduces that.
        device: `auto`, `cpu` or a torch device.
        revision: Commit of a hub model.
        trust_remote_code: Run code that comes with the model.
        method: Name for the record, when the objective came from one.
        hooks: Called along the run.
        callbacks: Further Transformers callbacks.
        progress: Show bars on stderr when that is a terminal.
    """

    model: str | Path | LoadedModel
    forget: Records
    retain: Records | None = None
    objective: Objective
    train: TrainOptions = field(default_factory=lambda: TrainOptions())
    lora: LoraOptions | None = None
    merge: bool = True
    columns: Mapping[str, str] | None = None
    template: Template = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    max_length: int | None = None
    beliefs: Path | BeliefBank | None = None
    dtype: str = "float32"
    device: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    method: str | None = None
    hooks: Sequence[StepHook] = ()
    callbacks: Sequence[TrainerCallback] = ()
    progress: bool = True

    def run(
        self, output: str | Path, *, overwrite: bool = False, restart: bool = False
    ) -> UnlearnResult:
        """Unlearn and write a model folder; called again after an interruption, it resumes.

        Args:
            output: Model folder that is to appear, whole or not at all.
            overwrite: Replace an existing folder.
            restart: Throw away what an unfinished run left instead of resuming it.

        Raises:
            RequestError: The request is wrong; nothing was written.
            GuardError: The loss was not finite; the last good checkpoint is named.
            Interrupted: Ctrl-C; the same call resumes.
        """
        destination = check_destination(output, overwrite)
        folder = RunFolder(destination)
        processes.join(self.device)
        prepared = self._prepare()
        with _claim(folder, restart=restart), _naming_checkpoints(folder):
            result = self._train(prepared, folder)
            final = self._save(prepared, result, destination, folder, overwrite)
        return final

    def fit(self) -> UnlearnResult:
        """Unlearn in memory and write nothing that stays."""
        prepared = self._prepare()
        with tempfile.TemporaryDirectory(prefix="unbelief-") as folder:
            return self._train(prepared, RunFolder(Path(folder) / "model"), checkpoints=False)

    def _prepare(self) -> _Prepared:
        """Read and check everything, before anything is written."""
        # A fresh adapter is random: with the seed it is the same whenever the run starts again.
        set_seed(self.train.seed)
        forget = read_records(self.forget, columns=self.columns)
        retain = [] if self.retain is None else read_records(self.retain, columns=self.columns)
        _check_terms(self.objective, bool(retain), self.lora)
        loaded = self.model if isinstance(self.model, LoadedModel) else self._load()
        encoder = Encoder(
            loaded.tokenizer,
            template=self.template,
            system_prompt=self.system_prompt,
            end_token=self.end_token,
            max_length=self.max_length or _context_length(loaded.model),
        )
        encoded = [_encode(encoder, records) for records in (forget, retain)]
        model: nn.Module = loaded.model
        if not self.train.dropout:
            _without_dropout(model)
        if self.lora is not None:
            model = add_lora(loaded.model, self.lora)
        elif self.train.trainable is not None:
            _freeze_others(model, self.train.trainable)
        answer_model = AnswerModel(model, pad_id=encoder.pad_id)
        _check_layers(self.objective, answer_model)
        return _Prepared(loaded, encoder, answer_model, forget, retain, *encoded)

    def _load(self) -> LoadedModel:
        assert not isinstance(self.model, LoadedModel)
        return load_model(
            self.model,
            dtype=self.dtype,
            device=self.device,
            revision=self.revision,
            trust_remote_code=self.trust_remote_code,
        )

    def _train(
        self, prepared: _Prepared, folder: RunFolder, *, checkpoints: bool = True
    ) -> UnlearnResult:
        started = time.monotonic()
        resuming = checkpoints and processes.on_main(
            lambda: folder.check_request(self._request(prepared, folder.key))
        )
        plan = self._plan(prepared)
        bank = self._bank(prepared, folder) if isinstance(self.objective.forget, BSS) else None
        original = self._original(prepared)
        cache = ReferenceCache(self.objective.forget.needs, self.objective.temperature)
        supply = self._supply(prepared, folder, bank, plan, cache, original)
        self._fill_reference(prepared, folder, cache, plan, supply, resuming)
        step_loss = StepLoss(prepared.model, self.objective, cache, original, Tally())
        interrupt = InterruptGuard()
        trainer = UnlearnTrainer(
            prepared.model.model,
            self.train if checkpoints else self.train.model_copy(update={"save_steps": 10**9}),
            folder.checkpoints,
            plan,
            step_loss,
            supply,
            callbacks=[interrupt, *self._callbacks(prepared, plan), *self.callbacks],
            device=self.device,
        )
        checkpoint = last_complete_checkpoint(folder.checkpoints)
        for hook in self.hooks if checkpoint is None else ():
            hook(0, prepared.model)
        with interrupt.listening():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if interrupt.asked and trainer.state.global_step < plan.total_steps:
            raise Interrupted(
                f"stopped after step {trainer.state.global_step} of {plan.total_steps}",
                remedy="the same command resumes",
            )
        _check_finite(prepared.model.model)
        return UnlearnResult(
            output=None,
            model=prepared.model,
            log=[entry for entry in trainer.state.log_history if "loss" in entry],
            steps=plan.total_steps,
            beliefs=bank,
            resumed_from=None if checkpoint is None else int(checkpoint.name.split("-")[-1]),
            provenance={},
            seconds=time.monotonic() - started,
        )

    def _plan(self, prepared: _Prepared) -> Plan:
        rank, size = processes.world()
        per_device = self.train.per_device_train_batch_size
        forget = self.objective.forget
        return Plan(
            forget=prepared.forget,
            retain=prepared.retain if self.objective.retain is not None else [],
            pairs_per_step=per_device * self.train.gradient_accumulation_steps * size,
            epochs=self.train.num_train_epochs,
            max_steps=self.train.max_steps,
            seed=self.train.seed,
            belief_weight=forget.weight if isinstance(forget, BSS) else 0.0,
            rows_per_forward=2 * per_device,
            world_size=size,
            rank=rank,
        )

    def _bank(self, prepared: _Prepared, folder: RunFolder) -> BeliefBank:
        if self.beliefs is None:
            return self._sample(prepared, folder, 0)
        given = self.beliefs
        bank = given if isinstance(given, BeliefBank) else BeliefBank.read(given)
        bank.check(
            model_sha256=prepared.loaded.weights_sha256,
            encoder=prepared.encoder,
            encoded=prepared.forget,
        )
        return bank

    def _sample(self, prepared: _Prepared, folder: RunFolder, generation: int) -> BeliefBank:
        bss = self.objective.forget
        assert isinstance(bss, BSS)
        decoding = Decoding(
            temperature=bss.sampling_temperature,
            top_k=bss.sampling_top_k,
            max_new_tokens=bss.max_new_tokens,
            seed=self.train.seed + 1_000_003 * generation,
        )
        return fill_bank(
            prepared.model.model,
            prepared.encoder,
            prepared.forget_records,
            bss.samples,
            decoding,
            path=folder.beliefs(generation),
            model_sha256=prepared.loaded.weights_sha256 if generation == 0 else None,
            progress=self.progress,
        )

    def _supply(
        self,
        prepared: _Prepared,
        folder: RunFolder,
        bank: BeliefBank | None,
        plan: Plan,
        cache: ReferenceCache,
        original: Original,
    ) -> BeliefSupply:
        forget = self.objective.forget
        if bank is None or not isinstance(forget, BSS):
            return BeliefSupply({})
        if forget.policy == "off-policy":
            return BeliefSupply(_token_ids(bank))

        def known(beliefs: Beliefs, generation: int) -> Beliefs:
            rows = [
                r for i in range(len(plan.forget)) for r in plan.forget_rows(i, beliefs, generation)
            ]
            if cache.missing(rows):
                with original() as model:
                    cache.fill(model, rows)
            return beliefs

        def sample(generation: int) -> Beliefs:
            folder.beliefs(generation).unlink(missing_ok=True)
            bank = self._sample(prepared, folder, generation)
            return known(_token_ids(bank), generation)

        def restore(generation: int) -> Beliefs:
            return known(_token_ids(BeliefBank.read(folder.beliefs(generation))), generation)

        every = max(1, round(forget.refresh_epochs * plan.steps_per_epoch))
        return BeliefSupply(_token_ids(bank), refresh_every=every, sample=sample, restore=restore)

    def _original(self, prepared: _Prepared) -> Original:
        if self.lora is not None:
            return AdapterOff(prepared.model)
        needs = [self.objective.forget.needs]
        if self.objective.retain is not None:
            needs.append(self.objective.retain.needs)
        every_step = any(n.reference_distribution for n in needs)
        if isinstance(self.model, LoadedModel):
            # The weights are about to change and there is no folder to read them from again.
            wanted = every_step or _refreshes(self.objective)
            copy = _copied(prepared.model) if wanted else None
            return FrozenCopy(lambda: copy or _unavailable(), keep=True)
        return FrozenCopy(
            lambda: AnswerModel(self._load().model, pad_id=prepared.encoder.pad_id),
            keep=every_step,
        )

    def _fill_reference(
        self,
        prepared: _Prepared,
        folder: RunFolder,
        cache: ReferenceCache,
        plan: Plan,
        supply: BeliefSupply,
        resuming: bool,
    ) -> None:
        if resuming and folder.reference.exists():
            cache.load(folder.reference)
        rows = [r for i in range(len(plan.forget)) for r in plan.forget_rows(i, supply.beliefs)]
        todo = cache.missing(rows)
        if not todo:
            return
        # Nothing has been trained yet: the policy is the original.
        with bar(len(todo), "reference", self.progress) as shown:
            cache.fill(prepared.model, rows, progress=shown.update)
        if processes.is_main():
            folder.path.mkdir(parents=True, exist_ok=True)
            cache.save(folder.reference)

    def _callbacks(self, prepared: _Prepared, plan: Plan) -> list[TrainerCallback]:
        out: list[TrainerCallback] = [Hooks(self.hooks, prepared.model)] if self.hooks else []
        if self.progress and processes.is_main():
            out.append(ProgressBar(plan.total_steps))
        return out

    def _request(self, prepared: _Prepared, key: bytes) -> dict[str, Any]:
        """What decides the result: a run resumes only with the same."""
        return {
            **self._config(prepared),
            "weights": prepared.loaded.weights_sha256,
            "forget": records_digest(prepared.forget_records, key).hmac_sha256,
            "retain": records_digest(prepared.retain_records, key).hmac_sha256
            if prepared.retain_records
            else None,
            "processes": processes.world()[1],
        }

    def _config(self, prepared: _Prepared) -> dict[str, Any]:
        return {
            "method": self.method,
            "objective": self.objective.describe(),
            "train": self.train.model_dump(),
            "lora": None if self.lora is None else str(self.lora),
            "merge": self.merge,
            "tokens": prepared.encoder.describe(),
            "dtype": prepared.loaded.dtype,
            "head": prepared.model.head_path,
        }

    def _save(
        self,
        prepared: _Prepared,
        result: UnlearnResult,
        destination: Path,
        folder: RunFolder,
        overwrite: bool,
    ) -> UnlearnResult:
        provenance = Provenance(
            source=prepared.loaded.source,
            revision=prepared.loaded.revision,
            input_weights_sha256=prepared.loaded.weights_sha256,
            forget=records_digest(prepared.forget_records),
            retain=records_digest(prepared.retain_records) if prepared.retain_records else None,
            config=self._config(prepared),
            seed=self.train.seed,
        ).to_dict()
        details = {
            "schema_version": 1,
            "kind": "unlearned-model",
            "claim": "approximate unlearning, not yet tested"
            if self.lora is None or self.merge
            else "suppression only: the base model's weights are unchanged",
            "provenance": provenance,
            "steps": result.steps,
            "resumed_from": result.resumed_from,
            "seconds": round(result.seconds, 1),
            "beliefs": None if result.beliefs is None else asdict(result.beliefs.stats()),
            "log": result.log,
        }
        text = json.dumps(details, indent=1, default=str, allow_nan=False)
        saved = self._write(prepared, destination, text, details, overwrite)
        if processes.is_main():
            log = "".join(json.dumps(entry) + "\n" for entry in result.log)
            atomic_write(folder.log, log)
            folder.tidy()
        processes.wait()
        provenance["output_weights_sha256"] = saved.weights_sha256 if saved else None
        return UnlearnResult(
            output=destination,
            model=result.model,
            log=result.log,
            steps=result.steps,
            beliefs=result.beliefs,
            resumed_from=result.resumed_from,
            provenance=provenance,
            seconds=result.seconds,
        )

    def _write(
        self,
        prepared: _Prepared,
        destination: Path,
        details: str,
        summary: Mapping[str, Any],
        overwrite: bool,
    ) -> SavedModel | None:
        if not processes.is_main():
            return None
        model: Any = prepared.model.model
        return save_model(
            model,
            prepared.loaded.tokenizer,
            destination,
            extra_files={"unbelief.json": details, "README.md": model_card(summary)},
            merge_adapter=self.merge,
            overwrite=overwrite,
        )


@dataclass(frozen=True)
class _Prepared:
    loaded: LoadedModel
    encoder: Encoder
    model: AnswerModel
    forget_records: list[Record]
    retain_records: list[Record]
    forget: list[Encoded]
    retain: list[Encoded]


@contextmanager
def _claim(folder: RunFolder, *, restart: bool) -> Iterator[None]:
    with folder.claimed(restart=restart) if processes.is_main() else nullcontext():
        processes.wait()
        yield


@contextmanager
def _naming_checkpoints(folder: RunFolder) -> Iterator[None]:
    """Tell where the last good checkpoint is when a guard stops the run."""
    try:
        yield
    except GuardError as error:
        last = last_complete_checkpoint(folder.checkpoints)
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been saved yet"
        raise GuardError(f"{error.message}; {kept}", remedy=error.remedy) from error
    except KeyboardInterrupt:
        raise Interrupted("stopped", remedy="the same command resumes") from None


def _check_terms(objective: Objective, has_retain: bool, lora: LoraOptions | None) -> None:
    if objective.retain is not None and not has_retain:
        raise RequestError(
            f"the retain term {objective.retain.name} needs retain data",
            where="retain",
            remedy="give retain records, or use an objective without a retain term",
        )
    forget, retain = objective.forget.needs, objective.retain and objective.retain.needs
    layers = {n.hidden_layer for n in (forget, retain) if n and n.hidden_layer is not None}
    if len(layers) > 1:
        raise RequestError(
            f"forget and retain term look at different layers ({sorted(layers)})",
            where="layer",
            remedy="use one layer for both",
        )
    if objective.keep_fraction < 1 and not forget.logits:
        raise RequestError(
            f"loss selection needs token probabilities, which {objective.forget.name} has not",
            where="keep_fraction",
            remedy="leave keep_fraction at 1",
        )


def _check_layers(objective: Objective, model: AnswerModel) -> None:
    for term in (objective.forget, objective.retain):
        layer = term.needs.hidden_layer if term is not None else None
        if layer is not None and not 0 <= layer < len(model.layers()):
            raise RequestError(
                f"layer {layer} does not exist: the model has layers 0 to "
                f"{len(model.layers()) - 1}",
                where="layer",
                remedy="choose one of them, for example with --set layer=1",
            )


def _encode(encoder: Encoder, records: Sequence[Record]) -> list[Encoded]:
    return [encoder.encode(record) for record in records]


def _token_ids(bank: BeliefBank) -> Beliefs:
    return {name: [b.token_ids for b in bank.rows(name)] for name in bank.record_ids}


def _context_length(model: Any) -> int | None:
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None)


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Attention functions take their dropout from an attribute, not from a module.
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 - a plain float, not a module


def _freeze_others(model: Any, pattern: str) -> None:
    trainable_parameters(model, pattern)


def _refreshes(objective: Objective) -> bool:
    forget = objective.forget
    return isinstance(forget, BSS) and forget.policy == "on-policy"


def _copied(model: AnswerModel) -> AnswerModel:
    """A frozen second instance with the same weights."""
    inner = model.inner
    twin = type(inner)(inner.config)
    twin.load_state_dict(inner.state_dict())
    return AnswerModel(
        twin.to(device=model.device, dtype=inner.dtype),
        head_path=model.head_path,
        pad_id=model.pad_id,
    )


def _unavailable() -> AnswerModel:
    raise RuntimeError("the original model was needed but not kept")


def _check_finite(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise GuardError(
                f"{name} is not finite after training", remedy="lower learning_rate and start anew"
            )
