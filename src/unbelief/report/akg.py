"""What one step did to other answers, as a table: from the document of `unbelief diagnose akg`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbelief.report.tables import Table

Plain = Mapping[str, Any]


def akg_table(document: Plain) -> Table:
    """Predicted and true change of every watched answer at the middle learning rate."""
    rates = document["learning_rates"]
    at = len(rates) // 2
    rows = []
    for o in document["observed"]:
        predicted, actual = o["slope"] * rates[at], o["actual"][at]
        rows.append(
            (
                f"{o['role']} {o['name']}" if o["role"] != "belief" else o["name"],
                str(o["tokens"]),
                f"{o['log_prob']:.2f}",
                _signed(predicted),
                _signed(actual),
                _signed(o["contributions"][0] * rates[at]),
            )
        )
    return Table(
        title=f"One step of {document['objective']['forget']['name']} on {document['record']}, "
        f"learning rate {rates[at]:.3g}: changes of log π (nats)",
        head=("Answer", "Tokens", "log π", "Predicted", "True", "Through the target"),
        rows=tuple(rows),
    )


def error_sentence(document: Plain) -> str:
    """How the prediction's error falls with the learning rate."""
    order = document["error_order"]
    if order is None:
        return "The prediction is exact at these learning rates."
    low, high = min(document["learning_rates"]), max(document["learning_rates"])
    return (
        f"The error of the prediction falls as the learning rate to the power {order:.3f} "
        f"(2 for a right first order), from {max(document['error']):.2g} nats at {high:.3g} to "
        f"{min(document['error']):.2g} at {low:.3g}."
    )


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")
