"""Run the interventions on a population of models and read every metric before and after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unbelief.audit.attacks import parse_attacks
from unbelief.errors import RequestError
from unbelief.evaluate.asking import check_source
from unbelief.interventions.base import Context, ModelIntervention, PromptIntervention
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import Example
from unbelief.models.load import load_model
from unbelief.models.runner import AnswerModel
from unbelief.scores.base import Metric
from unbelief.scores.conventions import metric
from unbelief.study.reliability import SIDES, Pool, Reading, Side, check_population
from unbelief.study.reliability_files import ReadingFile
from unbelief.suites.base import Source
from unbelief.suites.own import KIND
from unbelief.tokens import Encoder
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel

Attack = ModelIntervention | PromptIntervention
Progress = Callable[[str, int], None]
ATTACKS = ("jailbreak", "probe", "relearn", "noise", "quantise:bits=4")
"""The four of the protocol, and the rounding of the second opinion."""
METRICS = (
    "extraction_strength", "exact_memorization", "probability", "perplexity", "rougeL_recall",
    "truth_ratio_prob_mean", "key_fact_recall",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReliabilityRequest:
    """A population, the interventions on it and the metrics read.

    Attributes:
        models: Unlearned models, FOLDER or NAME=FOLDER each.
        knowing: Models trained with the forget data, for faithfulness.
        ignorant: Models trained without it, likewise.
        retrained: The model that never saw the forget data, for robustness to relearning.
        forget: Records that were to be forgotten.
        retain: Records that were to stay.
        attacks: Each `NAME` or `NAME:option=value`.
        metrics: Names as in `unbelief metrics`.
        limit: Ask only the first so many records of every set. Attacks that train take all.
        columns: Field to data column.
        template: `auto`, `chat` or `plain`.
        dtype: Of the weights.
        device: `auto`, `cpu` or a torch device.
        trust_remote_code: Run code that comes with a model.
        seed: Of the resampling.
    """

    models: tuple[str, ...]
    knowing: tuple[str, ...] = ()
    ignorant: tuple[str, ...] = ()
    retrained: str | None = None
    forget: str
    retain: str
    attacks: tuple[str, ...] = ATTACKS
    metrics: tuple[str, ...] = METRICS
    limit: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    template: Literal["auto", "chat", "plain"] = "auto"
    dtype: str = "float32"
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    def members(self) -> list[tuple[str, Pool, str]]:
        """(name, pool, source) of every model.

        Raises:
            RequestError: Fewer than 5 unlearned models, or two models of one name.
        """
        pools: tuple[tuple[Pool, Sequence[str]], ...] = (
            ("unlearned", self.models),
            ("with", self.knowing),
            ("without", self.ignorant),
            ("retrained", () if self.retrained is None else (self.retrained,)),
        )
        found = [(*named(given), pool) for pool, its in pools for given in its]
        names = [name for name, _, _ in found]
        for name in names:
            if names.count(name) > 1:
                raise RequestError(
                    f"two models are called {name!r}",
                    where="models",
                    remedy="give one another name: NAME=FOLDER",
                )
        check_population(name for name, _, pool in found if pool == "unlearned")
        return [(name, pool, source) for name, source, pool in found]

    @property
    def digest(self) -> str:
        """Names what decides a reading of a model, besides its weights."""
        settings = ("forget", "retain", "metrics", "limit", "template", "dtype")
        plain = {name: getattr(self, name) for name in settings}
        return hashlib.sha256(
            json.dumps({**plain, "columns": dict(self.columns)}, sort_keys=True).encode()
        ).hexdigest()[:16]


def named(given: str) -> tuple[str, str]:
    """Name and source of a model given as FOLDER or NAME=FOLDER."""
    name, equals, source = given.partition("=")
    if not equals or not name or Path(given).is_dir():
        return Path(given).name or given, given
    return name, source


def check_request(request: ReliabilityRequest) -> None:
    """Refuse what can be seen to be wrong before a model is loaded.

    Raises:
        RequestError: Fewer than 5 models, an unknown attack or metric, or a folder without model.
    """
    for _, _, source in request.members():
        check_source(source)
    parse_attacks(request.attacks)
    for name in request.metrics:
        metric(name)


def collect(
    request: ReliabilityRequest, kept: ReadingFile, *, progress: Progress | None = None
) -> tuple[list[Reading], dict[str, Any]]:
    """Attack every model and read every metric; what is kept is not done again.

    Args:
        request: What to do.
        kept: Readings of an earlier start.
        progress: Called with a model's name and 1 when it is done.

    Returns:
        The readings, and per model its pool and the digest of its weights.

    Raises:
        RequestError: Something is wrong with the request; found out before a model is loaded
            where it can be.
    """
    members = request.members()
    attacks = parse_attacks(request.attacks)
    metrics = {name: metric(name) for name in request.metrics}
    items = KIND.read(Source(forget=request.forget, retain=request.retain, columns=request.columns))
    every: dict[Side, tuple[Record, ...]] = {side: items.sets[side] for side in SIDES}
    asked = {side: records[: request.limit or None] for side, records in every.items()}
    readings: list[Reading] = []
    models: dict[str, Any] = {}
    for name, pool, source in members:
        loaded = load_model(
            source,
            dtype=request.dtype,
            device=request.device,
            trust_remote_code=request.trust_remote_code,
        )
        subject = _Subject.of(name, pool, loaded, every, asked, metrics, request.template)
        readings += subject.all_readings(attacks, kept)
        models[name] = {"pool": pool, "weights_sha256": loaded.weights_sha256}
        if progress is not None:
            progress(name, 1)
    return readings, models


@dataclass(frozen=True)
class _Subject:
    """One model of the population."""

    name: str
    pool: Pool
    weights: str
    context: Context
    sets: Mapping[Side, tuple[Record, ...]]
    metrics: Mapping[str, Metric]

    @classmethod
    def of(
        cls,
        name: str,
        pool: Pool,
        loaded: LoadedModel,
        every: Mapping[Side, tuple[Record, ...]],
        asked: Mapping[Side, tuple[Record, ...]],
        metrics: Mapping[str, Metric],
        template: Literal["auto", "chat", "plain"],
    ) -> _Subject:
        """A model with what attacks may use (`every` record) and what it is `asked`."""
        context = Context(
            encoder=Encoder(loaded.tokenizer, template=template),
            forget=every["forget"],
            retain=every["retain"],
            model=AnswerModel(loaded.model, pad_id=loaded.pad_id),
        )
        return cls(name, pool, loaded.weights_sha256, context, asked, metrics)

    def all_readings(self, attacks: Mapping[str, Attack], kept: ReadingFile) -> list[Reading]:
        out: list[Reading] = []
        before: dict[Side, tuple[Example, ...]] | None = None
        for label, attack in attacks.items():
            key = (self.name, self.weights, label)
            if key not in kept.done:
                assert self.context.model is not None
                before = before or self._asked(self.context.model, self.sets)
                kept.add(*key, self._readings(label, before, self._attacked(attack)))
            out += [replace(r, pool=self.pool) for r in kept.done[key]]
        return out

    def _attacked(self, attack: Attack) -> dict[Side, tuple[Example, ...]]:
        attack.require(self.context)
        assert self.context.model is not None
        if isinstance(attack, ModelIntervention):
            with attack.applied(self.context.model, self.context) as model:
                return self._asked(model, self.sets)
        found: dict[Side, tuple[Example, ...]] = {}
        for side, records in self.sets.items():
            done = attack.apply(records, self.context)
            asked = self._asked(self.context.model, {side: done.records})
            own = {record.id: record for record in records}
            # What counts as the fact is decided by the question, not by what an attack adds.
            found[side] = tuple(
                e if attack.splits_answer else replace(e, record=own[e.record.id])
                for e in asked[side]
            )
        return found

    def _asked(
        self, model: AnswerModel, sets: Mapping[Side, Sequence[Record]]
    ) -> dict[Side, tuple[Example, ...]]:
        filled: dict[str, Sequence[Record]] = {side: its for side, its in sets.items() if its}
        needs = tuple(need for one in self.metrics.values() for need in one.needs)
        plan = Plan(filled, dict.fromkeys(filled, needs))
        found = measure_examples(model, self.context.encoder, plan) if filled else {}
        return {side: found.get(side, ()) for side in sets}

    def _readings(
        self,
        label: str,
        before: Mapping[Side, Sequence[Example]],
        after: Mapping[Side, Sequence[Example]],
    ) -> list[Reading]:
        """Means over the records that have a score both times, so that the same are compared."""
        out = []
        for side in SIDES:
            own = {e.record.id: e for e in before[side]}
            for name, one in self.metrics.items():
                scores = [(one.score(own[e.record.id]), one.score(e)) for e in after[side]]
                pairs = [
                    (a.value, b.value)
                    for a, b in scores
                    if a.value is not None and b.value is not None
                ]
                out.append(
                    Reading(
                        model=self.name,
                        pool=self.pool,
                        attack=label,
                        side=side,
                        metric=name,
                        before=sum(a for a, _ in pairs) / len(pairs) if pairs else None,
                        after=sum(b for _, b in pairs) / len(pairs) if pairs else None,
                        n=len(pairs),
                    )
                )
        return out
