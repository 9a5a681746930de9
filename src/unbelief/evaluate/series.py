"""MUSE's series: the same number along growing (scal) or successive (sust) forget requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.errors import RequestError
from unbelief.evaluate.results import Results
from unbelief.types import Estimate


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a series.

    Attributes:
        step: From 1.
        estimate: The number after it.
        change: Its value minus that of the first step; None where one of them has none.
    """

    step: int
    estimate: Estimate
    change: float | None


def series(results: Sequence[Results], line: str = "utility_preservation") -> tuple[Step, ...]:
    """Put the results of a series' models in order.

    Every step is a model of its own, unlearned with the forget sets up to that step and evaluated
    with `--suite muse --split scal/forget_2` (or `sust/...`).

    Args:
        results: One per step, in any order.
        line: Which number; MUSE shows utility preservation.

    Raises:
        RequestError: Results of several series or conventions, of no series, or twice of a step.
    """
    found: dict[int, Estimate] = {}
    kinds = {(one.suite, one.convention, _kind(one)) for one in results}
    if len(kinds) != 1 or next(iter(kinds))[2] not in ("scal", "sust"):
        said = ", ".join(sorted(f"{one.suite} {one.described.get('split')}" for one in results))
        raise RequestError(
            f"these results are not the steps of one series: {said or 'none'}",
            where="series",
            remedy="evaluate every step with --suite muse --split scal/forget_1 and so on",
        )
    for one in results:
        step = int(one.described["split"].rpartition("_")[2])
        if step in found:
            raise RequestError(
                f"step {step} is there twice", where="series", remedy="give one model per step"
            )
        found[step] = one[line]
    first = found[min(found)].value
    return tuple(Step(step, found[step], _change(found[step], first)) for step in sorted(found))


def _change(estimate: Estimate, first: float | None) -> float | None:
    if estimate.value is None or first is None:
        return None
    return estimate.value - first


def _kind(results: Results) -> str:
    return results.described.get("split", "").partition("/")[0]
