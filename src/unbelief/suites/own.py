"""Records of one's own: whatever columns they have decides what can be scored."""

from __future__ import annotations

from unbelief.data import read_records
from unbelief.suites.base import Choices, ItemSets, Line, Source, SuiteKind
from unbelief.suites.lines import (
    item_line,
    membership_lines,
    memorization_lines,
    recall_lines,
    said_lines,
    set_line,
    truth_ratio_lines,
)
from unbelief.types import Record


def read(source: Source) -> ItemSets:
    """The records that were given.

    Raises:
        RequestError: A source that does not exist.
        DataError: Rows are malformed, or ids are there twice.
    """
    sets: dict[str, tuple[Record, ...]] = {}
    absent: dict[str, str] = {}
    described: dict[str, str] = {}
    for name in ("forget", "retain", "holdout"):
        given = getattr(source, name)
        if given is None:
            sets[name] = ()
            absent[name] = f"no {name} records were given (--{name})"
            continue
        sets[name] = tuple(read_records(given, columns=source.columns or None))
        groups = {record.group for record in sets[name]} - {None}
        described[f"clusters of {name}"] = (
            f"{len(groups)} groups of the data" if groups else "each row by itself"
        )
    return ItemSets(sets=sets, absent=absent, described=described)


def lines(choices: Choices) -> tuple[Line, ...]:
    """Recall, truth ratio, the model's own words and privacy; on retain data, what is kept."""
    kept = ("retain_probability", "retain_rouge")
    return (
        *recall_lines("forget", choices),
        *truth_ratio_lines("forget", choices),
        *said_lines("forget", choices),
        item_line("forget_choice_accuracy", "choice_accuracy", "forget", choices),
        *membership_lines(choices),
        item_line("retain_probability", "probability", "retain", choices),
        item_line("retain_rouge", "rougeL_recall", "retain", choices),
        item_line("retain_extraction_strength", "extraction_strength", "retain", choices),
        item_line("retain_key_fact_recall", "key_fact_recall", "retain", choices),
        item_line("retain_truth_ratio", "truth_ratio_true_better", "retain", choices),
        item_line("retain_choice_accuracy", "choice_accuracy", "retain", choices),
        *memorization_lines("forget", choices),
        set_line("retain_utility", "harmonic_mean", kept, choices),
    )


KIND = SuiteKind(
    name="own",
    summary="your own records: what their columns allow",
    options=("forget", "retain", "holdout", "columns"),
    required=("forget",),
    template="auto",
    read=read,
    lines=lines,
)
