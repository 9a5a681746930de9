"""Make the models of the study and measure each: exact masses and the field's metrics."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from unbelief.beliefs.bank import BeliefBank
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.errors import GuardError
from unbelief.interventions.base import Context
from unbelief.interventions.finetune import Recipe, finetune, rows_of
from unbelief.lab.pretrain import Role, train_or_load
from unbelief.lab.world import make_world
from unbelief.models.load import LoadedModel, in_memory
from unbelief.models.runner import AnswerModel
from unbelief.objectives import build_objective
from unbelief.objectives.methods import methods
from unbelief.study.truth_lines import LONGEST
from unbelief.study.truth_meter import TruthMeter
from unbelief.study.truth_plan import IMITATION, Run, TruthConfig, options_of, runs_of
from unbelief.study.truth_rows import Row, RowFile, Stopped
from unbelief.train.options import TrainOptions
from unbelief.types import Record
from unbelief.unlearner import Unlearner

Progress = Callable[[str, int], None]
"""Called with what is being done and how many models were finished."""
_IMITATED = 8  # answers of the retrained model per forget prompt
_DRAWS = 8  # times that the records to keep are drawn for the imitation, in all their phrasings


def measure_models(
    config: TruthConfig, rows: RowFile, cache: Path, *, progress: Progress | None = None
) -> None:
    """Fill a file with every model of a study; models that are in it are not made again.

    Everything runs on one thread, on which it is deterministic.

    Args:
        config: The study.
        rows: Where the models go.
        cache: Folder of the lab's trained models, made where absent.
        progress: Told along the way.

    Raises:
        RequestError: A method does not exist, or its options do not fit; nothing was trained.
    """
    tell = progress or (lambda _what, _done: None)
    check_methods(config)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in config.seeds:
            _measure_world(config, seed, rows, cache, tell)
    finally:
        torch.set_num_threads(before)


def check_methods(config: TruthConfig) -> None:
    """Refuse methods that do not exist.

    Raises:
        RequestError: There is no such method.
    """
    for name in config.methods:
        if name != IMITATION:
            build_objective(name, options_of(name), has_retain=methods_retain(name))


def methods_retain(name: str) -> bool:
    """Whether a method of the study is given records to keep.

    Raises:
        RequestError: There is no such method.
    """
    if name not in methods():
        build_objective(name)  # says which names there are
    return bool(options_of(name)) or methods()[name].preset.retain is not None


def _measure_world(
    config: TruthConfig, seed: int, rows: RowFile, cache: Path, tell: Progress
) -> None:
    runs = [r for r in runs_of(config) if r.seed == seed]
    references = [f"world {seed}/{role}" for role in ("original", "retrained")]
    wanted = [r for r in runs if any(r.key(step) not in rows for step in r.steps)]
    if not wanted and all(key in rows for key in references):
        return
    bench = _Bench.of(config, seed, cache, tell)
    for key, model in zip(references, (bench.original, bench.retrained), strict=True):
        if key not in rows:
            bench.keep(rows, key, key.split("/")[1], None, 0, _answers(model))
            tell(key, 1)
    banks: dict[str, BeliefBank | None] = {}
    for run in wanted:
        make = bench.imitate if run.method == IMITATION else bench.unlearn
        try:
            make(run, rows, banks)
            reason = "the run was shorter"
        except GuardError as error:
            reason = error.message
        for step in run.steps:
            if run.key(step) not in rows:
                rows.add(Stopped(key=run.key(step), reason=reason))
        tell(f"world {seed}: {run.method}", len(run.steps))


@dataclass
class _Recorder:
    """A hook of the unlearner that measures at some steps."""

    bench: _Bench
    run: Run
    rows: RowFile
    every: int = field(default=1, init=False)

    def __call__(self, step: int, model: AnswerModel) -> None:
        if step in self.run.steps:
            run = self.run
            self.bench.keep(self.rows, run.key(step), run.method, run.learning_rate, step, model)


@dataclass(frozen=True)
class _Bench:
    """One world: its two models, its records, and the meter."""

    config: TruthConfig
    seed: int
    original: LoadedModel
    retrained: LoadedModel
    meter: TruthMeter
    forget: Sequence[Record]
    retain: Sequence[Record]

    @classmethod
    def of(cls, config: TruthConfig, seed: int, cache: Path, tell: Progress) -> _Bench:
        world_config = replace(config.world, seed=seed)
        pretrain = replace(config.pretrain, seed=seed)

        def model(role: Role) -> LoadedModel:
            tell(f"world {seed}: the {role} model", 0)
            return train_or_load(world_config, role, pretrain, cache)

        world, original, retrained = make_world(world_config), model("original"), model("retrained")
        return cls(
            config,
            seed,
            original,
            retrained,
            TruthMeter(world, original, config.retained_people, config.samples, seed),
            world.records("forget"),
            world.drawn_records("retain", seed),
        )

    def keep(
        self,
        rows: RowFile,
        key: str,
        method: str,
        rate: float | None,
        step: int,
        model: AnswerModel,
    ) -> None:
        """Measure a model and put it into the file, unless it is there."""
        if key in rows:
            return
        started = time.monotonic()
        found = self.meter.measure(model)
        rows.add(
            Row(
                key=key,
                seed=self.seed,
                method=method,
                learning_rate=rate,
                step=step,
                masses=found.masses,
                metrics=found.metrics,
                unscored=found.unscored,
                seconds=round(time.monotonic() - started, 2),
            )
        )

    def unlearn(self, run: Run, rows: RowFile, banks: dict[str, BeliefBank | None]) -> None:
        """A run of a method; beliefs are sampled once for all its rates."""
        kept = methods_retain(run.method)
        done = Unlearner(
            model=self._fresh(),
            forget=list(self.forget),
            retain=list(self.retain) if kept else None,
            objective=build_objective(run.method, options_of(run.method), has_retain=kept),
            train=TrainOptions(
                learning_rate=run.learning_rate,
                num_train_epochs=self.config.epochs,
                per_device_train_batch_size=self.config.pairs_per_step,
                gradient_accumulation_steps=1,
                seed=self.seed,
            ),
            beliefs=banks.get(run.method),
            device="cpu",
            method=run.method,
            hooks=[_Recorder(self, run, rows)],
            progress=False,
        ).fit()
        banks[run.method] = done.beliefs

    def imitate(self, run: Run, rows: RowFile, _banks: dict[str, BeliefBank | None]) -> None:
        """Teach the original what the retrained model answers to the forget prompts."""
        model = _answers(self._fresh())
        context = Context(encoder=self.meter.encoder)
        world = self.meter.world
        named = [
            (f"retain:{r.id}/{i}", r)
            for i in range(_DRAWS)
            for r in world.drawn_records("retain", self.seed + i)
        ]
        recipe = Recipe(
            learning_rate=run.learning_rate,
            weight_decay=0.0,
            max_grad_norm=1.0,
            batch_size=2 * self.config.pairs_per_step,
            seed=self.seed,
        )
        examples = rows_of([*named, *self._answers_of_retrained()], model, context)
        for step in finetune(model, examples, recipe, run.steps):
            self.keep(rows, run.key(step), run.method, run.learning_rate, step, model)

    def _answers_of_retrained(self) -> list[tuple[str, Record]]:
        """Sampled answers of the retrained model to both ways of asking."""
        encoder = self.meter.encoder
        asked = [
            replace(record, id=f"{record.id}/{way}", prompt=prompt)
            for record in self.forget
            for way, prompt in (("own", record.prompt), ("other", record.paraphrased_prompt))
        ]
        said = sample_answers(
            self.retrained.model,
            encoder,
            [encoder.encode_prompt(record.prompt) for record in asked],
            decoding=Decoding(max_new_tokens=LONGEST, seed=self.seed),
            samples=_IMITATED // 2,
            keys=[record.id for record in asked],
        )
        return [
            (f"forget:{record.id}/{i}", replace(record, answer=text))
            for record, its in zip(asked, said, strict=True)
            for i, one in enumerate(its)
            if (text := encoder.decode(one.token_ids)).strip()
        ]

    def _fresh(self) -> LoadedModel:
        return in_memory(
            copy.deepcopy(self.original.model), self.original.tokenizer, source="lab original"
        )


def _answers(loaded: LoadedModel) -> AnswerModel:
    return AnswerModel(loaded.model, pad_id=loaded.pad_id)
