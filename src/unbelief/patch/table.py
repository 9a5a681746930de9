"""What `unbelief patch` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbelief.calibrate.table import models_table, short, shown
from unbelief.report.tables import Table


def patch_text(document: Mapping[str, Any]) -> str:
    """The choice, the models beside each other, and what attacks brought."""
    choice = document["choice"]
    lines = [
        f"{choice['k']} of {len(document['candidates'])} parts from the unlearned model: "
        f"{', '.join(choice['parts'])} ({choice['k_chosen_by']})",
        *(f"note: {note}" for note in document["notes"]),
    ]
    split = document["split"]
    title = (
        f"On records that had no part in the choice: {split['retain']['test']} retain, "
        f"{split['forget']['test']} forget (95 % intervals)"
    )
    tables = [
        _order_table(document),
        models_table(document["models"], ("retain_test", "forget_test"), title),
    ]
    if document["drift"]:
        tables.append(_drift_table(document["drift"]))
    if document["attacks"]:
        tables.append(_attacks_table(document["attacks"]))
        for row in document["attacks"]["under"]:
            for name, why in row["not_run"].items():
                lines.append(f"note: {row['attack']} was not made on the {name} model: {why}")
    return "\n\n".join(["\n".join(lines), *(table.to_text() for table in tables)])


def _order_table(document: Mapping[str, Any]) -> Table:
    choice = document["choice"]
    rows = []
    for row, swept in zip(choice["order"], choice["sweep"], strict=True):
        rows.append(
            (
                row["part"],
                f"{row['score']:g}",
                shown(row["utility_change"]),
                shown(row["forgetting_change"]),
                f"{swept['harmonic_mean']:.3f}" + ("  <-" if swept["k"] == choice["k"] else ""),
            )
        )
    return Table(
        title="Parts by rank score, on the validation records: change of "
        f"{document['utility']} (retain), {document['forgetting']} removed (forget)",
        head=("part", "rank score", "retain alone", "forget alone", "mean with those above"),
        rows=tuple(rows),
    )


def _drift_table(drift: Mapping[str, Any]) -> Table:
    columns = [(name, on) for name in drift for on in drift[name]]
    first = drift[columns[0][0]][columns[0][1]]
    rows = tuple(
        (str(row["layer"]), *(shown(drift[name][on][i]["cka"]) for name, on in columns))
        for i, row in enumerate(first)
    )
    head = ("layer", *(f"{name}, {on.removesuffix('_test')}" for name, on in columns))
    return Table(
        title="Hidden states against the original's: linear CKA at answer tokens",
        head=head,
        rows=rows,
    )


def _attacks_table(attacks: Mapping[str, Any]) -> Table:
    measures = list(next(iter(attacks["without"].values())))
    rows = [
        (f"none, {name}", *(shown(its[m]) for m in measures))
        for name, its in attacks["without"].items()
    ]
    for row in attacks["under"]:
        for name, its in row["models"].items():
            rows.append((f"{row['attack']}, {name}", *(shown(its["after"][m]) for m in measures)))
    return Table(
        title="Leaks of the forget test records under attack",
        head=("attack, model", *(short(m) for m in measures)),
        rows=tuple(rows),
    )
