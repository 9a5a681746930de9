"""A squeeze diagnosis as Markdown, LaTeX and CSV; it holds no text of a model or a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbelief.report import latex, markdown
from unbelief.report.cells import write_csv
from unbelief.report.squeeze import (
    INDEX_LABELS,
    INDICES,
    check_squeeze,
    headline,
    own_line,
    squeeze_points_table,
)
from unbelief.report.tables import Table, with_interval

Plain = Mapping[str, Any]


def squeeze_markdown(document: Plain) -> str:
    """What was found in a sentence, the index in its three forms, and every point."""
    check_squeeze(document)
    parts = [
        "# Squeeze\n",
        markdown.paragraph(f"{headline(document)}. {own_line(document)}.") + "\n",
        markdown.table(squeeze_index_table(document), level=2),
        markdown.table(squeeze_points_table(document), level=2),
    ]
    return "\n".join(parts)


def squeeze_latex(document: Plain) -> str:
    """The two tables."""
    check_squeeze(document)
    tables = (squeeze_index_table(document), squeeze_points_table(document))
    parts = [latex.table(t, f"squeeze-{i}") for i, t in enumerate(tables, 1)]
    return "\n".join([latex.PREAMBLE, *parts])


def squeeze_csv(document: Plain) -> str:
    """Every number of every curve and index, one a line, with all its digits."""
    check_squeeze(document)
    head = ("what", "name", "point", "value", "low", "high", "n", "unscored", "unit", "interval")
    return write_csv(head, _lines(document))


def squeeze_index_table(document: Plain) -> Table:
    """The three forms of the index, with intervals."""
    rows = []
    for name, label in zip(INDICES, INDEX_LABELS, strict=True):
        found = document[name]
        index, own = with_interval(found["index"]), with_interval(found["mean_of_prompts"])
        at, n = found["at"]["label"], str(found["index"]["n"])
        rows.append((label.capitalize(), index, at, n, own))
    return Table(
        title="Squeeze index: rise of the high band while the target fell, with 95 % intervals",
        head=("Form", "Index", "Where", "Prompts", "Mean of the prompts' own"),
        rows=tuple(rows),
    )


def _lines(document: Plain) -> list[tuple[object, ...]]:
    labels = [point["label"] for point in document["points"]]
    rows = []
    for name in INDICES:
        at = document[name]["at"]["label"]
        rows.append(_row("index", name, at, document[name]["index"]))
        for label, point in zip(labels, document[name]["points"], strict=True):
            rows += [
                _row(f"{name}: points", quantity, label, number)
                for quantity, number in point.items()
            ]
    for name, values in document["curves"].items():
        rows += [_row("curve", name, label, e) for label, e in zip(labels, values, strict=True)]
    return rows


def _row(what: str, name: str, label: str, e: Plain) -> tuple[object, ...]:
    return (what, name, label, e["value"], e["low"], e["high"], e["n"], e["n_unscored"],
            e["unit"], e["interval"])  # fmt: skip
