"""Model and data of a search, and the runs that are made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.auto.holdout import read_held_out
from unbelief.auto.items import Sorted, sort_records
from unbelief.auto.portfolio import Entry, Strength
from unbelief.auto.yardstick import Yardstick
from unbelief.beliefs.fill import encode_all
from unbelief.data import read_records
from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel, load_model
from unbelief.models.runner import AnswerModel
from unbelief.objectives import Objective, build_objective
from unbelief.objectives.forget.transplant import Transplant
from unbelief.provenance import records_digest
from unbelief.study.spaces import Option
from unbelief.tokens import Encoder
from unbelief.train import checks
from unbelief.train.options import TrainOptions
from unbelief.train.preparation import context_length
from unbelief.types import Record
from unbelief.unlearner import Unlearner

if TYPE_CHECKING:
    from unbelief.auto.run import AutoUnlearner

LONGEST = 200
"""Most new tokens of an answer the model is asked for."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What trials and the final run have in common.

    Attributes:
        request: What was asked for.
        forget: Records to forget.
        retain: Records to keep.
        holdout: Records that the original never saw; empty where none were given.
        sorted: Which of them serve what.
        weights_sha256: Of the original.
        tokens: How texts become tokens, for the record.
        longest: Tokens of the longest answer: the limit of answers that are asked for.
        hidden: Width of the model.
        layers: Its number of layers.
    """

    request: AutoUnlearner
    forget: tuple[Record, ...]
    retain: tuple[Record, ...]
    holdout: tuple[Record, ...]
    sorted: Sorted
    weights_sha256: str
    tokens: Mapping[str, Any]
    longest: int
    hidden: int
    layers: int

    @classmethod
    def open(cls, request: AutoUnlearner) -> Workshop:
        """Read and check everything, before anything is written.

        Raises:
            RequestError: Data or model are not what they should be.
        """
        if request.retain is None:
            raise no_retain()
        forget = tuple(read_records(request.forget, columns=request.columns))
        retain = tuple(read_records(request.retain, columns=request.columns))
        holdout = read_held_out(request.holdout, forget, retain, request.columns)
        sorted_ = sort_records(forget, retain, request.options.limit, holdout)
        loaded = _load(request, request.model)
        encoder = _encoder(request, loaded)
        encoded = encode_all(encoder, forget)
        kept = [encoder.encode(record) for record in retain]
        apart = [encoder.encode(record) for record in holdout]
        checks.check_records(encoded, [*kept, *apart], [*forget, *retain, *holdout])
        config: Any = loaded.model.config.get_text_config(decoder=True)
        return cls(
            request=request,
            forget=forget,
            retain=retain,
            holdout=holdout,
            sorted=sorted_,
            weights_sha256=loaded.weights_sha256,
            tokens=encoder.describe(),
            longest=min(LONGEST, max(len(e.answer_ids) for e in (*encoded, *kept))),
            hidden=int(config.hidden_size),
            layers=int(config.num_hidden_layers),
        )

    def identity(self, key: bytes) -> dict[str, Any]:
        """Model and data, for telling one request from another."""
        return {
            "weights": self.weights_sha256,
            "forget": records_digest(self.forget, key).hmac_sha256,
            "retain": records_digest(self.retain, key).hmac_sha256,
            "holdout": records_digest(self.holdout, key).hmac_sha256 if self.holdout else None,
            "tokens": dict(self.tokens),
            "dtype": self.request.dtype,
        }

    def ready(self, source: str | Path) -> tuple[Yardstick, AnswerModel]:
        """A model that can be asked, and how."""
        loaded = _load(self.request, source)
        encoder = _encoder(self.request, loaded)
        yardstick = Yardstick(encoder, self.request.options.scores, self.longest)
        return yardstick, AnswerModel(loaded.model.eval(), pad_id=encoder.pad_id)

    @property
    def pairs_per_step(self) -> int:
        """Forget pairs of an optimiser step."""
        train = self.request.train
        return train.per_device_train_batch_size * train.gradient_accumulation_steps

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps per pass over the forget records."""
        return -(-len(self.forget) // self.pairs_per_step)

    def objective(self, entry: Entry, weight: float) -> Objective:
        """An entry's objective at a γ."""
        return build_objective(entry.method, self.settings(entry, weight))

    def settings(self, entry: Entry, weight: float) -> dict[str, Option]:
        """An entry's options, those included that follow from model and data."""
        names = {f.name for f in fields(build_objective(entry.method).forget)}
        options = {**entry.options, "forget_weight": weight}
        if "max_new_tokens" in names:
            options["max_new_tokens"] = self.longest
        if "layer" in names:
            options["layer"] = max(1, self.layers // 2)
        return options

    def unlearner(
        self,
        entry: Entry,
        strength: Strength,
        steps: int,
        *,
        bank: Path | None = None,
        watch: Sequence[Any] = (),
        callbacks: Sequence[Any] = (),
        notes: Callable[[AnswerModel], Mapping[str, Any]] | None = None,
    ) -> Unlearner:
        """A run of an entry, under the learning rates of `steps` steps.

        A trial and the final run have the same `steps`, so what a trial showed at a step is what
        the final run, which a callback ends there, is at its end.

        Args:
            entry: The method.
            strength: Its knobs.
            steps: Optimiser steps.
            bank: Beliefs to use again.
            watch: Hooks that are callbacks too.
            callbacks: Callbacks alone.
            notes: As for `Unlearner`.
        """
        request = self.request
        train: TrainOptions = request.train.model_copy(
            update={"learning_rate": strength.learning_rate, "max_steps": steps}
        )
        objective = self.objective(entry, strength.forget_weight)
        return Unlearner(
            model=request.model,
            forget=self.forget,
            retain=None if objective.retain is None else self.sorted.rehearsed,
            objective=objective,
            train=train,
            lora=request.lora,
            merge=request.merge,
            template=request.template,
            system_prompt=request.system_prompt,
            end_token=request.end_token,
            max_length=request.max_length,
            beliefs=bank,
            dtype=request.dtype,
            device=request.device,
            revision=request.revision,
            trust_remote_code=request.trust_remote_code,
            method=entry.method,
            hooks=tuple(watch),
            callbacks=(*watch, *callbacks),
            notes=notes,
            progress=request.progress,
        )


def teaches(entry: Entry) -> bool:
    """Whether an entry has a belief bank that may be used again."""
    return isinstance(build_objective(entry.method).forget, Transplant)


def no_retain() -> RequestError:
    """What is said where there is nothing to keep."""
    return RequestError(
        "--method auto measures what is kept, and there are no records to keep",
        where="--retain",
        remedy="give --retain FILE, or choose a --method that needs none, such as ga",
    )


def _load(request: AutoUnlearner, source: str | Path) -> LoadedModel:
    own = str(source) == str(request.model)
    return load_model(
        source,
        dtype=request.dtype,
        device=request.device,
        revision=request.revision if own else None,
        trust_remote_code=request.trust_remote_code,
    )


def _encoder(request: AutoUnlearner, loaded: LoadedModel) -> Encoder:
    return Encoder(
        loaded.tokenizer,
        template=request.template,
        system_prompt=request.system_prompt,
        end_token=request.end_token,
        max_length=request.max_length or context_length(loaded.model),
    )
