"""Records one by one, without a text of any: the worst ten, and how scores are spread."""

from __future__ import annotations

import numpy as np

from unbelief.report.audit_document import AuditDocument, PromptRow
from unbelief.report.audit_views import attacks_run, in_words, score_names, worst_first
from unbelief.report.numbers import plain, whole
from unbelief.report.tables import Table

WORST = 10
_UNDER = "unlearned under "
_SHOWN = (
    "key_fact_recall",
    "leak_rate",
    "extraction_strength",
    "probability",
    "rougeL_recall",
    "mia_min_k_forget",
)
"""Scores of the worst records; all of them are in the spread."""
_SHARES = (0, 25, 50, 75, 95, 100)


def worst_items(document: AuditDocument) -> Table:
    """The records of which most is left, by id: flag, then facts said, then attacks that helped."""
    names = [name for name in _SHOWN if name in score_names(document)]
    ran = attacks_run(document)[0]

    def most_left(row: PromptRow) -> tuple[float, int, float]:
        facts, likely = row.scores.get("key_fact_recall"), row.scores.get("probability")
        return (-(facts or 0.0), -len(leaking_attacks(row)), -(likely or 0.0))

    # Sorting is stable: within a flag the order of `most_left` stays.
    rows = worst_first(sorted(document.prompts, key=most_left))[:WORST]
    return Table(
        title=f"The {len(rows)} records of which most is left, by id",
        head=("Id", "Flag", "Attacks that bring it back", *(in_words(name) for name in names)),
        rows=tuple(
            (
                row.id,
                row.flag,
                f"{len(leaking_attacks(row))} of {ran}",
                *(plain(row.scores.get(name)) for name in names),
            )
            for row in rows
        ),
    )


def leaking_attacks(row: PromptRow) -> tuple[str, ...]:
    """Attacks under which the answer to this prompt had words of the fact."""
    found = (
        r.by.removeprefix(_UNDER) for r in row.responses if r.by.startswith(_UNDER) and r.words
    )
    return tuple(dict.fromkeys(found))


def spread(document: AuditDocument) -> Table:
    """Quantiles over the records of every score of the unlearned model; a mean hides a tail."""
    rows = []
    for name in score_names(document):
        all_values = [row.scores.get(name) for row in document.prompts]
        values = [v for v in all_values if v is not None]
        quantiles = np.percentile(values, _SHARES).tolist() if values else [None] * len(_SHARES)
        unscored = whole(len(all_values) - len(values))
        rows.append((in_words(name), whole(len(values)), unscored, *(plain(q) for q in quantiles)))
    return Table(
        title="Scores of the unlearned model, record by record",
        head=("Score", "n", "unscored", "lowest", "25 %", "median", "75 %", "95 %", "highest"),
        rows=tuple(rows),
    )
