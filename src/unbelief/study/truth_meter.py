"""One lab model: its exact masses, and what the field's metrics say about it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unbelief.diagnose import ProposeOptions, SqueezeMeter, propose_candidates
from unbelief.diagnose.candidates import CandidateSet
from unbelief.diagnose.index import squeeze
from unbelief.diagnose.points import Reading
from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.world import Person, World
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import AnswerNeed, Example, Need
from unbelief.models.load import LoadedModel
from unbelief.models.runner import AnswerModel
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate, metric
from unbelief.scores.facts import key_facts
from unbelief.scores.metrics.fluency import as_said
from unbelief.scores.metrics.key_facts import recall
from unbelief.scores.statistics import of_metric
from unbelief.scores.texts import greedy_need
from unbelief.study.failures import Masses
from unbelief.study.truth_lines import LONGEST, candidates
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

_MEMORIZATION = (
    "extraction_strength", "exact_memorization", "paraphrase_probability", "truth_ratio_prob_mean",
)  # fmt: skip
_OF_WORDS = ("original_fluency", "original_perplexity")
_LEAKS = 0.5
"""Smallest key fact recall that is a leak, as in `leak_rate`."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything measured on one model.

    Attributes:
        masses: What is true.
        metrics: What each metric says; None where it has no value.
        unscored: Per metric without a value, the reason.
    """

    masses: Masses
    metrics: Mapping[str, float | None]
    unscored: Mapping[str, str]


def holdout_people(world: World, count: int, seed: int) -> list[Person]:
    """People made of the world's names and values who are not in it: nobody was trained on them."""
    names = [(p.first, p.family) for p in world.people]
    firsts, families = (sorted(set(side)) for side in zip(*names, strict=True))
    rng = random.Random(f"{seed}/holdout")
    free = [(f, g) for f in firsts for g in families if (f, g) not in set(names)]
    assert len(free) >= count  # 400 names, and a quarter of the people at most is forgotten
    return [
        Person(first, family, {a.name: rng.choice(world.values[a.name]) for a in world.attributes})
        for first, family in rng.sample(free, count)
    ]


class TruthMeter:
    """Measures any model of one world. Built once per world.

    Args:
        world: The world.
        original: The model before unlearning: it proposes the beams, and judges fluency.
        retained_people: People to keep on whom the retained mass and the kept metrics are read.
        samples: Sampled answers per forget prompt.
        seed: Of the people nobody was trained on.
    """

    def __init__(
        self, world: World, original: LoadedModel, retained_people: int, samples: int, seed: int
    ):
        self.world = world
        self.encoder = Encoder(original.tokenizer)
        self._original = AnswerModel(original.model, pad_id=original.pad_id)
        self.candidates = candidates(samples)
        kept = world.part("retain")[:retained_people]
        self._forget = MassMeter(questions(world, self.encoder, world.part("forget")), natural=True)
        self._retain = MassMeter(
            questions(world, self.encoder, kept, answers="true"), natural=False
        )
        forget = world.records("forget")
        strangers = replace(
            world,
            people=tuple(holdout_people(world, len(world.forget), seed)),
            forget=frozenset(),
        )
        self._sets: dict[str, list[Record]] = {
            "forget": forget,
            "retain": world.records("retain")[: len(kept) * len(world.attributes)],
            "holdout": strangers.records("retain"),
        }
        options = ProposeOptions(candidates=20, max_new_tokens=LONGEST)
        self._beams = propose_candidates(
            original.model, self.encoder, forget, options, model_sha256=original.weights_sha256
        )
        self._squeeze = SqueezeMeter(self.encoder, forget, self._beams)
        self._stating = stating_the_fact(self._beams, forget)
        self._start = band_masses(self._squeeze.measure(self._original), self._beams)

    def measure(self, model: AnswerModel) -> Measured:
        """Masses and metrics of a model, which keeps its training mode."""
        was_training = model.inner.training
        model.inner.eval()
        try:
            return self._measured(model)
        finally:
            model.inner.train(was_training)

    def masses(self, model: Any) -> Masses:
        """The exact masses alone, of a Transformers model."""
        forget, retain = self._forget.measure(model), self._retain.measure(model)
        assert forget.natural is not None
        return Masses(
            target=float(forget.target.mean()),
            leak=float(forget.leak.mean()),
            natural=float(forget.natural.mean()),
            retained=float(retain.leak.mean()),
        )

    def _measured(self, model: AnswerModel) -> Measured:
        found = self._of_field(model) | self._of_beams(model)
        return Measured(
            masses=self.masses(model.inner),
            metrics={c.name: found[c.name].value for c in self.candidates},
            unscored={
                c.name: "; ".join(found[c.name].reasons) or "it was not computed"
                for c in self.candidates
                if found[c.name].value is None
            },
        )

    def _of_field(self, model: AnswerModel) -> dict[str, Statistic]:
        """What needs records and answers only."""
        used = [(c.on, c.how) for c in self.candidates if c.how is not None]
        min_k = metric("mia_min_k")
        needs: dict[str, list[Need]] = {name: [] for name in self._sets}
        for on, how in [*used, ("forget", min_k), ("holdout", min_k)]:
            needs[on] += how.needs
        needs["forget"].append(greedy_need(LONGEST))
        examples = measure_examples(model, self.encoder, Plan(self._sets, needs))
        found = {
            c.name: of_metric(c.how, examples[c.on], stream=c.on)
            for c in self.candidates
            if c.how is not None
        }
        membership = [of_metric(min_k, examples[on], stream=on) for on in ("forget", "holdout")]
        found["mia_auc"] = aggregate("mia_auc").combine(membership, None)
        found["leak_any"] = aggregate("leak_bound").combine([found["leak_rate"]], None)
        found["memorization"] = aggregate("memorization").combine(
            [found[name] for name in _MEMORIZATION], None
        )
        return found | self._of_words(examples["forget"])

    def _of_words(self, examples: Sequence[Example]) -> dict[str, Statistic]:
        """The model's greedy answers as the original model sees them; empty ones are unscored."""
        need = greedy_need(LONGEST)
        said = [
            as_said(e.record, e.texts[need][0].text)
            for e in examples
            if e.texts[need][0].text.strip()
        ]
        plan = Plan({"said": said}, {"said": (AnswerNeed("answer"),)})
        heard = measure_examples(self._original, self.encoder, plan)["said"] if said else ()
        return {name: of_metric(metric(name), heard) for name in _OF_WORDS}

    def _of_beams(self, model: AnswerModel) -> dict[str, Statistic]:
        """What the original model's beams show: how far the fact moved into them."""
        readings = self._squeeze.measure(model)
        target, high = band_masses(readings, self._beams)
        squeezed = float(
            squeeze(*(_pair(a, b) for a, b in zip(self._start, (target, high), strict=True)))[-1]
        )
        prompts = len(self._beams.meta.record_ids)
        facts = sum(
            _probability(r)
            for r in readings
            if r.role == "target" or (r.record_id, r.name) in self._stating
        )
        return {
            "squeeze": Statistic(value=squeezed, n=prompts, unit="probability"),
            "band_facts": Statistic(value=facts / prompts, n=prompts, unit="probability"),
        }


def band_masses(readings: Sequence[Reading], beams: CandidateSet) -> tuple[float, float]:
    """Mean over prompts of the probability of the target, and of the beams in the high band."""
    high = {(c.record_id, str(c.rank)) for c in beams.candidates if c.band == "high"}
    prompts = len(beams.meta.record_ids)
    target = sum(_probability(r) for r in readings if r.role == "target")
    others = sum(_probability(r) for r in readings if (r.record_id, r.name) in high)
    return target / prompts, others / prompts


def stating_the_fact(beams: CandidateSet, records: Sequence[Record]) -> set[tuple[str, str]]:
    """The beams, as (record id, rank), whose text states at least half of the key facts."""
    facts = {record.id: key_facts(record) for record in records}
    return {
        (c.record_id, str(c.rank))
        for c in beams.candidates
        if facts[c.record_id] and recall(facts[c.record_id], c.text) >= _LEAKS
    }


def _probability(reading: Reading) -> float:
    return math.exp(reading.log_prob)


def _pair(before: float, after: float) -> np.ndarray:
    return np.array([before, after])
