r"""What a model says, and where one that never saw the records would stand.

The level is estimated without a retrained model, from the original alone. A model that never saw
the records takes their subject for a stranger, and what a model says about strangers can be asked
of the original: for a record (x_E, y_E) about E and strangers E'_1 ... E'_k

.. math:: \hat L = \frac{1}{n} \sum_E \frac{1}{k} \sum_j S(\rho_{E \to E'_j} y_E \mid x_{E'_j})

with S a score of the original model (extraction strength and probability) and ρ the renaming: how
much of the true answer follows from general knowledge, the question and chance. The interval
resamples the records' clusters. It does not contain what the assumption itself is off by, which
docs/auto.md measures where retrained models exist: little for short answers in shared words; for
long ones it is an upper bound, since the original knows their text whatever it is asked.

Where records of the same kind exist that the original never saw, it need not be estimated: what
the original says to these is what a model says to such records that it was not trained on.

Naturalness is asked of strangers in any case. T is the probability per token of what the original
says about strangers, told as an answer about E; its level is that of the same answers moved to yet
another stranger, under the original. A model that speaks of E as of a stranger is at the level, one
that lost its language, or still says the record, is below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unbelief.auto.items import Items, original_id
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import Example
from unbelief.models.runner import AnswerModel
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.conventions import DEFAULT, metric
from unbelief.scores.statistics import mean_statistic, missing, of_metric
from unbelief.tokens import Encoder
from unbelief.types import Estimate, Record, Score

UTILITY, TOLD, FACTS = "utility", "told", "key_facts"
_RECALL = "key_fact_recall"
NO_STRANGERS = (
    "no prompt to forget names anybody whose name could be replaced, so nothing was asked about "
    "strangers by name"
)
NO_FACTS_HELD_OUT = "no held-out record of this half tells its facts"


@dataclass(frozen=True)
class Reading:
    """What a model says about one half's items: scores, `utility`, `told`, `key_facts`."""

    values: Mapping[str, Statistic]

    def value(self, name: str) -> float | None:
        """One number, None where it could not be measured or was not asked."""
        return self.values[name].value if name in self.values else None

    def estimates(self) -> dict[str, Estimate]:
        """With intervals."""
        return {name: one.estimate(DEFAULT) for name, one in self.values.items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: asdict(one) for name, one in self.estimates().items()}


@dataclass(frozen=True)
class Yardstick:
    """How models are asked.

    Attributes:
        encoder: Of the model.
        scores: What the leak is measured by.
        max_new_tokens: Longest greedy answer, for key facts.
    """

    encoder: Encoder
    scores: tuple[str, ...]
    max_new_tokens: int

    def read(self, model: AnswerModel, items: Items, *, facts: bool = False) -> Reading:
        """A model on one half's items.

        Args:
            model: Any.
            items: What to ask.
            facts: Also take greedy answers and count key facts, where records tell them.
        """
        asked = [
            _Asked("forget", items.forget, self._leak(items.forget, facts)),
            _Asked("retain", items.retain, {UTILITY: metric("probability")}),
            _Asked("told", items.told, {TOLD: metric("probability")}, several=True),
        ]
        return self._ask(model, asked)

    def level(self, original: AnswerModel, items: Items, *, facts: bool = False) -> Reading:
        """Where a model that never saw the records would stand, estimated; see the module."""
        how = self._leak(items.swapped, facts)
        moved = items.told_of_strangers
        asked = [
            _Asked("forget", items.swapped, how, several=True),
            _Asked("told", moved, {TOLD: metric("probability")}, several=True),
        ]
        found = self._ask(original, asked)
        if items.swapped:
            return found
        why = "no prompt to forget has a neighbour among the records to keep"
        return Reading({**found.values, **{s: missing(why, unit="share") for s in self.scores}})

    def held_out(self, original: AnswerModel, items: Items, *, facts: bool = False) -> Reading:
        """What the original says to held-out records, which it never saw: the level, measured.

        Args:
            original: The model that knows the records to forget and not these.
            items: What to ask; the held-out records of them.
            facts: Also take greedy answers and count key facts; missing where no record tells any.
        """
        found = self._ask(
            original, [_Asked("holdout", items.holdout, self._leak(items.holdout, facts))]
        )
        if not facts or FACTS in found.values:
            return found
        return Reading({**found.values, FACTS: missing(NO_FACTS_HELD_OUT, unit="share")})

    def _leak(self, records: Sequence[Record], facts: bool) -> dict[str, Metric]:
        found = {name: self._metric(name) for name in self.scores}
        if facts and any(r.facts or r.perturbed for r in records):
            found[FACTS] = self._metric(_RECALL)
        return found

    def _metric(self, name: str) -> Metric:
        options = {"max_new_tokens": self.max_new_tokens} if name == _RECALL else {}
        return metric(name, options=options)

    def _ask(self, model: AnswerModel, asked: Sequence[_Asked]) -> Reading:
        asked = [one for one in asked if one.records]
        needs = {one.name: [n for how in one.metrics.values() for n in how.needs] for one in asked}
        plan = Plan({one.name: one.records for one in asked}, needs)
        found = measure_examples(model, self.encoder, plan) if asked else {}
        return Reading(
            {name: _statistic(one, name, found[one.name]) for one in asked for name in one.metrics}
        )


@dataclass(frozen=True)
class _Asked:
    """A set of questions and what is computed from the answers, by name.

    `several` says that there are several questions made from one record.
    """

    name: str
    records: Sequence[Record]
    metrics: Mapping[str, Metric]
    several: bool = False


def _statistic(asked: _Asked, name: str, examples: Sequence[Example]) -> Statistic:
    """The mean over records; of several questions made from one record, first over these."""
    how = asked.metrics[name]
    if not asked.several:
        return of_metric(how, examples, stream=asked.name)
    scores: dict[str, list[Score]] = {}
    for example in examples:
        scores.setdefault(original_id(example.record), []).append(how.score(example))
    merged = [_mean(key, its) for key, its in scores.items()]
    return mean_statistic(merged, unit=how.unit, version=how.version, stream=asked.name)


def _mean(key: str, scores: Sequence[Score]) -> Score:
    known = [s.value for s in scores if s.value is not None]
    if not known:
        return Score(None, scores[0].unscored, key, scores[0].group)
    return Score(sum(known) / len(known), None, key, scores[0].group)
