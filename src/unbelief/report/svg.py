"""Small charts as inline SVG, by hand: no script, no font, no style from elsewhere.

Colours are CSS classes, so that one drawing serves light, dark and paper. Every chart has a title
and a description for those who do not see it, and labels stand beside what they name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from unbelief.report.spread import spread
from unbelief.report.visible import visible

Attributes = Mapping[str, str | float | int | None]


def tag(name: str, attributes: Attributes, *children: Markup | str) -> Markup:
    """One element; texts and attribute values are escaped, numbers shortened, None left out.

    Characters that hide or reorder text are written out.
    """
    written = "".join(
        f' {key}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(
        child if isinstance(child, Markup) else escape(visible(child)) for child in children
    )
    return Markup(f"<{name}{written}>{inner}</{name}>")  # all parts are escaped above


@dataclass(frozen=True)
class Scale:
    """From values to positions.

    Attributes:
        low: Value at `start`.
        high: Value at `end`; may be below `low` for a reversed axis.
        start: Position of `low`.
        end: Position of `high`.
        log: Logarithmic; both values must then be positive.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low == self.high:
            raise ValueError("a scale needs two different values")
        if self.log and min(self.low, self.high) <= 0:
            raise ValueError("a logarithmic scale needs positive values")

    def __call__(self, value: float) -> float:
        """Position of a value."""
        low, high, v = self.low, self.high, value
        if self.log:
            low, high, v = math.log(low), math.log(high), math.log(value)
        return self.start + (v - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within the scale: 1, 2 or 5 times a power of ten (powers of ten if log)."""
        low, high = sorted((self.low, self.high))
        if self.log:
            powers = range(
                math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1
            )
            return [10.0**p for p in powers]
        raw = (high - low) / max(1, about)
        power = 10 ** math.floor(math.log10(raw))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
        first = math.ceil(low / step - 1e-9)
        count = math.floor(high / step + 1e-9) - first + 1
        return [round((first + i) * step, 10) for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What it shows, with unit.
        low: Value at the left or the bottom.
        high: Value at the right or the top.
        log: Logarithmic.
        ticks: Where to put marks; round values by default.
        write: How to write a mark.
    """

    label: str
    low: float
    high: float
    log: bool = False
    ticks: Sequence[float] | None = None
    write: Callable[[float], str] = field(default=lambda v: f"{v:g}")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve with an interval band.

    Attributes:
        label: Written at its end; empty for none.
        style: CSS class that gives the colour.
        x: Values along the x axis.
        y: Values along the y axis.
        low: Lower edge of the band; None (or None entries) for no band.
        high: Upper edge.
    """

    label: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A single point with a label beside it."""

    label: str
    style: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Size and wording of a chart.

    Attributes:
        key: Unique on the page; names the title and description.
        title: What is shown.
        description: What one would see: for those who cannot.
        width: Of the drawing, in its own units; it scales with the page.
        height: Likewise.
        left: Margin for labels of the y axis.
        right: Margin for labels at the ends of lines.
        top: Margin above.
        bottom: Margin for labels of the x axis.
    """

    key: str
    title: str
    description: str
    width: float = 300
    height: float = 200
    left: float = 34
    right: float = 12
    top: float = 10
    bottom: float = 36

    def scales(self, x: Axis, y: Axis) -> tuple[Scale, Scale]:
        """Scales of both axes within the margins; y grows upwards."""
        return (
            Scale(x.low, x.high, self.left, self.width - self.right, x.log),
            Scale(y.low, y.high, self.height - self.bottom, self.top, y.log),
        )


def document(frame: Frame, *content: Markup) -> Markup:
    """Return a whole drawing, labelled for assistive technology."""
    title, description = f"{frame.key}-title", f"{frame.key}-desc"
    return tag(
        "svg",
        {
            "viewBox": f"0 0 {_short(frame.width)} {_short(frame.height)}",
            "role": "img",
            "aria-labelledby": f"{title} {description}",
            "class": "chart",
        },
        tag("title", {"id": title}, frame.title),
        tag("desc", {"id": description}, frame.description),
        *content,
    )


def axes(frame: Frame, x: Axis, y: Axis) -> Markup:
    """Draw grid lines for y, a base line and marks for x, and both axis labels."""
    sx, sy = frame.scales(x, y)
    base, edge = frame.height - frame.bottom, frame.width - frame.right
    parts = []
    for value in y.ticks if y.ticks is not None else sy.ticks(4):
        at = sy(value)
        parts.append(_line("grid", frame.left, at, edge, at))
        parts.append(text(frame.left - 6, at, y.write(value), "tick", "end"))
    parts.append(_line("base", frame.left, base, edge, base))
    for value in x.ticks if x.ticks is not None else sx.ticks(5):
        at = sx(value)
        parts.append(_line("base", at, base, at, base + 4))
        parts.append(text(at, base + 13, x.write(value), "tick", "middle"))
    middle = (frame.left + edge) / 2
    parts.append(text(middle, frame.height - 6, x.label, "axis", "middle"))
    if y.label:
        parts.append(text(frame.left - 28, frame.top - 12, y.label, "axis", "start"))
    return Markup("").join(parts)


def line_chart(
    frame: Frame,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    *,
    levels: Sequence[tuple[float, str]] = (),
    guides: Sequence[float] = (),
    marks: Sequence[Mark] = (),
) -> Markup:
    """Curves over one pair of axes.

    Args:
        frame: Size and wording.
        x: Horizontal axis.
        y: Vertical axis.
        lines: Drawn in this order; their labels stand at their ends without overlapping.
        levels: (value, CSS class) of dashed horizontal lines.
        guides: Values of x with a thin vertical line.
        marks: Single points.
    """
    sx, sy = frame.scales(x, y)
    base, edge = frame.height - frame.bottom, frame.width - frame.right
    parts = [axes(frame, x, y)]
    parts += [_line("guide", sx(v), frame.top, sx(v), base) for v in guides]
    parts += [_line(f"level {style}", frame.left, sy(v), edge, sy(v)) for v, style in levels]
    parts += [_band(line, sx, sy) for line in lines]
    parts += [_curve(line, sx, sy) for line in lines]
    parts += [_mark(mark, sx(mark.x), sy(mark.y)) for mark in marks]
    parts.append(_end_labels(lines, sx, sy, edge))
    return document(frame, *parts)


def text(x: float, y: float, content: str, style: str, anchor: str = "start") -> Markup:
    """Text whose vertical middle is at y."""
    attributes: Attributes = {"x": x, "y": y, "dy": "0.32em", "class": style, "text-anchor": anchor}
    return tag("text", attributes, content)


def points_of(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Coordinates as SVG wants them."""
    return " ".join(f"{_short(x)},{_short(y)}" for x, y in zip(xs, ys, strict=True))


def _curve(line: Line, sx: Scale, sy: Scale) -> Markup:
    points = points_of([sx(v) for v in line.x], [sy(v) for v in line.y])
    return tag("polyline", {"class": f"curve {line.style}", "points": points})


def _band(line: Line, sx: Scale, sy: Scale) -> Markup:
    if line.low is None or line.high is None:
        return Markup("")
    known = [
        (x, low, high)
        for x, low, high in zip(line.x, line.low, line.high, strict=True)
        if low is not None and high is not None
    ]
    if len(known) < 2:
        return Markup("")
    xs = [sx(x) for x, _, _ in known]
    there = points_of(xs, [sy(high) for _, _, high in known])
    back = points_of(xs[::-1], [sy(low) for _, low, _ in reversed(known)])
    return tag("polygon", {"class": f"band {line.style}", "points": f"{there} {back}"})


def _mark(mark: Mark, x: float, y: float) -> Markup:
    ring = tag("circle", {"class": f"mark {mark.style}", "cx": x, "cy": y, "r": 4.5})
    return ring + text(x - 9, y, mark.label, "label", "end")


def _end_labels(lines: Sequence[Line], sx: Scale, sy: Scale, edge: float) -> Markup:
    named = [line for line in lines if line.label]
    ends = [sy(line.y[-1]) for line in named]
    top, bottom = sorted((sy.start, sy.end))
    parts = []
    for line, end, at in zip(named, ends, spread(ends, 13.5, top, bottom), strict=True):
        start = sx(line.x[-1])
        if abs(at - end) > 2 or edge - start > 8:
            points = points_of([start + 2, edge + 1, edge + 5], [end, at, at])
            parts.append(tag("polyline", {"class": f"leader {line.style}", "points": points}))
        parts.append(text(edge + 7, at, line.label, f"label {line.style}"))
    return Markup("").join(parts)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", {"class": style, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def _short(value: str | float | int) -> str:
    if isinstance(value, str):
        return value
    return f"{round(value, 2):g}" if abs(value) < 1e5 else str(value)
