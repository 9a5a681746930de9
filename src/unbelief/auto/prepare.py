"""What is measured before the first trial: references, strangers, the pace of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from transformers import TrainerCallback

from unbelief.auto.clock import Pace
from unbelief.auto.items import (
    HALVES,
    Half,
    Items,
    Sorted,
    neighbours_of,
    swapped_records,
    told_records,
)
from unbelief.auto.yardstick import Reading, Yardstick
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.models.runner import AnswerModel
from unbelief.types import Record

ESTIMATED = "estimated from what the original says about strangers (high for long answers)"
MEASURED = "measured on the retrained model"
HELD_OUT = "measured on held-out records, which the original never saw"
GIVEN = "given by the user"
PROBE = 3
"""Steps of the run that measures the pace."""


@dataclass(frozen=True)
class References:
    """The original and the level, on both halves; all of it plain data, kept in the journal.

    Attributes:
        original: Estimates of the original, by half and name.
        level: Of a model that never saw the records, likewise.
        how: Where the level is from.
        estimated: The estimated level, also where another is used.
    """

    original: Mapping[Half, Mapping[str, Any]]
    level: Mapping[Half, Mapping[str, Any]]
    how: str
    estimated: Mapping[Half, Mapping[str, Any]]


def items_of(
    sorted_: Sorted, retain: Sequence[Record], strangers: int, seed: int, said: Said
) -> dict[Half, Items]:
    """What is asked in each half, strangers included.

    Args:
        sorted_: The records.
        retain: All records to keep: whose names make strangers.
        strangers: Per record.
        seed: Of their names.
        said: Gives the original's answers about strangers, by half.
    """
    every = [r for half in HALVES for r in sorted_.halves[half][0]]
    unique = list({r.id: r for r in every}.values())
    found = neighbours_of(unique, retain, strangers, seed)
    out: dict[Half, Items] = {}
    for half in HALVES:
        forget, kept = sorted_.halves[half]
        told, of_strangers = told_records(forget, found, lambda asked, h=half: said(h, asked))  # type: ignore[misc]
        swapped, apart = swapped_records(forget, found), sorted_.holdout[half]
        out[half] = Items(forget, kept, swapped, told, of_strangers, apart)
    return out


class Said:
    """The original's answers about strangers: sampled once, then read from the journal.

    Args:
        stored: Answers by half, from an earlier start; None to ask.
        model: The original; only needed to ask.
        yardstick: Renders prompts.
        seed: Of the sampling.
    """

    def __init__(
        self,
        stored: Mapping[str, list[str]] | None,
        model: AnswerModel | None,
        yardstick: Yardstick,
        seed: int,
    ):
        self.answers: dict[str, list[str]] = dict(stored or {})
        self._model, self._yardstick, self._seed = model, yardstick, seed
        self._seconds, self._asked = 0.0, 0

    @property
    def seconds_each(self) -> float:
        """Seconds per answer; 0 where none was asked for."""
        return self._seconds / max(1, self._asked)

    def forget_model(self) -> None:
        """All is asked: let the model go."""
        self._model = None

    def __call__(self, half: Half, asked: Sequence[Record]) -> list[str]:
        """One sampled answer to every record's prompt."""
        if half not in self.answers:
            assert self._model is not None
            self.answers[half] = self._sampled(self._model, asked)
        return self.answers[half]

    def _sampled(self, model: AnswerModel, asked: Sequence[Record]) -> list[str]:
        started, encoder = time.monotonic(), self._yardstick.encoder
        found = sample_answers(
            model.model,
            encoder,
            [encoder.encode_prompt(r.prompt) for r in asked],
            decoding=Decoding(max_new_tokens=self._yardstick.max_new_tokens, seed=self._seed),
            keys=[r.id for r in asked],
        )
        self._asked += len(asked)
        self._seconds += time.monotonic() - started
        return [encoder.decode(one.token_ids).strip() for (one,) in found]


def references(
    yardstick: Yardstick,
    original: AnswerModel,
    items: Mapping[Half, Items],
    retrained: tuple[Yardstick, AnswerModel] | None,
    given: float | None,
) -> tuple[References, float]:
    """Measure the original and find the level.

    The level is that of the retrained model where there is one, else of held-out records where
    there are any, else the estimate. Naturalness keeps the estimate beside held-out records: what
    they say of somebody is the truth, and not what is said about strangers.

    Args:
        yardstick: How to ask.
        original: The model that knows the records.
        items: What to ask, held-out records included.
        retrained: A model that never saw the records and how to ask it, where there is one.
        given: The level, where the user names it.

    Returns:
        The references, and the seconds of asking once.
    """
    started = time.monotonic()
    chosen = yardstick.read(original, items["choice"])
    seconds = time.monotonic() - started
    reported = yardstick.read(original, items["report"], facts=True)
    estimated = _by_half(yardstick.level, original, items)
    level, how = estimated, ESTIMATED
    if retrained is not None:
        ask, model = retrained
        level, how = _by_half(ask.read, model, items), MEASURED
    elif all(items[half].holdout for half in HALVES):
        held_out = _by_half(yardstick.held_out, original, items)
        level, how = {half: {**estimated[half], **held_out[half]} for half in HALVES}, HELD_OUT
    if given is not None:
        (score,) = yardstick.scores
        level, how = {half: _fixed(level[half], score, given) for half in HALVES}, GIVEN
    original_by_half = {"choice": chosen.to_dict(), "report": reported.to_dict()}
    return References(original_by_half, level, how, estimated), seconds  # type: ignore[arg-type]


def _by_half(
    ask: Callable[..., Reading], model: AnswerModel, items: Mapping[Half, Items]
) -> dict[Half, Mapping[str, Any]]:
    """What a model says to both halves; key facts are counted for the report alone."""
    return {half: ask(model, items[half], facts=half == "report").to_dict() for half in HALVES}


def _fixed(level: Mapping[str, Any], score: str, value: float) -> dict[str, Any]:
    """A level with one score's replaced by a number, which has no interval."""
    known: dict[str, Any] = {"value": value, "low": None, "high": None, "n": 0, "reasons": {}}
    return {**level, score: {**level[score], **known}}


class Stopwatch(TrainerCallback):
    """Times the steps of a run."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first: float | None = None
        self.ends: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when the first step begins."""
        if self.first is None:
            self.first = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when a step ends."""
        self.ends.append(time.monotonic())

    def pace(self, measuring: float, answer: float) -> Pace:
        """The pace; the first step is left out where there are others, since it warms up."""
        assert self.first is not None and self.ends
        marks = [self.first, *self.ends]
        steps = [b - a for a, b in pairwise(marks)]
        later = steps[1:] or steps
        return Pace(
            step=sum(later) / len(later),
            measuring=measuring,
            answer=answer,
            starting=self.first - self.began + max(0.0, steps[0] - later[0]),
        )
