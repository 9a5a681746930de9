"""Any model with records to forget and to keep as a testbed, measured without a judge.

* forgetting = 1 − ROUGE-L recall of the greedy answers to forget prompts
* naturalness = 1 − share of those answers that are empty or mostly a loop; fluent nonsense passes
* utility = ROUGE-L recall of the greedy answers to prompts to keep

All records to forget are unlearned in every run. Which of them are *asked about* depends on the
split: authors (or documents, or records where there are no groups) are dealt out between validation
and test once and for all, and so are the records to keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from unbelief.diagnose.points import Point
from unbelief.errors import RequestError
from unbelief.models.load import load_model
from unbelief.models.runner import AnswerModel
from unbelief.objectives.methods import build_objective
from unbelief.study.columns import TofuColumns, Yardstick, yardstick
from unbelief.study.records_parts import Part, deal
from unbelief.study.records_reading import measure_model
from unbelief.study.rules import measured_at
from unbelief.study.spaces import Option
from unbelief.study.testbed import Case, Measured, Report, Setting, Split, distance
from unbelief.tokens import Encoder
from unbelief.train.options import TrainOptions
from unbelief.types import Record
from unbelief.unlearner import Unlearner

_SIDES = ("forget", "retain")
OTHER_SEEDS = 1000
"""Validation runs are trained with other seeds than test runs."""


@dataclass(frozen=True, kw_only=True)
class RecordsTestbed:
    """A model folder or hub id, and records.

    Attributes:
        name: `own` or `tofu`.
        model: The model that knows everything.
        parts: By forget ratio.
        steps: Optimiser steps of a run.
        pairs_per_step: Forget pairs per optimiser step; None takes a twelfth of the records to
            forget, between 8 and 32, so that small sets are not gone through far more often.
        limit: Items asked about per split, of forget and of retain records each.
        learning_rates: Smallest and largest in a search.
        device: `auto`, `cpu` or a torch device.
        columns: What else is measured on test cases of TOFU.
    """

    name: str
    model: str
    parts: Mapping[str, Part]
    steps: int = 60
    pairs_per_step: int | None = None
    limit: int = 64
    learning_rates: tuple[float, float] = (1e-5, 2e-3)
    device: str = "auto"
    columns: TofuColumns | None = None

    @property
    def ratios(self) -> tuple[str, ...]:
        """Forget ratios, as the parts are called."""
        return tuple(self.parts)

    def describe(self) -> dict[str, Any]:
        """Model, counts and training; no record."""
        return {
            "testbed": self.name,
            "model": self.model,
            "parts": {
                ratio: {
                    "forget": len(p.forget),
                    "retain": len(p.retain),
                    "retrained": p.retrained,
                }
                for ratio, p in self.parts.items()
            },
            "steps": self.steps,
            "pairs_per_step": self.pairs_per_step,
            "limit": self.limit,
            "learning_rates": list(self.learning_rates),
            **({} if self.columns is None else {"columns": self.columns.describe()}),
        }

    def pairs(self, ratio: str) -> int:
        """Forget pairs per optimiser step."""
        own = len(self.parts[ratio].forget) // 12
        return self.pairs_per_step or max(8, min(32, own // 4 * 4))

    def refuses(self, method: str) -> str | None:
        """Every method can run on text."""
        return None

    def fixed(self, method: str) -> dict[str, Option]:
        """A layer in the middle, for methods that need one."""
        names = {f.name for f in fields(build_objective(method).forget)}
        return {"layer": _middle_layer(self.model)} if "layer" in names else {}

    def references(self, case: Case) -> dict[str, Measured]:
        """The original, and the retrained model where there is one."""
        part = self.parts[case.ratio]
        models = {"original": self.model, "retrained": part.retrained}
        return {
            role: self._with_columns(
                self._measured(0, _measure_folder(self, source, case.split, case.ratio), case),
                _columns_of_folder(self, source, case.ratio) if case.split == "test" else ({}, {}),
            )
            for role, source in models.items()
            if source is not None
        }

    def attempt(
        self, setting: Setting, case: Case, at: Sequence[int], report: Report
    ) -> tuple[Measured, ...]:
        """See `Testbed`."""
        seed = case.seed + (OTHER_SEEDS if case.split == "validation" else 0)
        hook = _Hook(self, case, at, report)
        with suppress(_Reached):
            self.unlearner(setting, case.ratio, seed, hooks=[hook]).fit()
        return tuple(hook.points)

    def unlearner(
        self,
        setting: Setting,
        ratio: str,
        seed: int,
        *,
        hooks: Sequence[Any] = (),
        callbacks: Sequence[Any] = (),
    ) -> Unlearner:
        """The run of a setting.

        Args:
            setting: Method and options.
            ratio: What is to be forgotten.
            seed: Of the training.
            hooks: As for `Unlearner`.
            callbacks: As for `Unlearner`.
        """
        part = self.parts[ratio]
        options = {**self.fixed(setting.method), **setting.objective_options}
        objective = build_objective(setting.method, options)
        pairs = self.pairs(ratio)
        per_device = max(n for n in range(1, 9) if pairs % n == 0)
        return Unlearner(
            model=self.model,
            forget=part.forget,
            retain=None if objective.retain is None else part.retain,
            objective=objective,
            train=TrainOptions(
                learning_rate=setting.learning_rate,
                max_steps=self.steps,
                per_device_train_batch_size=per_device,
                gradient_accumulation_steps=pairs // per_device,
                seed=seed,
            ),
            device=self.device,
            method=setting.method,
            hooks=hooks,
            callbacks=callbacks,
            progress=False,
        )

    def items(self, split: Split, ratio: str) -> dict[str, tuple[Record, ...]]:
        """What is asked about: records of the groups that belong to the split.

        Raises:
            RequestError: A split has none.
        """
        found = {name: self._dealt(name, ratio)[split][: self.limit] for name in _SIDES}
        for name, records in found.items():
            if not records:
                raise RequestError(
                    f"there are no {name} records for the {split} items",
                    where=f"--{name}",
                    remedy="give records of at least two groups",
                )
        return found

    def _measured(self, step: int, values: Mapping[str, float], case: Case) -> Measured:
        source = self.parts[case.ratio].retrained
        retrained = source and _measure_folder(self, source, case.split, case.ratio)
        gaps, unscored = distance(values, retrained or None)
        names = ("forgetting", "naturalness", "utility")
        unscored |= {n: "no answer could be scored" for n in names if n not in values}
        return Measured(step=step, values={**values, **gaps}, unscored=unscored)

    def _dealt(self, side: str, ratio: str) -> dict[Split, tuple[Record, ...]]:
        own = getattr(self.parts[ratio], side)
        every = [getattr(part, side) for part in self.parts.values()]
        return deal(own, [records for records in every if len(records) < len(own)])

    def yardstick(self, ratio: str) -> Yardstick | None:
        """What the further columns of test cases are measured with."""
        if self.columns is None:
            return None
        forget = tuple(r.id for r in self._dealt("forget", ratio)["test"])
        return yardstick(self.columns, ratio, self.model, self.device, forget)

    def _with_columns(
        self, point: Measured, found: tuple[Mapping[str, float], Mapping[str, str]]
    ) -> Measured:
        values, unscored = found
        return replace(
            point,
            values={**point.values, **values},
            unscored={**point.unscored, **unscored},
        )

    def __hash__(self) -> int:
        return hash((self.name, self.model, self.steps, self.limit, self.ratios))


class _Reached(Exception):
    """The last step at which something was to be measured is done."""


_FOLLOWED = 6
"""How often a run of a test case is looked at for rivals of the target."""


class _Hook:
    """Measures at the given steps and ends the run after the last of them."""

    every = 1

    def __init__(self, bed: RecordsTestbed, case: Case, at: Sequence[int], report: Report):
        self._bed, self._case, self._at, self._report = bed, case, sorted(at), report
        self._items = bed.items(case.split, case.ratio)
        self._yardstick = bed.yardstick(case.ratio) if case.split == "test" else None
        self._followed = measured_at(self._at[-1], _FOLLOWED)
        self._curve: list[Point] = []
        self.points: list[Measured] = []

    def prepare(self, prepared: Any, folder: Any, resuming: bool) -> None:
        """Take the run's own encoder, so that prompts are put as in training."""
        self._encoder = prepared.encoder

    def __call__(self, step: int, model: AnswerModel) -> None:
        if self._yardstick is not None and step in self._followed:
            self._curve.append(self._yardstick.point(step, model))
        if step in self._at:
            values = measure_model(model, self._encoder, self._items)
            point = self._bed._measured(step, values, self._case)
            if self._yardstick is not None:
                more = self._yardstick.measure(model, self._curve)
                point = self._bed._with_columns(point, more)
            self.points.append(point)
            self._report(point)
        if step >= self._at[-1]:
            raise _Reached


@lru_cache(maxsize=32)
def _measure_folder(
    bed: RecordsTestbed, source: str, split: Split, ratio: str
) -> Mapping[str, float]:
    loaded = load_model(source, device=bed.device)
    encoder = Encoder(loaded.tokenizer)
    return measure_model(
        AnswerModel(loaded.model, pad_id=encoder.pad_id), encoder, bed.items(split, ratio)
    )


@lru_cache(maxsize=16)
def _columns_of_folder(
    bed: RecordsTestbed, source: str, ratio: str
) -> tuple[Mapping[str, float], Mapping[str, str]]:
    rule = bed.yardstick(ratio)
    if rule is None:
        return {}, {}
    loaded = load_model(source, device=bed.device)
    loaded.model.eval()
    model = AnswerModel(loaded.model, pad_id=rule.encoder.pad_id)
    return rule.measure(model, [rule.point(1, model)])


@lru_cache(maxsize=4)
def _middle_layer(source: str) -> int:
    from transformers import AutoConfig

    layers = AutoConfig.from_pretrained(source).get_text_config(decoder=True).num_hidden_layers
    return max(1, int(layers) // 2)
