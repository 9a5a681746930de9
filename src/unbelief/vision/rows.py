"""Label-domain mismatch for text: some rows of an author are handed over, the author is meant.

Rows take the place of fine labels and their groups (authors, documents) that of coarse ones; or,
with `parents`, groups are the fine labels and what they belong to the coarse ones. A language
model has no label domain of its own, so only the pair of L_D and L_T differs between relations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.vision.scenario import Hierarchy, Scenario, from_items

Meaning = Literal["rows", "group"]


@dataclass(frozen=True)
class RowScenario:
    """Records of a request and what they stand for.

    Attributes:
        scenario: The relation behind it.
        forget: D_f, handed over.
        rest: D_un, all other records; a method that gets no more keeps them all.
        false_retain: D_fr, meant but not handed over; empty where rows are meant as rows.
        retain: D_r, what really is to be kept.
        affected: D_ar, other rows of the same groups that must stay.
    """

    scenario: Scenario
    forget: tuple[Record, ...]
    rest: tuple[Record, ...]
    false_retain: tuple[Record, ...]
    retain: tuple[Record, ...]
    affected: tuple[Record, ...]


def part_of_groups(
    records: Sequence[Record],
    groups: Sequence[str],
    rows: int,
    *,
    meaning: Meaning = "group",
    seed: int = 0,
) -> RowScenario:
    """Hand over some rows of some groups: "forget 5 of an author's 20 rows, meaning the author".

    Args:
        records: All records, each with a group.
        groups: Whom the request is about.
        rows: How many rows of each are handed over, drawn at random.
        meaning: `group`: all rows of the groups are meant (data mismatch). `rows`: nothing but the
            rows (model mismatch: the model knows the group as one).
        seed: Of the choice of rows.

    Raises:
        RequestError: A record without group, an unknown group, or a group with too few rows.
    """
    made, fine = _rows(records)
    drawn = np.random.default_rng(seed)
    given: list[int] = []
    for name in groups:
        if name not in made.coarse:
            raise _wrong(f"there is no group {name!r}", "name groups of the records")
        own = made.of_groups([made.coarse.index(name)])
        if not 0 < rows < len(own):
            raise _wrong(
                f"{rows} of {len(own)} rows of {name!r} are to be handed over",
                "hand over at least one row and not all",
            )
        given += sorted(int(i) for i in drawn.choice(own, rows, replace=False))
    relation: Literal["data-mismatch", "model-mismatch"] = (
        "data-mismatch" if meaning == "group" else "model-mismatch"
    )
    return _chosen(records, Scenario(relation, made, tuple(given)), fine)


def some_groups(
    records: Sequence[Record],
    groups: Sequence[str],
    parents: Mapping[str, str],
    *,
    meaning: Meaning = "group",
) -> RowScenario:
    """Hand over whole groups and mean what they belong to: an author ≺ a circle of authors.

    Args:
        records: All records, each with a group.
        groups: Groups that are handed over.
        parents: What each group belongs to.
        meaning: `group`: everything with the same parent. `rows`: the groups as they are, with
            siblings that must stay.

    Raises:
        RequestError: A group without parent, an unknown group, or no siblings.
    """
    names = _groups(records)
    if lost := sorted(set(names) - set(parents)):
        raise _wrong(f"the group {lost[0]!r} has no parent", "give every group a parent")
    made, fine = from_items(names, [parents[name] for name in names])
    if unknown := sorted(set(groups) - set(made.fine)):
        raise _wrong(f"there is no group {unknown[0]!r}", "name groups of the records")
    given = tuple(made.fine.index(name) for name in groups)
    relation: Literal["data-mismatch", "model-mismatch"] = (
        "data-mismatch" if meaning == "group" else "model-mismatch"
    )
    return _chosen(records, Scenario(relation, made, given), fine)


def _rows(records: Sequence[Record]) -> tuple[Hierarchy, np.ndarray]:
    return from_items([record.id for record in records], _groups(records))


def _groups(records: Sequence[Record]) -> list[str]:
    for record in records:
        if record.group is None:
            raise RequestError(
                f"the record {record.id!r} has no group",
                where=record.source or "records",
                remedy="give every record the author or document it belongs to",
            )
    return [str(record.group) for record in records]


def _chosen(records: Sequence[Record], scenario: Scenario, fine: np.ndarray) -> RowScenario:
    split = scenario.split(fine)

    def pick(index: np.ndarray) -> tuple[Record, ...]:
        return tuple(records[i] for i in index)

    return RowScenario(
        scenario,
        forget=pick(split.forget),
        rest=pick(split.rest),
        false_retain=pick(split.false_retain),
        retain=pick(split.retain),
        affected=pick(split.affected),
    )


def _wrong(message: str, remedy: str) -> RequestError:
    return RequestError(message, where="scenario", remedy=remedy)
