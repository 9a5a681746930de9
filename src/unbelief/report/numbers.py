"""Numbers for people: as many digits as the interval supports, and never a zero that is not one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from unbelief.report.audit_document import Number

SHARES = frozenset({"share", "rate"})
"""Units that are written in per cent; a value in `per cent` is in per cent already."""
MISSING = "n/a"
UNSCORED = "unscored"
_MOST_DECIMALS = 4
_SMALL = 1e-3  # below it, powers of ten are easier to read than zeros
_NO_WIDTH = 1e-9  # an interval this narrow says that all resamples agree, not how exact a digit is


@dataclass(frozen=True, slots=True)
class Cell:
    """One number as a table shows it.

    Attributes:
        value: `18 %`, `unscored` or `n/a`.
        interval: `15 to 22`; empty when there is none.
        count: `n = 388, 12 unscored`; empty when nothing was asked.
        note: Why there is no value, or no value for some.
    """

    value: str
    interval: str = ""
    count: str = ""
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return self.value not in (MISSING, UNSCORED)

    def text(self) -> str:
        """All of it in one line."""
        if not self.known:
            return f"{self.value}: {self.note}" if self.note else self.value
        shown = f"{self.value} ({self.interval})" if self.interval else self.value
        return f"{shown}, {self.count}" if self.count else shown


def cell(number: Number | None, *, why_missing: str = "") -> Cell:
    """A number as a table shows it.

    Args:
        number: None where the model was not asked.
        why_missing: Said where it was not.
    """
    if number is None:
        return Cell(MISSING, note=why_missing)
    note = because(number.reasons)
    if known(number) is None:
        return Cell(UNSCORED, note=note or "no reason was recorded")
    count = f"n = {whole(number.n)}"
    if number.n_unscored:
        count += f", {whole(number.n_unscored)} unscored"
    return Cell(value_text(number), interval_text(number), count, note)


def known(number: Number | None) -> float | None:
    """The value, if there is a finite one."""
    if number is None or number.value is None or not math.isfinite(number.value):
        return None
    return number.value


def bounds(number: Number | None) -> tuple[float, float] | None:
    """The interval of a number with a value, if both ends are finite."""
    if known(number) is None or number is None or number.low is None or number.high is None:
        return None
    if not (math.isfinite(number.low) and math.isfinite(number.high)):
        return None
    return number.low, number.high


def value_text(number: Number) -> str:
    """The value with its unit: `18 %`, `0.43`; `unscored` where there is none."""
    value = known(number)
    if value is None:
        return UNSCORED
    if number.unit in SHARES:
        return f"{_fixed(100 * value, decimals_of(number), whole_at=100)} %"
    shown = _fixed(value, decimals_of(number))
    return f"{shown} %" if number.unit == "per cent" else shown


def interval_text(number: Number) -> str:
    """`15 to 22`, with as many digits as the value; empty when there is no interval."""
    ends = bounds(number)
    if ends is None:
        return ""
    scale, top = (100, 100.0) if number.unit in SHARES else (1, None)
    decimals, small = decimals_of(number), 0 < abs(scale * (known(number) or 0)) < _SMALL
    return " to ".join(_fixed(scale * end, decimals, top, small) for end in ends)


def decimals_of(number: Number) -> int:
    """Digits after the point that mean something.

    The last digit shown is of the order of a tenth to a half of the interval's half-width h:
    d = −floor(log10(h / 2)). Without an interval, two digits, or what 1/n resolves in per cent.
    """
    scale = 100 if number.unit in SHARES else 1
    ends = bounds(number)
    if ends is not None and ends[1] - ends[0] > _NO_WIDTH:
        half = scale * (ends[1] - ends[0]) / 2
        return max(0, -math.floor(math.log10(half / 2)))
    value = known(number)
    if number.unit == "count" and value is not None and value.is_integer():
        return 0
    if scale == 100:
        return 0 if number.n <= 100 else 1
    return 2


def plain(value: float | None) -> str:
    """A number without interval or unit, about three significant digits."""
    if value is None or not math.isfinite(value):
        return UNSCORED
    size = abs(value)
    if size >= 2 and float(value).is_integer():
        return _fixed(value, 0)
    return _fixed(value, 2 if size < 10 else 1 if size < 100 else 0)


def because(reasons: Mapping[str, int]) -> str:
    """Reasons with their counts, most frequent first."""
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return "; ".join(f"{why} ({whole(count)})" if count > 1 else why for why, count in ranked)


def whole(count: int) -> str:
    """An integer with thin spaces between thousands, from five digits on: `1235`, `12 350`."""
    return f"{count:,}".replace(",", "\u202f") if abs(count) >= 10_000 else str(count)


def parameters(count: int) -> str:
    """Number of parameters: `1.24 billion`, `0.35 million`."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if count >= size / 10:
            return f"{count / size:.3g} {name}"
    return whole(count)


def seconds(value: float) -> str:
    """A duration: `40 s`, `12 min`, `3.5 h`."""
    if value < 0.95:
        return "under 1 s"
    if value < 99.5:
        return f"{value:.0f} s"
    if value < 5970:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def when(moment: str) -> str:
    """A point in time to the minute, `2026-11-21 12:54 UTC`; as it is where it is no such thing."""
    try:
        read = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    if read.tzinfo is None:
        return moment
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _fixed(
    value: float, decimals: int, whole_at: float | None = None, exponential: bool | None = None
) -> str:
    """So many decimals, more where the value would look like 0 or like all without being it.

    Args:
        value: To be written.
        decimals: At least so many.
        whole_at: The value that means all.
        exponential: Whether to write a power of ten; None decides by size.
    """
    if exponential is None:
        exponential = 0 < abs(value) < _SMALL
    if exponential or 0 < abs(value) < 10.0**-_MOST_DECIMALS / 2:
        return _scientific(value, decimals) if value else "0"
    while decimals < _MOST_DECIMALS and _misleads(value, decimals, whole_at):
        decimals += 1
    text = f"{abs(value):.{min(decimals, _MOST_DECIMALS)}f}"
    return f"−{text}" if value < 0 and float(text) else text


def _scientific(value: float, decimals: int) -> str:
    exponent = math.floor(math.log10(abs(value)))
    mantissa, shown = f"{abs(value):.{max(0, min(2, decimals + exponent))}e}".split("e")
    sign = "−" if value < 0 else ""
    return f"{sign}{mantissa} × 10{_superscript(int(shown))}"


def _misleads(value: float, decimals: int, whole_at: float | None) -> bool:
    shown = float(f"{value:.{decimals}f}")
    return (shown == 0 and value != 0) or (shown == whole_at and value != whole_at)


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
