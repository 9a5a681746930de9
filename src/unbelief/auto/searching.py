"""The search of one request: preparation, trials within the budget, all of it resumable."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from unbelief.auto.aims import Aim, aim_of
from unbelief.auto.clock import Clock, Pace, draws, steps_that_fit
from unbelief.auto.items import Half, Items
from unbelief.auto.journal import Journal
from unbelief.auto.judging import Trial
from unbelief.auto.options import AutoOptions
from unbelief.auto.portfolio import Entry, Strength, first_rate, ranges
from unbelief.auto.prepare import PROBE, References, Said, Stopwatch, items_of, references
from unbelief.auto.search import Space, search
from unbelief.auto.trial import Watch
from unbelief.auto.workshop import Workshop, teaches
from unbelief.auto.yardstick import TOLD, Reading, Yardstick
from unbelief.errors import GuardError
from unbelief.models.runner import AnswerModel
from unbelief.train.callbacks import bar

PASSES, MOST = 30, 300
"""Most passes over the forget records in a trial, and most steps."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        trials: In order.
        ended: Why there are no more.
        original_cost: Cost of doing nothing.
    """

    trials: list[Trial]
    ended: str
    original_cost: float


@dataclass(kw_only=True)
class Searching:
    """A search at work.

    Attributes:
        shop: Model and data.
        journal: What is kept.
        options: Of the request.
        wanted: Methods.
    """

    shop: Workshop
    journal: Journal
    options: AutoOptions
    wanted: tuple[Entry, ...]
    found: Found | None = None
    clock: Clock = field(init=False)
    _ran: list[Trial] = field(default_factory=list, init=False)
    _yardstick: Yardstick = field(init=False)
    _items: dict[Half, Items] = field(init=False)
    _references: References = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(budget=60 * self.options.budget, before=self.journal.spent)

    def run(self) -> Found:
        """Prepare, then try until the budget is spent or nothing is left to try."""
        self._prepare()
        aim = self.aim("choice")
        space = Space(
            entries=self.wanted,
            rate=self.rate,
            ranges={entry.name: ranges(entry, self.rate) for entry in self.wanted},
        )
        with bar(self.options.trials, "trials", self.shop.request.progress) as shown:

            def run(number: int, entry: Entry, strength: Strength) -> Trial:
                trial = self.journal.trial(number)
                if trial is None:
                    trial = self._try(number, entry, strength, aim)
                self._ran.append(trial)
                self.clock.learn(entry, self.journal.steps_of(number))
                shown.update(1)
                return trial

            trials, ended = search(space, run, self._fits, self.options.trials)
        self.found = Found(trials, ended, self._original_cost(aim))
        return self.found

    @cached_property
    def rate(self) -> float:
        """Learning rate of the first trials."""
        return float(f"{first_rate(self.shop.hidden, self.shop.request.lora is not None):.3g}")

    @cached_property
    def state(self) -> dict[str, Any]:
        """What the preparation found, as it is kept."""
        kept: dict[str, Any] = self.journal.state("prepared")
        return kept

    @property
    def steps(self) -> int:
        """Optimiser steps of a full trial."""
        return int(self.state["steps"])

    @property
    def at(self) -> tuple[int, ...]:
        """Steps at which a trial is measured."""
        times = min(self.options.measurements, self.steps)
        return tuple(sorted({round(self.steps * (i + 1) / times) for i in range(times)}))

    @property
    def last_step(self) -> int:
        """Step at which the final run ends."""
        return int(self.journal.state("final")["step"])

    @property
    def references(self) -> References:
        """The original and the level."""
        return self._references

    def entry(self, name: str) -> Entry:
        """An entry by name."""
        return next(entry for entry in self.wanted if entry.name == name)

    def bank_for(self, entry: Entry) -> Path | None:
        """The belief bank of an entry, once it has been sampled."""
        return self.journal.bank if teaches(entry) and self.journal.bank.exists() else None

    def read(self, model: AnswerModel, half: Half, *, facts: bool = False) -> Reading:
        """Ask a model."""
        return self._yardstick.read(model, self._items[half], facts=facts)

    def aim(self, half: Half) -> Aim:
        """The aim on one half.

        Raises:
            Inconclusive: There is none.
        """
        its, options = self._references, self.options
        return aim_of(
            its.original[half],
            its.level[half],
            options.scores,
            options.keep,
            options.tolerance,
        )

    def _prepare(self) -> None:
        """Measure, or read what an earlier start measured."""
        kept = self.journal.state("prepared")
        if kept is not None:
            self._yardstick = self._encoder_only()
            self._items = self._make_items(Said(kept["said"], None, self._yardstick, self._seed))
            self._references = References(**kept["references"])
            return
        self._yardstick, original = self.shop.ready(self.shop.request.model)
        said = Said(None, original, self._yardstick, self._seed)
        self._items = self._make_items(said)
        gold = self.shop.request.retrained
        retrained = None if gold is None else self.shop.ready(gold)
        self._references, measuring = references(
            self._yardstick, original, self._items, retrained, self.options.leak_level
        )
        self.aim("choice")  # before minutes are spent
        said.forget_model()
        del original, retrained
        gc.collect()
        pace = self._probe(measuring, said.seconds_each)
        steps = self._steps(pace)
        self.journal.keep(
            "prepared",
            {
                "said": said.answers,
                "references": asdict(self._references),
                "pace": asdict(pace),
                "steps": steps,
                "seconds": round(self.clock.spent, 3),
            },
        )

    @property
    def _seed(self) -> int:
        return self.shop.request.train.seed

    def _make_items(self, said: Said) -> dict[Half, Items]:
        shop = self.shop
        return items_of(shop.sorted, shop.retain, self.options.strangers, self._seed, said)

    def _encoder_only(self) -> Yardstick:
        return self.shop.ready(self.shop.request.model)[0]

    def _probe(self, measuring: float, answer: float) -> Pace:
        """A few steps of the plainest method: how long a step takes here."""
        entry = Entry(name="probe", method="graddiff", forget_weight=0.01, source="")
        watch = Stopwatch()
        strength = Strength(learning_rate=1e-8, forget_weight=entry.forget_weight)
        self.shop.unlearner(entry, strength, PROBE, callbacks=[watch]).fit()
        return watch.pace(measuring, answer)

    def _steps(self, pace: Pace) -> int:
        """Steps of a trial: as given, else as many as the budget has room for."""
        wanted = self.options.steps or min(MOST, PASSES * self.shop.steps_per_epoch)
        asked = [len(self.shop.forget) * draws(e) for e in self.wanted if teaches(e)]
        left = self.clock.left - max(asked, default=0) * pace.answer
        return steps_that_fit(wanted, self.options.measurements, pace, left, self.wanted)

    def _predicted(self, entry: Entry) -> float:
        pace = Pace(**self.state["pace"])
        asked = 0
        if teaches(entry) and self.bank_for(entry) is None:
            asked = len(self.shop.forget) * draws(entry)
        return self.clock.predicted(entry, self.steps, len(self.at), pace, asked)

    def _fits(self, entry: Entry, trials: Sequence[Trial]) -> bool:
        """Whether a trial can begin.

        What an earlier start did is done again in the same order: the trials that it ran are
        there, those that it had no time for are left out, and once it had begun the final run,
        nothing is added.
        """
        kept = self.journal.trial(len(trials))
        if kept is not None:
            return kept.entry == entry.name
        if self.journal.state("final") is not None:
            return False
        predicted = self._predicted(entry)
        return self.clock.fits(predicted, self._reserve(predicted, trials))

    def _reserve(self, predicted: float, trials: Sequence[Trial]) -> float:
        """Seconds for the final run: that of the trial to come, or of the slowest so far."""
        return max([predicted, *(trial.seconds for trial in trials)])

    def _try(self, number: int, entry: Entry, strength: Strength, aim: Aim) -> Trial:
        started = time.monotonic()
        watch = Watch(
            lambda model: self.read(model, "choice"),
            aim,
            self.at,
            self.clock.deadline(self._reserve(self._predicted(entry), self._ran)),
            self.journal.bank if teaches(entry) else None,
            lambda _point: None,
        )
        unlearner = self.shop.unlearner(
            entry,
            strength,
            self.steps,
            bank=self.bank_for(entry),
            watch=[watch],
        )
        diverged = False
        try:
            unlearner.fit()
        except GuardError as error:
            diverged, watch.ended = True, error.message
        trial = Trial(
            number=number,
            entry=entry.name,
            strength=strength,
            points=tuple(watch.points),
            ended=watch.ended,
            seconds=time.monotonic() - started,
            allowed=1 - aim.keep,
            diverged=diverged,
        )
        self.journal.keep_trial(trial, {"step_seconds": watch.step_seconds})
        return trial

    def _original_cost(self, aim: Aim) -> float:
        """Cost of the original: all of the excess is left, nothing is lost."""
        told = self._references.original["choice"].get(TOLD, {}).get("value")
        unlike = 0.0
        if aim.told_level is not None and told is not None:
            unlike = max(0.0, 1 - told / aim.told_level)
        return 1.0 + unlike
