"""CSV whose texts a spreadsheet shows and never computes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from unbelief.report.visible import encodable

# Characters with which a spreadsheet begins a formula, its full-width twins, and those it skips
# before looking for one.
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠|")


def guarded(text: str) -> str:
    """Text that is no formula: where it would begin one, an apostrophe stands before it.

    Blanks before the first character are looked through, since some programs trim them.
    """
    text = encodable(text).replace("\x00", "\ufffd")
    begins = text[:1] in _FORMULA or text.lstrip()[:1] in _FORMULA
    return f"'{text}" if text and begins else text


def write_csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV: numbers with all digits, None and what is not finite empty, texts guarded."""
    out = io.StringIO()
    # All texts are quoted: left to itself, Python would not quote a lone carriage return.
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([guarded(name) for name in head])
    for row in rows:
        writer.writerow([_written(value) for value in row])
    return out.getvalue()


def _written(value: object) -> object:
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value
