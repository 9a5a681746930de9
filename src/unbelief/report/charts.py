"""Stacked shares and dot plots, from the parts in `svg`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from unbelief.report.svg import Attributes, Axis, Frame, Scale, axes, document, points_of, tag, text

_BAR = 20.0
_GAP = 10.0
_ROW = 27.0
_ROOM_FOR_LABEL = 15.0
_CHARACTER = 6.8  # width of a bold character, generously


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One share of a stacked chart.

    Attributes:
        label: Written inside where there is room; empty for none.
        style: CSS class that gives the colour.
        y: Share at each x, from 0 to 1.
        reference: Share in the bar at the right-hand side.
    """

    label: str
    style: str
    y: Sequence[float]
    reference: float


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One row of a dot plot.

    Attributes:
        label: Name of the row.
        style: CSS class that gives the colour.
        value: Filled dot.
        low: Left end of its interval, or None.
        high: Right end.
        second: Open dot, or None.
    """

    label: str
    style: str
    value: float
    low: float | None
    high: float | None
    second: float | None = None


def stacked_chart(
    frame: Frame, x: Axis, steps: Sequence[float], layers: Sequence[Layer], reference_label: str
) -> Markup:
    """Shares that sum to one along x, and beside them a bar with the shares aimed at.

    Args:
        frame: Size and wording; the bar takes its place from the right-hand side.
        x: Horizontal axis.
        steps: Where the layers have values.
        layers: From the bottom up.
        reference_label: Written under the bar.
    """
    inner = replace(frame, right=frame.right + _BAR + _GAP)
    y = Axis(label="", low=0, high=1, ticks=(0, 0.5, 1))
    sx, sy = inner.scales(x, y)
    xs = [sx(v) for v in steps]
    below, parts, labels = [0.0] * len(steps), [axes(inner, x, y)], []
    bar, filled = frame.width - frame.right - _BAR, 0.0
    for layer in layers:
        above = [b + v for b, v in zip(below, layer.y, strict=True)]
        outline = (
            points_of(xs, [sy(v) for v in above])
            + " "
            + points_of(xs[::-1], [sy(v) for v in reversed(below)])
        )
        parts.append(tag("polygon", {"class": f"area {layer.style}", "points": outline}))
        labels.append(_inner_label(layer, xs, below, above, sy))
        size = sy(filled) - sy(filled + layer.reference)
        box: dict[str, float] = {
            "x": bar,
            "y": sy(filled + layer.reference),
            "width": _BAR,
            "height": size,
        }
        parts.append(tag("rect", {"class": f"area {layer.style}", **box}))
        below, filled = above, filled + layer.reference
    # In the row of the axis label, since it is wider than the bar and would meet the last tick.
    under = text(bar + _BAR, frame.height - 6, reference_label, "axis", "end")
    return document(frame, *parts, *labels, under)


def _inner_label(
    layer: Layer, xs: Sequence[float], below: Sequence[float], above: Sequence[float], sy: Scale
) -> Markup:
    """Put the name where the layer is thickest, if it fits."""
    if not layer.label:
        return Markup("")
    half = len(layer.label) * _CHARACTER / 2 + 3
    best, where = 0.0, None
    for middle in np.linspace(xs[0] + half, xs[-1] - half, 60):
        # The whole word must be inside, so the thinnest place under it counts.
        under = np.linspace(middle - half, middle + half, 9)
        floor = float(np.min([sy(v) for v in np.interp(under, xs, below)]))
        ceiling = float(np.max([sy(v) for v in np.interp(under, xs, above)]))
        if floor - ceiling > best:
            best, where = floor - ceiling, (float(middle), (floor + ceiling) / 2)
    if where is None or best < _ROOM_FOR_LABEL:
        return Markup("")
    return text(where[0], where[1], layer.label, f"inside on-{layer.style}", "middle")


def dot_plot(frame: Frame, x: Axis, rows: Sequence[Dot]) -> Markup:
    """Values with intervals, one row each; the height follows the number of rows."""
    tall = replace(frame, height=frame.top + _ROW * len(rows) + frame.bottom)
    sx = Scale(x.low, x.high, tall.left, tall.width - tall.right, x.log)
    base = tall.height - tall.bottom
    parts = []
    for value in x.ticks if x.ticks is not None else sx.ticks(5):
        line: Attributes = {
            "class": "grid",
            "x1": sx(value),
            "x2": sx(value),
            "y1": tall.top,
            "y2": base,
        }
        parts.append(tag("line", line))
        parts.append(text(sx(value), base + 11, x.write(value), "tick", "middle"))
    middle = (tall.left + tall.width - tall.right) / 2
    parts.append(text(middle, tall.height - 6, x.label, "axis", "middle"))
    for i, row in enumerate(rows):
        parts.append(_dot_row(row, tall.top + _ROW * (i + 0.5), tall.left, sx))
    return document(tall, *parts)


def _dot_row(row: Dot, y: float, left: float, sx: Scale) -> Markup:
    parts = [text(left - 10, y, row.label, "label", "end")]
    if row.low is not None and row.high is not None:
        ends = {"x1": sx(row.low), "x2": sx(row.high), "y1": y, "y2": y}
        parts.append(tag("line", {"class": f"whisker {row.style}", **ends}))
    if row.second is not None:
        ring = {"cx": sx(row.second), "cy": y, "r": 4}
        parts.append(tag("circle", {"class": f"ring {row.style}", **ring}))
    parts.append(
        tag("circle", {"class": f"dot {row.style}", "cx": sx(row.value), "cy": y, "r": 4.5})
    )
    return Markup("").join(parts)
