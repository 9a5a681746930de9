"""Figures of an audit: ranges of several models on one scale, curves, shares of flags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from unbelief.report.audit_document import AuditDocument, Curve, Number
from unbelief.report.audit_tables import series_of
from unbelief.report.audit_views import FLAGS
from unbelief.report.numbers import SHARES, bounds, known, value_text
from unbelief.report.svg import (
    Attributes,
    Axis,
    Frame,
    Line,
    Mark,
    Scale,
    document,
    line_chart,
    points_of,
    tag,
    text,
)
from unbelief.report.visible import visible

_ROW = 42.0
_ROW_LABEL = 12.0  # from the top of a row to the middle of its name
_ROW_TRACK = 29.0  # to its line
_STYLES = {"original": "r-original", "unlearned": "r-unlearned", "retrained": "r-retrained"}
_SERIES = ("m0", "m4", "m2", "m3", "m7", "m6", "m1", "m5")
_CHARACTER = 7.6
_TICK = 12  # characters of a point's name below the axis
_LONGEST = 24  # characters of a series' name at the end of its curve


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a row.

    Attributes:
        name: What it is the value of, for the description.
        shape: `open` and `dot` are circles, `diamond` the yardstick.
        style: CSS class that gives the colour.
        number: Drawn only where there is a value.
    """

    name: str
    shape: str
    style: str
    number: Number | None


@dataclass(frozen=True, kw_only=True)
class RangeRow:
    """One line of a range plot: values of one thing under several conditions."""

    label: str
    points: tuple[Point, ...]


def range_plot(key: str, title: str, x_label: str, rows: Sequence[RangeRow]) -> Markup | None:
    """Values with intervals, a line per row and its name above the line.

    Returns:
        None where no row has a value.
    """
    drawn = [row for row in rows if any(known(p.number) is not None for p in row.points)]
    if not drawn:
        return None
    numbers = [p.number for row in drawn for p in row.points]
    frame = Frame(
        key=key,
        title=title,
        description=" ".join(_sentence(row) for row in drawn),
        width=520,
        height=8 + _ROW * len(drawn) + 36,
        left=8,
        right=8,
        top=8,
    )
    axis = _axis(x_label, numbers)
    sx = Scale(axis.low, axis.high, frame.left, frame.width - frame.right)
    base = frame.height - frame.bottom
    parts = []
    for value in sx.ticks(5):
        line: Attributes = {"class": "grid", "x1": sx(value), "x2": sx(value),
                            "y1": frame.top, "y2": base}  # fmt: skip
        parts.append(tag("line", line))
        parts.append(text(sx(value), base + 12, axis.write(value), "tick", _anchor(sx, value)))
    parts.append(text(frame.width / 2, frame.height - 6, x_label, "axis", "middle"))
    for i, row in enumerate(drawn):
        top = frame.top + _ROW * i
        parts.append(text(frame.left, top + _ROW_LABEL, row.label, "row-name"))
        parts.append(_track(row, top + _ROW_TRACK, frame, sx))
    return document(frame, *parts)


def flags_bar(audit: AuditDocument) -> Markup | None:
    """Shares of the flags as one bar; the counts stand beside it on the page."""
    total = sum(audit.flags.values())
    if not total:
        return None
    present = [(flag, audit.flags[flag]) for flag, _ in FLAGS if audit.flags.get(flag)]
    frame = Frame(
        key="flags",
        title="Shares of the flags",
        description="; ".join(f"{flag}: {count} of {total}" for flag, count in present),
        width=520,
        height=22,
    )
    parts, start = [], 0.0
    for flag, count in present:
        width = frame.width * count / total
        box: Attributes = {"class": f"area f-{flag}", "x": start, "y": 1, "width": width,
                           "height": 20}  # fmt: skip
        parts.append(tag("rect", box))
        start += width
    return document(frame, *parts)


def curve_figure(curve: Curve, key: str) -> Markup | None:
    """A curve with its intervals; where a number is missing, the line is broken.

    Returns:
        None where no point has a value.
    """
    lines = [part for i, name in enumerate(series_of(curve)) for part in _series(curve, name, i)]
    if not lines:
        return None
    numbers = [n for point in curve.points for n in point.series.values()]
    xs = [point.x for point in curve.points]
    low, high = min(xs), max(xs)
    if low == high:
        low, high = low - 0.5, high + 0.5
    longest = max(len(line.label) for line in lines)
    frame = Frame(
        key=key,
        title=curve.title,
        description=_curve_in_words(curve),
        width=520,
        height=250,
        left=40,
        right=14 + longest * _CHARACTER,
    )
    lone = [
        Mark(label="", style=line.style, x=line.x[0], y=line.y[0])
        for line in lines
        if len(line.x) == 1
    ]
    axis = _x_axis(curve, low, high)
    # The title of y stands above the drawing: in it, it would meet the uppermost number.
    return line_chart(frame, axis, _axis("", numbers), lines, marks=lone)


def _x_axis(curve: Curve, low: float, high: float) -> Axis:
    """Numbers, or the names of the points where x only puts them in order."""
    labels = {point.x: _cut(point.label, _TICK) for point in curve.points if point.label}
    if not labels:
        return Axis(label=curve.x_title, low=low, high=high)
    ticks = sorted(labels)
    return Axis(label=curve.x_title, low=low, high=high, ticks=ticks, write=labels.__getitem__)


def _series(curve: Curve, name: str, index: int) -> list[Line]:
    """One line, in pieces where points have no value; the last piece carries the name."""
    style = _STYLES.get(name, _SERIES[index % len(_SERIES)])
    pieces: list[list[tuple[float, float, float | None, float | None]]] = [[]]
    for point in sorted(curve.points, key=lambda p: p.x):
        number = point.series.get(name)
        value, ends = known(number), bounds(number)
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((point.x, value, *(ends or (None, None))))
    whole = [piece for piece in pieces if piece]
    lines = []
    for piece in whole:
        x, y, low, high = zip(*piece, strict=True)
        label = _cut(name) if piece is whole[-1] else ""
        dash = f"{style} series-{index % 3}"
        lines.append(Line(label=label, style=dash, x=x, y=y, low=low, high=high))
    return lines


def _cut(name: str, longest: int = _LONGEST) -> str:
    """A name that leaves room for its curve; the table beside it has the whole."""
    shown = visible(name)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _curve_in_words(curve: Curve) -> str:
    words = []
    for name in series_of(curve):
        there = [
            (p.x, p.series[name])
            for p in sorted(curve.points, key=lambda p: p.x)
            if known(p.series.get(name)) is not None
        ]
        if there:
            (x0, first), (x1, last) = there[0], there[-1]
            words.append(f"{name}: {value_text(first)} at {x0:g}, {value_text(last)} at {x1:g}.")
    return f"{curve.y_title}. " + " ".join(words) + " All points are in the table below."


def _axis(label: str, numbers: Sequence[Number | None]) -> Axis:
    """From zero where nothing is below, to a round end; room for every interval."""
    there = [n for n in numbers if n is not None and known(n) is not None]
    ends = [end for n in there for end in (n.value, *(bounds(n) or ())) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    ticks = Scale(low, high if high > low else low + 1, 0, 1).ticks(5)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else ticks[0] or 1.0
    low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    if all(n.unit in (*SHARES, "probability") for n in there) and max(ends) <= 1:
        high = min(1.0, high)
    in_per_cent = all(n.unit in SHARES for n in there)
    return Axis(
        label=label,
        low=low,
        high=high if high > low else low + step,
        write=_per_cent if in_per_cent else _decimal,
    )


def _per_cent(value: float) -> str:
    return f"{100 * value:g} %"


def _decimal(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _anchor(scale: Scale, value: float) -> str:
    if scale(value) <= scale.start + 1:
        return "start"
    return "end" if scale(value) >= scale.end - 1 else "middle"


def _track(row: RangeRow, y: float, frame: Frame, sx: Scale) -> Markup:
    parts = []
    edge = frame.width - frame.right
    parts.append(tag("line", {"class": "track", "x1": frame.left, "x2": edge, "y1": y, "y2": y}))
    shown = [(p, v) for p in row.points if (v := known(p.number)) is not None]
    for i, (point, _) in enumerate(shown):
        ends = bounds(point.number)
        if ends is not None:  # side by side, so that intervals do not cover one another
            at = y + (i - (len(shown) - 1) / 2) * 4
            span: Attributes = {"class": f"whisker {point.style}", "x1": sx(ends[0]),
                                "x2": sx(ends[1]), "y1": at, "y2": at}  # fmt: skip
            parts.append(tag("line", span))
    for i, (point, value) in enumerate(shown):
        at = y + (i - (len(shown) - 1) / 2) * 4
        parts.append(_symbol(point.shape, point.style, sx(value), at))
    return Markup("").join(parts)


def _symbol(shape: str, style: str, x: float, y: float) -> Markup:
    """A circle, filled or open, or a diamond."""
    if shape == "diamond":
        r = 5.2
        corners = points_of([x, x + r, x, x - r], [y - r, y, y + r, y])
        return tag("polygon", {"class": f"dot {style}", "points": corners})
    kind = "ring" if shape == "open" else "dot"
    return tag("circle", {"class": f"{kind} {style}", "cx": x, "cy": y, "r": 4.6})


def _sentence(row: RangeRow) -> str:
    said = [f"{p.name} {value_text(p.number)}" for p in row.points if p.number is not None]
    return f"{row.label}: {', '.join(said)}."
