"""Results for reading: one line per number, with interval, count, and why there is none."""

from __future__ import annotations

from unbelief.evaluate.results import LineResult, Results
from unbelief.types import Estimate


def text_of(results: Results, *, everything: bool = False) -> str:
    """Results as a table for a terminal.

    Args:
        results: What to show.
        everything: Also the lines that others are made of (membership scores per side).
    """
    shown = [line for line in results.lines if everything or not _is_part(line, results)]
    head = ["", "value", "95 % interval", "n"]
    if results.retrained is not None:
        head += ["retrained", "difference"]
    rows = [head, *(_row(line, results.retrained is not None) for line in shown)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    out = [_title(results)]
    for row, line in zip(rows, [None, *shown], strict=True):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        out.append(("  ".join(cells) + _after(line)).rstrip())
    out += [f"note: {note}" for note in results.notes]
    return "\n".join(out)


def _title(results: Results) -> str:
    chosen = results.described.get("split")
    name = f"{results.suite} {chosen}" if chosen else results.suite
    return f"{name}, definitions: {results.convention}, model: {results.provenance.get('source')}"


def _is_part(line: LineResult, results: Results) -> bool:
    """Whether a line is only there for a membership AUC: its own mean says little."""
    parts = {name for one in results.lines if one.how == "mia_auc" for name in one.inputs}
    return line.name in parts


def _row(line: LineResult, compared: bool) -> list[str]:
    row = [line.name, *_numbers(line.estimate), _count(line.estimate)]
    if compared:
        row.append("-" if line.retrained is None else _number(line.retrained.value))
        row.append("" if line.distance is None else " ".join(_numbers(line.distance)).strip())
    return row


def _numbers(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "-", ""
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value), ""
    return _number(estimate.value), f"[{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{value:.3f}"


def _count(estimate: Estimate) -> str:
    if not estimate.n_unscored:
        return str(estimate.n)
    return f"{estimate.n} of {estimate.n + estimate.n_unscored}"


def _after(line: LineResult | None) -> str:
    """What the numbers alone do not say."""
    if line is None:
        return ""
    if line.estimate.value is None:
        return f"  unscored, because {_reasons(line.estimate)}"
    said = [] if line.chance is None else [f"chance {line.chance:g}"]
    if line.distance is not None and line.distance.value is None:
        said.append(f"not compared, because {_reasons(line.distance)}")
    return f"  ({'; '.join(said)})" if said else ""


def _reasons(estimate: Estimate) -> str:
    return "; ".join(estimate.reasons) or "it was not computed"
