"""A vision study as tables: the published table's columns, with intervals and signed deltas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from unbelief.errors import RequestError
from unbelief.report.cells import write_csv
from unbelief.report.markdown import table as markdown_table
from unbelief.report.tables import Table, number, with_interval
from unbelief.vision.measures import GAP_PARTS

Plain = Mapping[str, Any]
Format = Literal["text", "markdown", "csv"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "csv")
_ENDS = {"original": "Original", "reference": "Retrained (reference)"}
CSV_HEAD = ("relation", "method", "variant", "quantity", "value", "low", "high", "n",
            "n_unscored", "unit", "interval", "reasons")  # fmt: skip


def read_document(source: Path) -> dict[str, Any]:
    """What a study wrote, from its folder or the file itself.

    Raises:
        RequestError: There is none, or it is something else.
    """
    file = source / "vision.json" if source.is_dir() else source
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = content["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != "unbelief.vision":
        raise RequestError(
            "there is no result of a vision study here",
            where=str(source),
            remedy="name the folder that `unbelief vision run --output` made",
        )
    return dict(content)


def main_table(document: Plain, relation: str) -> Table:
    """UA, RA, TA, MIA, Gap and time of every method in one relation."""
    rows, rows_of = [], _of(document, relation)
    for row in rows_of:
        last = row["method"] in _ENDS
        rows.append(
            (
                _label(document, row),
                *(with_interval(row[name]) for name in GAP_PARTS),
                "" if row["method"] == "reference" else with_interval(row["gap"]),
                "" if last or "gap_minus_tarf" not in row or row["method"] == "tarf"
                else with_interval(row["gap_minus_tarf"], signed=True),
                "" if row["method"] == "original" else number(row["cpu_seconds"]),
            )
        )  # fmt: skip
    return Table(
        title=f"{relation}: means over seeds, percent ({_interval(rows_of, 'UA')})",
        head=("Method", *GAP_PARTS, "Gap", "Gap minus TARF's", "CPU seconds"),
        rows=tuple(rows),
    )


def delta_table(document: Plain, relation: str) -> Table:
    """The four signed differences a Gap is made of."""
    rows = tuple(
        (
            _label(document, row),
            *(with_interval(row["deltas"][name], signed=True) for name in GAP_PARTS),
        )
        for row in _of(document, relation)
        if row["method"] != "reference"
    )
    return Table(
        title=f"{relation}: difference to the retrained model, percentage points",
        head=("Method", *(f"Δ{name}" for name in GAP_PARTS)),
        rows=rows,
    )


def parts_table(document: Plain, relation: str) -> Table:
    """UA apart for what was handed over and what was not, siblings, and the attack's own use."""
    parts = {
        "UA_given": "UA given",
        "UA_not_given": "UA not given",
        "siblings": "Siblings",
        "siblings_test": "Siblings (test)",
        "target_test": "Target (test)",
        "TA_full": "TA, all classes",
        "MIA_attack": "MIA's attack, held out",
    }
    rows = tuple(
        (_label(document, row), *(with_interval(row[name]) for name in parts))
        for row in _of(document, relation)
    )
    return Table(title=f"{relation}: parts, percent", head=("Method", *parts.values()), rows=rows)


def identification_table(document: Plain) -> Table:
    """Precision and recall of the data that were taken for meant though not handed over."""
    rows = tuple(
        (
            f"{row['relation']}: {_label(document, row)}",
            with_interval(row["precision"]),
            with_interval(row["recall"]),
            str(row["precision"]["n"]),
        )
        for row in document["rows"]
        if "recall" in row and row["recall"]["value"] is not None
    )
    return Table(
        title="Identification of the false-retaining data, over seeds",
        head=("Scenario", "Precision", "Recall", "Seeds"),
        rows=rows,
    )


def tables(document: Plain) -> tuple[Table, ...]:
    """All tables, relation by relation."""
    out: list[Table] = []
    for relation in document["settings"]["relations"]:
        out += [
            main_table(document, relation),
            delta_table(document, relation),
            parts_table(document, relation),
        ]
    return (*out, identification_table(document))


def vision_markdown(document: Plain) -> str:
    """All tables as Markdown, with how they were made."""
    settings = document["settings"]
    about = (
        f"{settings['data']}, scheme {document['scheme']['name']} ({document['scheme']['about']}); "
        f"{settings['model']}; {len(settings['seeds'])} seeds. Settings of the methods: "
        f"{document['recipe']}."
    )
    return "\n".join([about, "", *(markdown_table(one) for one in tables(document))])


def vision_text(document: Plain) -> str:
    """The main tables for a terminal."""
    relations = document["settings"]["relations"]
    shown = [main_table(document, r) for r in relations] + [identification_table(document)]
    return "\n\n".join(one.to_text() for one in shown)


def vision_csv(document: Plain) -> str:
    """Every estimate, one per line, with full numbers."""
    lines: list[tuple[object, ...]] = []
    for row in document["rows"]:
        where = (row["relation"], row["method"], row["variant"])
        quantities = {k: v for k, v in row.items() if isinstance(v, dict) and "value" in v}
        quantities |= {f"delta {k}": v for k, v in row["deltas"].items()}
        for name, e in quantities.items():
            why = "; ".join(f"{k}: {n}" for k, n in e["reasons"].items())
            lines.append(
                (*where, name, e["value"], e["low"], e["high"], e["n"], e["n_unscored"],
                 e["unit"], e["interval"], why)
            )  # fmt: skip
    return write_csv(CSV_HEAD, lines)


def _of(document: Plain, relation: str) -> list[Plain]:
    return [row for row in document["rows"] if row["relation"] == relation]


def _interval(rows: list[Plain], name: str) -> str:
    """How the intervals of a quantity were made; the first that has one says it."""
    kinds = [row[name]["interval"] for row in rows]
    return next((kind for kind in kinds if not kind.startswith("none")), "no interval")


def _label(document: Plain, row: Plain) -> str:
    name = _ENDS.get(row["method"]) or document["methods"][row["method"]]["label"]
    return f"{name}, target known" if row["variant"] == "oracle" else name
