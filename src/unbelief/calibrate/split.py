"""Search items and test items: never the same, and refused where they would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unbelief.data import read_records
from unbelief.data.sets import item_of, refuse_shared
from unbelief.errors import RequestError
from unbelief.interventions.seeded import seeded
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Records for the search, records for the report.

    Attributes:
        search: What decides.
        test: What is reported.
        how: How they were told apart, in words.
    """

    search: tuple[Record, ...]
    test: tuple[Record, ...]
    how: str


def read_halves(
    source: str,
    test: str | None,
    *,
    name: str,
    share: float,
    seed: int,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Halves:
    """Read records and split them, unless the test records have a file of their own.

    Args:
        source: File, folder or hub id.
        test: The same for test records, or None to split `source`.
        name: What the records are called, for messages.
        share: Of the clusters that goes to the search.
        seed: Of the split.
        columns: Data columns, see `read_records`.
        limit: Take only the first so many.

    Raises:
        RequestError: There is too little to split, or an item is on both sides.
    """
    records = tuple(read_records(source, columns=columns or None))[:limit]
    if test is None:
        found = split(records, name=name, share=share, seed=seed)
    else:
        others = tuple(read_records(test, columns=columns or None))[:limit]
        found = Halves(search=records, test=others, how="test records in a file of their own")
    check_apart(found.search, found.test, f"{name} records")
    return found


def split(records: Sequence[Record], *, name: str, share: float, seed: int) -> Halves:
    """Split by author or document (`group`), by record where there is none.

    Clusters are put into an order that depends on their name and the seed alone; the first
    round(share · clusters) of them serve the search, at least one on each side.

    Raises:
        RequestError: There are fewer than two clusters.
    """
    clusters: dict[str, list[Record]] = {}
    for record in records:
        clusters.setdefault(_cluster(record), []).append(record)
    if len(clusters) < 2:
        raise RequestError(
            f"{len(records)} {name} records in {len(clusters)} cluster cannot be split into search "
            "and test items",
            where=f"--{name}",
            remedy="give more records, or records of several groups",
        )
    order = sorted(clusters, key=lambda key: (seeded(seed, "split", key).random(), key))
    n = min(max(1, round(share * len(order))), len(order) - 1)
    chosen = set(order[:n])
    by = "group" if any(r.group is not None for r in records) else "record"
    return Halves(
        search=tuple(r for r in records if _cluster(r) in chosen),
        test=tuple(r for r in records if _cluster(r) not in chosen),
        how=f"{n} of {len(order)} clusters (by {by}) for the search, seed {seed}",
    )


def check_apart(search: Sequence[Record], test: Sequence[Record], what: str) -> None:
    """Refuse items that are on both sides: same question and answer, whatever their ids.

    Texts are compared without case, punctuation and blanks.

    Raises:
        RequestError: There is one.
    """
    refuse_shared(
        search,
        test,
        f"of the {what} are search items and test items at once",
        remedy="remove the duplicates, or give test records of their own: a choice made on items "
        "says nothing about them",
    )


def _cluster(record: Record) -> str:
    return f"group:{record.group}" if record.group is not None else f"item:{item_of(record)}"
