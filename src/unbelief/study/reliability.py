"""Does a metric say the same after an attack? Over a population of unlearned models.

Protocol of Wang et al. 2025 (Towards Effective Evaluations and Comparisons for LLM Unlearning
Methods): one point per model, the metric before an intervention against the metric after it, forget
and retain data apart. A reliable metric keeps the order of models: Pearson's correlation near 1.
Where the intervention leaves the knowledge as it was (jailbreak, probe) the slope should be near 1
too; where it changes the knowledge (relearning, noise) only the correlation counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from unbelief.errors import RequestError
from unbelief.study import correlation
from unbelief.types import Estimate

Side = Literal["forget", "retain"]
Pool = Literal["unlearned", "with", "without", "retrained"]
SIDES: tuple[Side, ...] = ("forget", "retain")
POOLS: tuple[Pool, ...] = ("unlearned", "with", "without", "retrained")
LEAST = 5
"""Fewest models a correlation is given for, as in the paper's protocol."""
_KNOWLEDGE_STAYS = {"jailbreak": True, "probe": True, "relearn": False, "noise": False}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One metric of one model before and after one intervention.

    Attributes:
        model: Its name.
        pool: `unlearned` models are the population. For the second opinion: models trained `with`
            and `without` the forget data, and the `retrained` one.
        attack: The intervention, as asked for; empty for a reading without one.
        side: Data it was read on.
        metric: Its name.
        before: Without the intervention; None where it has no value.
        after: Under it; likewise.
        n: Records it was read on, both times.
    """

    model: str
    pool: Pool = "unlearned"
    attack: str
    side: Side
    metric: str
    before: float | None
    after: float | None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One metric under one intervention on one side.

    Attributes:
        attack: The intervention.
        side: `forget` or `retain`.
        metric: Its name.
        pearson: Correlation of before and after over the models.
        spearman: The same of ranks.
        slope: Of the least-squares line of after on before.
        knowledge_stays: Whether the slope should be 1; None where the protocol does not say.
    """

    attack: str
    side: Side
    metric: str
    pearson: Estimate
    spearman: Estimate
    slope: Estimate
    knowledge_stays: bool | None


def check_population(models: Iterable[str]) -> None:
    """Refuse a population too small for a correlation.

    Raises:
        RequestError: Fewer than 5 different models.
    """
    names = sorted(set(models))
    if len(names) < LEAST:
        given = f": {', '.join(names)}" if names else ""
        raise RequestError(
            f"{len(names)} unlearned model{'' if len(names) == 1 else 's'}{given}; a correlation "
            f"over fewer than {LEAST} says nothing",
            where="models",
            remedy=f"give {LEAST} or more: other methods, strengths or seeds, or checkpoints "
            "along a run",
        )


def reliabilities(
    readings: Sequence[Reading], *, seed: int = 0, draws: int = correlation.DRAWS
) -> tuple[Reliability, ...]:
    """Every metric under every intervention, forget and retain data apart.

    Intervals resample models. A model without a value on either side is left out and counted; a
    metric with fewer than 5 models left, or that does not vary over them, has no value.

    Args:
        readings: Of the population; other pools are ignored.
        seed: Of the resampling.
        draws: Number of resamples.

    Raises:
        RequestError: Fewer than 5 models, or two readings of the same thing.
    """
    own = [r for r in readings if r.pool == "unlearned" and r.attack]
    check_population(r.model for r in own)
    _check_once(own)
    keys = dict.fromkeys((r.attack, r.side, r.metric) for r in own)
    return tuple(
        _reliability([r for r in own if (r.attack, r.side, r.metric) == key], seed, draws)
        for key in keys
    )


def _reliability(readings: Sequence[Reading], seed: int, draws: int) -> Reliability:
    first = readings[0]
    pairs = [
        (r.model, r.before, r.after)
        for r in readings
        if r.before is not None and r.after is not None
    ]
    n, lost = len(pairs), len(readings) - len(pairs)

    def stated(values: np.ndarray, unit: str) -> Estimate:
        return correlation.estimate(values, n, lost, unit, "models")

    if n < LEAST:
        reason = {f"{n} models have a value before and after; {LEAST} are needed": 1}
        none = Estimate(**{**asdict(stated(np.array([np.nan]), "")), "reasons": reason})
        found = [none] * 3
    else:
        w = correlation.resamples([name for name, _, _ in pairs], seed, draws)
        x, y = (np.array([pair[i] for pair in pairs], float) for i in (1, 2))
        found = [
            stated(correlation.pearson(x, y, w), "correlation"),
            stated(correlation.spearman(x, y, w), "correlation"),
            stated(correlation.slope(x, y, w), "ratio"),
        ]
    return Reliability(
        attack=first.attack,
        side=first.side,
        metric=first.metric,
        pearson=found[0],
        spearman=found[1],
        slope=found[2],
        knowledge_stays=_KNOWLEDGE_STAYS.get(first.attack.split(":")[0]),
    )


def _check_once(readings: Sequence[Reading]) -> None:
    seen = set()
    for r in readings:
        key = (r.model, r.attack, r.side, r.metric)
        if key in seen:
            raise RequestError(
                f"{r.metric} of {r.model} under {r.attack} on {r.side} data is there twice",
                where="readings",
                remedy="leave one out, or give the models different names",
            )
        seen.add(key)


def reading_from(values: Mapping[str, Any], where: str) -> Reading:
    """A reading from plain values, as in a line of a table.

    Raises:
        RequestError: A field is missing, unknown, or of the wrong kind.
    """
    known = {"model", "pool", "attack", "side", "metric", "before", "after", "n"}
    problem = None
    if unknown := sorted(values.keys() - known):
        problem = f"unknown column {unknown[0]!r}"
    for name in ("model", "attack", "side", "metric", "before", "after"):
        if name not in values:
            problem = f"the column {name!r} is missing"
    if problem is None:
        for name, choices in (("side", SIDES), ("pool", POOLS)):
            if values.get(name, "unlearned" if name == "pool" else None) not in choices:
                problem = f"{name} is {values.get(name)!r}, not one of {', '.join(choices)}"
    if problem is not None:
        raise RequestError(
            problem,
            where=where,
            remedy="columns: model, attack, side (forget or retain), metric, before, after; and, "
            "where wanted, pool and n",
        )
    return Reading(
        model=str(values["model"]),
        pool=values.get("pool", "unlearned"),
        attack=str(values["attack"]),
        side=values["side"],
        metric=str(values["metric"]),
        before=_number(values["before"], "before", where),
        after=_number(values["after"], "after", where),
        n=_count(values.get("n"), where),
    )


def _count(value: Any, where: str) -> int | None:
    number = _number(value, "n", where)
    if number is not None and (number != int(number) or number < 0):
        raise RequestError(f"n is {value!r}", where=where, remedy="give a number of items")
    return None if number is None else int(number)


def _number(value: Any, name: str, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise RequestError(
            f"{name} is {value!r}",
            where=where,
            remedy="give a finite number, or leave it empty where there is none",
        )
    return number
