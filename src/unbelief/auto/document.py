"""A search as a document, and in plain words. Numbers only: no record and no name is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from unbelief.auto.choosing import Choice, why_not
from unbelief.auto.items import Sorted
from unbelief.auto.prepare import ESTIMATED, HELD_OUT, References
from unbelief.auto.yardstick import FACTS, NO_STRANGERS, TOLD, UTILITY, Reading

if TYPE_CHECKING:
    from unbelief.auto.searching import Searching

SCHEMA = "unbelief/auto"
VERSION = 1
CHOSEN_LIMIT = (
    "the choice is made by few scores and one seed; `unbelief audit` looks for what it misses"
)
ESTIMATED_LIMITS = (
    "the interval of an estimated level resamples records; it does not contain what the idea "
    "itself is off by, that a model which never saw the records takes their subject for a stranger",
    "where answers are long and their own, an estimated level is an upper bound: the original "
    "knows their text and, given its beginning, goes on with it whatever was asked",
)
HELD_OUT_LIMITS = (
    "a level from held-out records holds for records of the same kind: other questions or other "
    "lengths have another level",
)
TOLD_LIMIT = (
    "the level of naturalness is estimated from what the original says about strangers, the leak "
    "level is not"
)


def document(
    searching: Searching,
    choice: Choice,
    readings: Mapping[str, Reading],
    report_point: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything about a search.

    Args:
        searching: The search, at its end.
        choice: What was taken.
        readings: The final model on both halves.
        report_point: The final model's shares on the report's half.
    """
    found, its, shop = searching.found, searching.references, searching.shop
    assert found is not None
    entry = searching.entry(choice.trial.entry)
    weight = choice.trial.strength.forget_weight
    notes = [*shop.sorted.notes, *limits(its)]
    if its.level["choice"].get(TOLD, {}).get("value") is None:
        notes.append(f"naturalness did not count: {NO_STRANGERS}")
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "options": searching.options.model_dump(),
        "portfolio": [asdict(e) for e in searching.wanted],
        "scores": list(searching.options.scores),
        "level": {"how": its.how, **its.level},
        "estimated_level": its.estimated,
        "original": its.original,
        "first_learning_rate": searching.rate,
        "steps": searching.steps,
        "measured_at": list(searching.at),
        "pace": searching.state["pace"],
        "trials": [{**t.to_dict(), "not_chosen": why_not(t, choice)} for t in found.trials],
        "search_ended": found.ended,
        "budget_seconds": searching.clock.budget,
        "search_seconds": round(searching.clock.spent, 1),
        "rule": "of the steps at the level that keep enough the one of least cost; where there is "
        "none, the one of least cost that keeps enough; cost = max(excess, below) + lost + unlike",
        "chosen": {
            "trial": choice.trial.number,
            "entry": entry.name,
            "method": entry.method,
            "options": shop.settings(entry, weight),
            "learning_rate": choice.trial.strength.learning_rate,
            "max_steps": searching.steps,
            "stopped_at": choice.point.step,
            "reached": choice.reached,
            "point": choice.point.to_dict(),
        },
        "records": _counts(shop.sorted),
        "report": {
            **{half: reading.to_dict() for half, reading in readings.items()},
            "shares": dict(report_point),
        },
        "notes": notes,
    }


def limits(its: References) -> list[str]:
    """What a reader has to know about levels and choice, by where the levels are from.

    Args:
        its: The levels of a search.
    """
    leak_estimated = its.how == ESTIMATED
    of_the_leak = {ESTIMATED: ESTIMATED_LIMITS, HELD_OUT: HELD_OUT_LIMITS}.get(its.how, ())
    told = its.level["choice"].get(TOLD, {})
    told_estimated = told.get("value") is not None and told == its.estimated["choice"].get(TOLD)
    return [
        *of_the_leak,
        *([TOLD_LIMIT] if told_estimated and not leak_estimated else []),
        CHOSEN_LIMIT,
    ]


def _counts(found: Sorted) -> dict[str, Any]:
    """How many records served what."""
    counts: dict[str, Any] = {
        half: {
            "forget": len(forget),
            "retain": len(retain),
            "holdout": len(found.holdout[half]),
        }
        for half, (forget, retain) in found.halves.items()
    }
    return counts | {"rehearsed": len(found.rehearsed)}


def explanation(content: Mapping[str, Any]) -> list[str]:
    """The choice in plain words, a line each.

    Args:
        content: What `document` made.
    """
    level, chosen, trials = content["level"], content["chosen"], content["trials"]
    minutes = content["search_seconds"] / 60
    entries = len({t["entry"] for t in trials})
    point = chosen["point"]
    at_level = "reached" if chosen["reached"] else "NOT reached"
    lines = [
        f"{len(trials)} trials of {entries} methods in {minutes:.1f} of "
        f"{content['budget_seconds'] / 60:g} minutes: {content['search_ended']}",
        f"level to stop at, {level['how']}: "
        + "; ".join(
            f"{_plain(s)} {_number(level['choice'][s])}, original "
            f"{_number(content['original']['choice'][s])}"
            for s in content["scores"]
        ),
        f"chosen: {chosen['entry']}, learning rate {chosen['learning_rate']:g}, weight "
        f"{chosen['options']['forget_weight']:g}, stopped at step {point['step']} of at most "
        f"{content['steps']}; level {at_level}",
        _because(content),
        *_reported(content),
    ]
    return lines


def _because(content: Mapping[str, Any]) -> str:
    chosen, keep = content["chosen"], content["options"]["keep"]
    point = chosen["point"]
    parts = (
        f"{point['excess']:.1%} of the excess leak left, {point['lost']:.1%} of the utility lost, "
        f"{point['unlike']:.1%} short of speaking as about a stranger"
    )
    if chosen["reached"]:
        return (
            f"because it is the nearest step at the level that keeps {keep:g} of the utility: "
            + parts
        )
    if point["keeps"]:
        return f"only the nearest: no step at the level kept {keep:g} of the utility; " + parts
    return f"only the nearest: no step at all kept {keep:g} of the utility; " + parts


def _reported(content: Mapping[str, Any]) -> list[str]:
    report, level = content["report"]["report"], content["level"]["report"]
    original = content["original"]["report"]
    named = {
        **{s: _plain(s) for s in content["scores"]},
        UTILITY: "kept (probability)",
        TOLD: "as about a stranger",
        FACTS: "key facts said",
    }
    estimated = content["estimated_level"]["report"]
    lines = ["on records that the choice did not ask about:"]
    for name, title in named.items():
        if name not in report:
            continue
        how = "estimated level" if level.get(name) == estimated.get(name) else "level"
        beside = f"; {how} {_number(level[name])}" if name in level else ""
        lines.append(
            f"  {title}: {_number(report[name])}; original {_number(original[name])}{beside}"
        )
    return lines


def _number(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "not measured"
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _plain(name: str) -> str:
    return name.replace("_", " ")
