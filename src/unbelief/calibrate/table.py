"""Models beside each other, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unbelief.report.tables import Table

_SHORT = {
    "extraction_strength": "ES",
    "extraction_strength_paraphrased": "ES rephrased",
    "probability": "P",
}


def short(name: str) -> str:
    """A metric's name as a column has it."""
    return _SHORT.get(name, name)


def shown(number: Mapping[str, Any] | None) -> str:
    """Value with its interval, or a dash where there is none."""
    if number is None or number["value"] is None:
        return "–"
    text = f"{number['value']:.3f}"
    if number["low"] is None:
        return text
    return f"{text} ({number['low']:.3f} to {number['high']:.3f})"


def models_table(
    models: Mapping[str, Mapping[str, Mapping[str, Any]]], sets: Sequence[str], title: str
) -> Table:
    """Every model's numbers on every set; columns without any value are left out.

    Args:
        models: By model, set and metric, as they are written.
        sets: Which sets, in this order.
        title: Of the table.
    """
    columns = [
        (on, name)
        for on in sets
        for name in next(iter(models.values()))[on]
        if any(its[on][name]["value"] is not None for its in models.values())
    ]
    rows = tuple(
        (model, *(shown(its[on][name]) for on, name in columns)) for model, its in models.items()
    )
    head = tuple(f"{on.removesuffix('_test')} {short(name)}" for on, name in columns)
    return Table(title=title, head=("model", *head), rows=rows)


def _most(numbers: Mapping[str, Any]) -> int:
    return max(number["n"] for number in numbers.values())


def calibration_text(document: Mapping[str, Any]) -> str:
    """What `unbelief calibrate` prints."""
    kept, on_test = document["kept"], document["kept_on_test"]["calibrated"]
    lines = [
        f"alpha {document['alpha']:.4g} (0: original, 1: unlearned) keeps {shown(kept)} of the "
        f"original's {document['score']} on {kept['n']} search items; asked: "
        f"{document['keep']:g} at least",
        f"on {on_test['n']} retain test items it keeps {shown(on_test)}",
        *(f"note: {note}" for note in document["notes"]),
    ]
    title = (
        f"On items that the search never saw: {on_test['n']} retain, "
        f"{_most(document['models']['calibrated']['forget'])} forget (95 % intervals)"
    )
    table = models_table(document["models"], ("retain_test", "forget"), title)
    return "\n".join(lines) + "\n\n" + table.to_text()
