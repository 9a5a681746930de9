"""From curves to findings: distance to the retrained model, squeezing, comparison at equal leak.

Everything is computed from a `LabResult` alone. The definitions:

* distance: D = max(0, L − L_r) + |N − N_r| + |R − R_r| with leak L, natural mass N and retained
  mass R, each a mean over people, and subscript r for the retrained model. D is 0 for the
  retrained model and at most 3. Leaking less than the retrained model is no merit and no fault
  here; what it usually costs is in N and R.
* squeezing: what happened to the other phrasings of the fact at the moment when the target
  phrasing had fallen to half its start. That moment is fixed beforehand, not chosen by the
  outcome.
* equal leak: N and R at the first moment at which the leak reaches a level, interpolated linearly
  between recorded steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbelief.lab.draws import MOST_LOST, Bands, Drawn, at_crossing, crossing, draw
from unbelief.lab.result import LabResult, MethodInfo
from unbelief.lab.summary import (
    Analysis,
    Contrast,
    ControlGap,
    EqualLeak,
    GridCell,
    Row,
    Series,
    Squeeze,
)
from unbelief.types import Estimate

LEVELS = (0.5, 0.3, 0.2)
MASSES = ("target", "other", "natural", "retained")
DRAWN_MASSES = (*MASSES, "false", "leak")
PERCENT_OF_START = 0.5


def analyse(result: LabResult, levels: Sequence[float] = LEVELS) -> Analysis:
    """Compute everything the report says.

    Args:
        result: What was measured.
        levels: Leak levels of the comparison at equal leak.
    """
    drawn = draw(result)
    methods = [m for m in result.methods if any(c.method == m.name for c in result.curves)]
    grid = [cell for m in methods for cell in _grid(drawn, m.name)]
    chosen = {m.name: _selected(grid, m.name) for m in methods}
    squeezes = [_squeeze(drawn, m.name, lr) for m in methods for lr in _rates(drawn, m.name)]
    leaks = {
        (level, m.name): _equal_leak(drawn, m.name, level) for level in levels for m in methods
    }
    return Analysis(
        rows=(*_reference_rows(drawn), *(_row(drawn, m, chosen[m.name]) for m in methods)),
        grid=tuple(grid),
        squeezes=tuple(s for s in squeezes if s.learning_rate == chosen[s.method].learning_rate),
        squeezes_all=tuple(squeezes),
        equal_leak=tuple(summary for summary, _ in leaks.values()),
        contrasts=tuple(_contrasts(drawn, methods, levels, leaks)),
        control_gap=_control_gap(drawn, methods),
        series=tuple(
            _series(drawn, m.name, lr, lr == chosen[m.name].learning_rate)
            for m in methods
            for lr in _rates(drawn, m.name)
        ),
    )


def distance(bands: Bands, retrained: Bands) -> np.ndarray:
    """(D, P) distance to the retrained model along a run."""
    excess = (bands.leak - retrained.leak).clip(min=0)
    gaps = np.abs(bands.natural - retrained.natural) + np.abs(bands.retained - retrained.retained)
    return excess + gaps


def _rates(drawn: Drawn, method: str) -> list[float]:
    return sorted(lr for name, lr in drawn.runs if name == method)


def _distances(drawn: Drawn, method: str, rate: float) -> list[np.ndarray]:
    bands = drawn.bands(method, rate)
    return [distance(b, r) for b, r in zip(bands, drawn.retrained, strict=True)]


def _grid(drawn: Drawn, method: str) -> list[GridCell]:
    """Mean distance over the seeds; a run that ended early counts up to where all seeds got."""
    cells = []
    for rate in _rates(drawn, method):
        per_seed = _distances(drawn, method, rate)
        common = min(d.shape[1] for d in per_seed)
        mean = np.mean([d[0, :common] for d in per_seed], axis=0)
        best = int(mean.argmin())
        steps = drawn.bands(method, rate)[0].steps
        cells.append(
            GridCell(
                method=method,
                learning_rate=rate,
                best_step=int(steps[best]),
                best=float(mean[best]),
                last=float(mean[-1]),
            )
        )
    return cells


def _selected(grid: Sequence[GridCell], method: str) -> GridCell:
    return min((c for c in grid if c.method == method), key=lambda c: c.best)


def _masses(drawn: Drawn, bands: Sequence[Bands], at: int) -> dict[str, Estimate]:
    return {name: drawn.estimate([getattr(b, name)[:, at] for b in bands]) for name in MASSES}


def _row(drawn: Drawn, method: MethodInfo, cell: GridCell) -> Row:
    bands = drawn.bands(method.name, cell.learning_rate)
    at = int(np.flatnonzero(bands[0].steps == cell.best_step)[0])
    distances = _distances(drawn, method.name, cell.learning_rate)
    return Row(
        label=method.label,
        method=method.name,
        learning_rate=cell.learning_rate,
        step=cell.best_step,
        masses=_masses(drawn, bands, at),
        distance=drawn.estimate([d[:, at] for d in distances], "distance"),
        last_distance=drawn.estimate([d[:, -1] for d in distances], "distance"),
    )


def _reference_rows(drawn: Drawn) -> list[Row]:
    rows = []
    for label, bands in (("original", drawn.original), ("retrained", drawn.retrained)):
        gaps = [distance(b, r)[:, 0] for b, r in zip(bands, drawn.retrained, strict=True)]
        rows.append(
            Row(
                label=label,
                masses=_masses(drawn, bands, 0),
                distance=drawn.estimate(gaps, "distance"),
            )
        )
    return rows


def _series(drawn: Drawn, method: str, rate: float, selected: bool) -> Series:
    bands = drawn.bands(method, rate)
    common = min(len(b.steps) for b in bands)
    estimates = {
        name: [drawn.estimate([getattr(b, name)[:, i] for b in bands]) for i in range(common)]
        for name in DRAWN_MASSES
    }
    return Series(
        method=method,
        learning_rate=rate,
        selected=selected,
        steps=tuple(int(s) for s in bands[0].steps[:common]),
        masses={k: tuple(_number(e) for e in v) for k, v in estimates.items()},
        low={k: tuple(e.low for e in v) for k, v in estimates.items()},
        high={k: tuple(e.high for e in v) for k, v in estimates.items()},
    )


def _number(estimate: Estimate) -> float:
    assert estimate.value is not None  # a mean of measured masses always has a value
    return estimate.value


def _squeeze(drawn: Drawn, method: str, rate: float) -> Squeeze:
    bands = drawn.bands(method, rate)
    where = [crossing(b.target, PERCENT_OF_START * b.target[:, 0]) for b in bands]
    half = [at_crossing(b.other, w) for b, w in zip(bands, where, strict=True)]
    start = [b.other[:, 0] for b in bands]
    change = drawn.estimate([h - s for h, s in zip(half, start, strict=True)])
    mean = np.mean([b.other[0, : min(len(x.steps) for x in bands)] for b in bands], axis=0)
    return Squeeze(
        method=method,
        learning_rate=rate,
        start=drawn.estimate(start),
        at_half=drawn.estimate(half),
        change=change,
        share=_shares(bands, where),
        peak=float(mean.max()),
        peak_step=int(bands[0].steps[mean.argmax()]),
        verdict=_verdict(change, "rose", "fell") if change.value is not None else "not reached",
    )


def _shares(
    bands: Sequence[Bands], where: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Changes at the half-way moment as shares of what the target lost, by seed, then averaged."""
    parts: dict[str, list[float]] = {"other phrasings": [], "false facts": [], "broken": []}
    for b, w in zip(bands, where, strict=True):
        lost = (b.target[:, 0] - at_crossing(b.target, w))[0]
        if not lost > 0:  # also NaN: never reached
            continue
        for name, values in zip(parts, (b.other, b.false, 1 - b.natural), strict=True):
            parts[name].append(float((at_crossing(values, w) - values[:, 0])[0] / lost))
    return {name: float(np.mean(v)) for name, v in parts.items() if v}


def _verdict(change: Estimate, up: str, down: str, between: str = "unclear") -> str:
    if change.low is not None and change.low > 0:
        return up
    if change.high is not None and change.high < 0:
        return down
    return between


_AtLeak = tuple[EqualLeak, list[tuple[np.ndarray, np.ndarray]] | None]


def _equal_leak(drawn: Drawn, method: str, level: float) -> _AtLeak:
    """The best learning rate at a level, with natural and retained mass per seed."""
    best: tuple[tuple[bool, float], float, list[tuple[np.ndarray, np.ndarray]]] | None = None
    for rate in _rates(drawn, method):
        per_seed = []
        for bands in drawn.bands(method, rate):
            where = crossing(bands.leak, level)
            per_seed.append((at_crossing(bands.natural, where), at_crossing(bands.retained, where)))
        total = float(np.mean([n[0] + r[0] for n, r in per_seed]))
        # A run that gets there in the data but not in many of the resamples has no interval: it
        # counts only where no learning rate of the method does better.
        shaky = any(np.isnan(n).mean() > MOST_LOST for n, _ in per_seed)
        rank = (not shaky, total)
        if np.isfinite(total) and (best is None or rank > best[0]):
            best = (rank, rate, per_seed)
    if best is None:
        nothing = [np.array([np.nan])] * len(drawn.result.seeds)
        none = drawn.estimate(nothing)
        return (
            EqualLeak(level=level, method=method, learning_rate=None, natural=none, retained=none),
            None,
        )
    _, rate, per_seed = best
    summary = EqualLeak(
        level=level,
        method=method,
        learning_rate=rate,
        natural=drawn.estimate([n for n, _ in per_seed]),
        retained=drawn.estimate([r for _, r in per_seed]),
    )
    return summary, per_seed


def _contrasts(
    drawn: Drawn,
    methods: Sequence[MethodInfo],
    levels: Sequence[float],
    leaks: dict[tuple[float, str], _AtLeak],
) -> list[Contrast]:
    out = []
    for level in levels:
        for ours in (m for m in methods if m.family == "belief"):
            for other in (m for m in methods if m.family != "belief"):
                a, b = leaks[level, ours.name][1], leaks[level, other.name][1]
                if a is None or b is None:
                    continue
                differences = [
                    drawn.estimate([x[i] - y[i] for x, y in zip(a, b, strict=True)]) for i in (0, 1)
                ]
                out.append(
                    Contrast(
                        level=level,
                        method=ours.name,
                        against=other.name,
                        natural=differences[0],
                        retained=differences[1],
                    )
                )
    return out


def _control_gap(drawn: Drawn, methods: Sequence[MethodInfo]) -> ControlGap | None:
    names = {m.name: m.family for m in methods}
    control = next((n for n, family in names.items() if family == "control"), None)
    if control is None or "bs-t" not in names:
        return None
    largest = 0.0
    for rate in _rates(drawn, "bs-t"):
        pairs = zip(drawn.bands("bs-t", rate), drawn.bands(control, rate), strict=True)
        for a, b in pairs:
            common = min(len(a.steps), len(b.steps))
            for name in MASSES:
                x, y = getattr(a, name)[0, :common], getattr(b, name)[0, :common]
                largest = max(largest, float(np.abs(x - y).max()))
    return ControlGap(method="bs-t", control=control, largest=largest)
