"""From a request to an unlearned model: the glue between data, objective, trainer and folders."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, set_seed

from unbelief import processes
from unbelief.beliefs.bank import BeliefBank
from unbelief.beliefs.fill import encode_all
from unbelief.card import model_card
from unbelief.data import read_records
from unbelief.data.sets import check_sets
from unbelief.errors import Interrupted
from unbelief.models.adapters import LoraOptions
from unbelief.models.load import LoadedModel, load_model, merged
from unbelief.models.runner import AnswerModel
from unbelief.models.save import SavedModel, save_model
from unbelief.objectives import Objective
from unbelief.outputs import check_destination
from unbelief.provenance import Provenance, records_digest
from unbelief.rundir import RESULT, RunFolder, settle
from unbelief.tokens import Encoder
from unbelief.tokens.encode import Template
from unbelief.train import checks
from unbelief.train.callbacks import StepHook
from unbelief.train.checkpoints import naming_checkpoints
from unbelief.train.options import TrainOptions
from unbelief.train.preparation import Prepared, context_length, trainable_model
from unbelief.train.session import Session
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
        notes: Asked for further parts of `unbelief.json` when the trained model is about to be
            written.
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
    notes: Callable[[AnswerModel], Mapping[str, Any]] | None = None
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
        settle(output, overwrite)
        destination = check_destination(output, overwrite)
        given = {n: getattr(self, n) for n in ("model", "forget", "retain", "beliefs")}
        checks.check_paths(destination, given)
        folder = RunFolder(destination, self.beliefs if isinstance(self.beliefs, Path) else None)
        prepared = self._prepare()
        with folder.claimed(restart=restart), naming_checkpoints(folder.checkpoints):
            check_destination(output, overwrite)  # again: it may have appeared while we read
            resuming = processes.on_main(
                lambda: folder.check_request(self._request(prepared, folder.key))
            )
            result = self._train(prepared, folder, resuming=resuming)
            return self._save(prepared, result, destination, folder, overwrite)

    def fit(self) -> UnlearnResult:
        """Unlearn in memory and write nothing that stays."""
        prepared = self._prepare()
        with tempfile.TemporaryDirectory(prefix="unbelief-") as name:
            folder = RunFolder(Path(processes.on_main(lambda: name)) / "model")
            result = self._train(prepared, folder, resuming=False, checkpoints=False)
            processes.wait()
            return result

    def _prepare(self) -> Prepared:
        """Read and check everything, before anything is written."""
        processes.join(self.device)
        # A fresh adapter is random: with the seed it is the same whenever the run starts again.
        set_seed(self.train.seed)
        checks.check_options(self.train, self.objective, self.lora, self.merge, self.beliefs)
        forget = list(read_records(self.forget, columns=self.columns))
        retain = list(read_records(self.retain, columns=self.columns)) if self.retain else []
        check_sets(forget, retain)
        checks.check_terms(self.objective, bool(retain))
        loaded = merged(self.model if isinstance(self.model, LoadedModel) else self._load())
        encoder = Encoder(
            loaded.tokenizer,
            template=self.template,
            system_prompt=self.system_prompt,
            end_token=self.end_token,
            max_length=self.max_length or context_length(loaded.model),
        )
        encoded = encode_all(encoder, forget)
        kept = [encoder.encode(record) for record in retain]
        checks.check_records(encoded, kept, [*forget, *retain])
        bank = self._given_bank(loaded, encoder, encoded)
        model = trainable_model(loaded, self.train, self.lora, encoder.pad_id)
        checks.check_model(self.objective, self.train, model, encoded)
        return Prepared(
            loaded=loaded,
            encoder=encoder,
            model=model,
            forget_records=forget,
            retain_records=retain,
            forget=encoded,
            retain=kept,
            beliefs=bank,
        )

    def _given_bank(
        self, loaded: LoadedModel, encoder: Encoder, encoded: Sequence[Any]
    ) -> BeliefBank | None:
        bank = self.beliefs if not isinstance(self.beliefs, Path) else BeliefBank.read(self.beliefs)
        if bank is not None:
            checks.check_bank(self.objective, bank)
            bank.check(model_sha256=loaded.weights_sha256, encoder=encoder, encoded=encoded)
        return bank

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
        self, prepared: Prepared, folder: RunFolder, *, resuming: bool, checkpoints: bool = True
    ) -> UnlearnResult:
        started = time.monotonic()
        session = Session(
            prepared=prepared,
            objective=self.objective,
            options=self.train,
            folder=folder,
            reload=None if isinstance(self.model, LoadedModel) else self._load,
            lora=self.lora is not None,
            resuming=resuming,
            checkpoints=checkpoints,
            device=self.device,
            hooks=self.hooks,
            callbacks=self.callbacks,
            progress=self.progress,
        )
        trained = session.train()
        if trained.interrupted:
            raise Interrupted(
                f"stopped after step {trained.step} of {session.plan.total_steps}",
                remedy="the same command resumes",
            )
        checks.check_finite(trained.model.model)
        return UnlearnResult(
            output=None,
            model=trained.model,
            log=trained.log,
            steps=trained.step,
            beliefs=session.bank,
            resumed_from=trained.resumed_from,
            provenance={},
            seconds=time.monotonic() - started,
        )

    def _request(self, prepared: Prepared, key: bytes) -> dict[str, Any]:
        """What decides the result: a run resumes only with the same."""
        config = self._config(prepared)
        for name in ("logging_steps", "save_steps", "report_to"):
            del config["train"][name]
        digest = None
        if prepared.beliefs is not None:
            ids = json.dumps([b.token_ids for b in prepared.beliefs.beliefs])
            digest = hmac.digest(key, ids.encode(), hashlib.sha256).hex()
        return {
            **config,
            "weights": prepared.loaded.weights_sha256,
            "forget": records_digest(prepared.forget_records, key).hmac_sha256,
            "retain": records_digest(prepared.retain_records, key).hmac_sha256
            if prepared.retain_records
            else None,
            "beliefs": digest,
            "processes": processes.world()[1],
        }

    def _config(self, prepared: Prepared) -> dict[str, Any]:
        return {
            "method": self.method,
            "objective": self.objective.describe(),
            "train": self.train.model_dump(),
            "lora": None if self.lora is None else asdict(self.lora),
            "merge": self.merge,
            "tokens": prepared.tokens(),
            "dtype": prepared.loaded.dtype,
            "head": prepared.model.head_path,
            "processes": processes.world()[1],
        }

    def _save(
        self,
        prepared: Prepared,
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
            "run": folder.run,
            "claim": "approximate unlearning, not yet tested"
            if self.lora is None or self.merge
            else "suppression only: the base model's weights are unchanged",
            "provenance": provenance,
            "steps": result.steps,
            "resumed_from": result.resumed_from,
            "seconds": round(result.seconds, 1),
            "beliefs": None if result.beliefs is None else asdict(result.beliefs.stats()),
            "log": result.log,
            **(self.notes(result.model) if self.notes is not None else {}),
        }

        def write() -> SavedModel:
            saved = self._write(prepared, result.model.model, destination, details, overwrite)
            folder.write_log(result.log)
            folder.tidy()
            return saved

        saved = processes.on_main(write)
        provenance["output_weights_sha256"] = saved.weights_sha256
        return replace(result, output=destination, provenance=provenance)

    def _write(
        self,
        prepared: Prepared,
        model: Any,
        destination: Path,
        details: Mapping[str, Any],
        overwrite: bool,
    ) -> SavedModel:
        text = json.dumps(details, indent=1, default=str, allow_nan=False)
        return save_model(
            model,
            prepared.loaded.tokenizer,
            destination,
            extra_files={RESULT: text, "README.md": model_card(details)},
            merge_adapter=self.merge,
            overwrite=overwrite,
        )
