"""Result files of evaluations, with one number on forget and one on retain data."""

from __future__ import annotations

from pathlib import Path

from unbelief.evaluate.results import LineResult, Results, write_results
from unbelief.types import Estimate, Score


def write_pair(folder: Path, *, before: float, after: float) -> None:
    """`before.json` and `after.json` in a folder."""
    for name, value in (("before", before), ("after", after)):
        write_results(_results(value), folder / f"{name}.json")


def _results(value: float) -> Results:
    estimate = Estimate(value=value, low=None, high=None, n=2, n_unscored=0, unit="share",
                        convention="unbelief", version=1, interval="")  # fmt: skip
    lines = (
        LineResult(name="es", how="extraction_strength", on="forget", estimate=estimate),
        LineResult(name="kept", how="probability", on="retain", estimate=estimate),
        LineResult(name="mem", how="memorization", inputs=("es",), estimate=estimate),
    )
    return Results(
        suite="own",
        described={},
        sets={},
        convention="unbelief",
        encoding={},
        choices={},
        lines=lines,
        items={"es": (Score(value, None, "r1"),)},
    )
