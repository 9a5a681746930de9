"""From measurements to costs, and the rule by which one trial is chosen: both fixed beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unbelief.errors import RequestError
from unbelief.study.testbed import HIGHER, QUANTITIES, Measured

RULES = {
    "sum": "the trial (and its step) with the smallest sum of costs",
    "worst": "the trial (and its step) whose largest cost is smallest",
}
CONTROL = "graddiff-control"
CONTROL_OF = "bs-t"
NOT_SEARCHED = {
    CONTROL: "GradDiff at another γ, which the search of graddiff covers; it is run as the control "
    "of bs-t, at the settings chosen for bs-t"
}


def costs(values: Mapping[str, float], aims: Sequence[str]) -> tuple[float, ...]:
    """What is minimised: a value where lower is better, 1 − value where higher is.

    Args:
        values: Measured quantities.
        aims: Names out of `QUANTITIES`.

    Raises:
        KeyError: One was not measured.
    """
    return tuple(1 - values[a] if QUANTITIES[a] == HIGHER else values[a] for a in aims)


def weigh(cost: Sequence[float], rule: str) -> float:
    """One number per trial or step; the smallest is chosen."""
    return max(cost) if rule == "worst" else sum(cost)


def check_aims(aims: Sequence[str], rule: str) -> None:
    """Refuse unknown aims and rules.

    Raises:
        RequestError: There is no such aim or rule, or no aim at all.
    """
    unknown = [a for a in aims if a not in QUANTITIES]
    if not aims or unknown or len(set(aims)) != len(aims):
        raise RequestError(
            f"cannot aim at {', '.join(unknown) or 'nothing, or at one thing twice'}",
            where="--aim",
            remedy=f"name some of {', '.join(QUANTITIES)}",
        )
    if rule not in RULES:
        raise RequestError(
            f"there is no rule {rule!r}", where="--rule", remedy=f"one of {', '.join(RULES)}"
        )


def measured_at(steps: int, measurements: int) -> tuple[int, ...]:
    """Steps at which a run is measured: equally far apart, the last one included."""
    return tuple(
        sorted({max(1, round(steps * (i + 1) / measurements)) for i in range(measurements)})
    )


def control_options(options: Mapping[str, float | int | str | bool]) -> dict[str, float]:
    """Settings of BS-T's control: γ·(1 − λ) on gradient ascent, everything else the same."""
    return {
        "learning_rate": float(options["learning_rate"]),
        "forget_weight": float(options["forget_weight"]) * (1 - float(options["weight"])),
    }


def means(runs: Sequence[Sequence[Measured]]) -> list[dict[str, Any]]:
    """Mean values per step over the cases; a value that a case lacks is lacking."""
    out = []
    for points in zip(*runs, strict=True):
        names = set.intersection(*(set(p.values) for p in points))
        values = {n: sum(p.values[n] for p in points) / len(points) for n in sorted(names)}
        out.append({"step": points[0].step, "values": values})
    return out


def best_point(
    points: Sequence[Mapping[str, Any]], aims: Sequence[str], rule: str
) -> dict[str, Any] | None:
    """The measured step of smallest weight, the earlier one of two equals; None if none counts."""
    known = [p for p in points if all(a in p["values"] for a in aims)]
    if not known:
        return None
    return dict(min(known, key=lambda p: weigh(costs(p["values"], aims), rule)))
