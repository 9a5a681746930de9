"""Tables of a lab result as Markdown, CSV, plain text, and rows for the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Plain = Mapping[str, Any]
MASSES = ("target", "other", "natural", "retained")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts.

    Attributes:
        title: Says what it shows, in one line.
        head: Names of the columns.
        rows: Cells; the first of each row names it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"table {self.title!r} has rows of different lengths")

    def to_markdown(self) -> str:
        """Return a Markdown table with its title above."""
        lines = [self.head, ("---", *("---:" for _ in self.head[1:])), *self.rows]
        body = "\n".join("| " + " | ".join(_piped(cell) for cell in line) + " |" for line in lines)
        return f"**{self.title}**\n\n{body}\n"

    def to_text(self) -> str:
        """Return an aligned table for a terminal."""
        widths = [
            max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))
        ]
        lines = []
        for row in (self.head, tuple("-" * w for w in widths), *self.rows):
            cells = [row[0].ljust(widths[0])]
            cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return f"{self.title}\n\n" + "\n".join(lines)


def distance_table(document: Plain) -> Table:
    """Each method at its selected point, and the two reference models."""
    rows = []
    for row in document["analysis"]["rows"]:
        at = "" if row["step"] is None else f"{row['learning_rate']:g}, step {row['step']}"
        masses = [number(row["masses"][name]) for name in MASSES]
        last = row["last_distance"]
        rows.append(
            (
                row["label"].capitalize() if row["method"] is None else row["label"],
                at,
                *masses,
                with_interval(row["distance"]),
                "" if last is None else number(last),
            )
        )
    return Table(
        title="Distance to the retrained model (0 = equal), at the best point of the search",
        head=("Model", "Learning rate", "Target", "Other phrasings", "Natural", "Retained",
              "Distance", "At the end"),
        rows=tuple(rows),
    )  # fmt: skip


def squeeze_table(document: Plain) -> Table:
    """Where the target's probability went."""
    labels = labels_of(document)
    rows = []
    for s in document["analysis"]["squeezes"]:
        share = {name: f"{value:.0%}" for name, value in s["share"].items()}
        rows.append(
            (
                labels[s["method"]],
                number(s["start"]),
                number(s["at_half"]),
                with_interval(s["change"], signed=True),
                *(share.get(k, "–") for k in ("other phrasings", "false facts", "broken")),
                f"{s['peak']:.2f} (step {s['peak_step']})",
            )
        )
    return Table(
        title="Other phrasings of the fact when the target has lost half of its probability",
        head=("Method", "Start", "Then", "Change", "Went to other phrasings", "To false facts",
              "To broken text", "Highest"),
        rows=tuple(rows),
    )  # fmt: skip


def equal_leak_table(document: Plain) -> Table:
    """Natural and retained mass of each method at the same leak."""
    labels = labels_of(document)
    rows = []
    for e in document["analysis"]["equal_leak"]:
        rate = "not reached" if e["learning_rate"] is None else f"{e['learning_rate']:g}"
        rows.append(
            (
                f"{e['level']:g}",
                labels[e["method"]],
                rate,
                with_interval(e["natural"]),
                with_interval(e["retained"]),
            )
        )
    return Table(
        title="Natural and retained mass at equal leak, each method at its best rate there",
        head=("Leak", "Method", "Learning rate", "Natural", "Retained"),
        rows=tuple(rows),
    )


def grid_table(document: Plain) -> Table:
    """Every method at every learning rate."""
    labels = labels_of(document)
    return Table(
        title="Every learning rate that was tried: distance at its best step and at the last one",
        head=("Method", "Learning rate", "Best step", "Best", "Last"),
        rows=tuple(
            (
                labels[c["method"]],
                f"{c['learning_rate']:g}",
                str(c["best_step"]),
                f"{c['best']:.2f}",
                f"{c['last']:.2f}",
            )
            for c in document["analysis"]["grid"]
        ),
    )


def tables(document: Plain) -> tuple[Table, ...]:
    """All tables of a lab result, in the order of the page."""
    return (
        distance_table(document),
        squeeze_table(document),
        equal_leak_table(document),
        grid_table(document),
    )


def to_markdown(document: Plain) -> str:
    """All tables as Markdown."""
    return "\n".join(table.to_markdown() for table in tables(document))


CSV_HEAD = ("section", "model", "learning_rate", "step", "level", "quantity", "value", "low",
            "high", "n", "n_unscored", "unit", "interval")  # fmt: skip


def to_csv(document: Plain) -> str:
    """All estimates in long form, one per line, with full numbers: for further computing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    derived = document["analysis"]
    for row in derived["rows"]:
        quantities = {**row["masses"], "distance": row["distance"]}
        if row["last_distance"] is not None:
            quantities["last distance"] = row["last_distance"]
        for name, e in quantities.items():
            where = (row["method"] or row["label"], row["learning_rate"], row["step"], None)
            writer.writerow(_csv_row("distance", where, name, e))
    for s in derived["squeezes_all"]:
        for name in ("start", "at_half", "change"):
            where = (s["method"], s["learning_rate"], None, None)
            writer.writerow(_csv_row("squeezing", where, name, s[name]))
    for x in derived["equal_leak"]:
        for name in ("natural", "retained"):
            where = (x["method"], x["learning_rate"], None, x["level"])
            writer.writerow(_csv_row("equal leak", where, name, x[name]))
    return out.getvalue()


def labels_of(document: Plain) -> dict[str, str]:
    """Short names of the methods."""
    return {m["name"]: m["label"] for m in document["methods"]}


def number(estimate: Plain, *, signed: bool = False) -> str:
    """A value with two decimals; a dash where nothing could be scored."""
    return "–" if estimate["value"] is None else decimals(estimate["value"], signed)


def with_interval(estimate: Plain, *, signed: bool = False) -> str:
    """A value and its interval: `0.68 (0.50 to 0.85)`."""
    value = number(estimate, signed=signed)
    if estimate["low"] is None or estimate["high"] is None:
        return value
    return f"{value} ({decimals(estimate['low'])} to {decimals(estimate['high'])})"


def decimals(value: float, signed: bool = False) -> str:
    """Two decimals with a real minus sign."""
    text = f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return f"−{text}" if value < 0 else f"+{text}" if signed else text


def _csv_row(section: str, where: Sequence[object], quantity: str, e: Plain) -> tuple[object, ...]:
    return (section, *where, quantity, e["value"], e["low"], e["high"], e["n"],
            e["n_unscored"], e["unit"], e["interval"])  # fmt: skip


def _piped(cell: str) -> str:
    return cell.replace("|", "\\|")
