"""TOFU: fictitious authors, twenty questions each (`locuslab/TOFU`, Maini et al. 2024).

The data set of 4000 rows holds 200 authors one after the other. `forgetXX` is its end and
`retainYY` its beginning, both in that order, so the author of a row follows from its position;
`holdoutXX` is ordered likewise. `retain_perturbed` is a part whose rows are found again in
`retainYY` (or `full`) by question and answer. Authors are the clusters of every interval: twenty
questions about one person are not twenty independent observations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from unbelief.data.benchmark import BenchmarkData
from unbelief.errors import RequestError
from unbelief.types import Record

SPLITS: Mapping[str, str] = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
"""Forget split to the split of what is kept."""
ROWS_PER_AUTHOR = 20
_ROWS = 4000
_PUBLISHED = {"01": 40, "05": 200, "10": 400}


@dataclass(frozen=True, slots=True, kw_only=True)
class TofuData:
    """One forget split of TOFU with everything its scores need.

    Attributes:
        sets: `forget`, `holdout`, `retain`, `real_authors`, `world_facts`; empty when absent.
        absent: Why a set is empty.
        clusters: How the clusters of a set were found, in words.
    """

    sets: Mapping[str, tuple[Record, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)


def read_tofu(source: str, split: str) -> TofuData:
    """Read one forget split and what goes with it.

    `{split}_perturbed` is read where it exists, else `{split}`, which has no paraphrases and no
    perturbed answers.

    Args:
        source: Folder or hub id (`locuslab/TOFU`).
        split: `forget01`, `forget05` or `forget10`.

    Raises:
        RequestError: An unknown split, or no forget data there.
        DataError: Rows are malformed.
    """
    if split not in SPLITS:
        raise RequestError(
            f"there is no split {split!r}", where="--split", remedy=f"one of {', '.join(SPLITS)}"
        )
    data = BenchmarkData(source)
    size = split.removeprefix("forget")
    forget, why = data.read_if_there(f"{split}_perturbed")
    if why is not None:
        forget = data.read(split)
    sets, absent, clusters = {}, {}, {}
    sets["forget"], clusters["forget"] = _by_position(forget, size, "author", _ROWS)
    holdout, why = data.read_if_there(f"holdout{size}")
    sets["holdout"], clusters["holdout"] = _by_position(holdout, size, "holdout author", None)
    if why is not None:
        absent["holdout"] = why
    retain, why = data.read_if_there("retain_perturbed")
    if why is not None:
        absent["retain"] = why
    sets["retain"], clusters["retain"] = _by_matching(retain, data, SPLITS[split])
    for name in ("real_authors", "world_facts"):
        rows, why = data.read_if_there(f"{name}_perturbed")
        if why is not None:
            absent[name] = why
        sets[name], clusters[name] = tuple(rows), "each row by itself"
    return TofuData(
        sets=sets,
        absent=absent,
        clusters={name: how for name, how in clusters.items() if sets[name]},
    )


def _by_position(
    records: Sequence[Record], size: str, label: str, end: int | None
) -> tuple[tuple[Record, ...], str]:
    """Clusters of twenty rows; authors are counted as in the full data set where that is known."""
    if len(records) != _PUBLISHED[size]:
        return tuple(records), (
            f"each row by itself: there are {len(records)} rows instead of {_PUBLISHED[size]}, so "
            "positions do not tell authors"
        )
    start = 0 if end is None else end - len(records)
    grouped = tuple(
        replace(record, group=_author(label, start + i)) for i, record in enumerate(records)
    )
    return grouped, f"{label}s, {ROWS_PER_AUTHOR} consecutive rows each"


def _by_matching(
    records: Sequence[Record], data: BenchmarkData, kept: str
) -> tuple[tuple[Record, ...], str]:
    """Clusters found by looking rows up in the data they were sampled from."""
    if not records:
        return (), ""
    for name in (kept, "full"):
        rows, why = data.read_if_there(name)
        if why is None and len(rows) % ROWS_PER_AUTHOR == 0:
            break
    else:
        return tuple(records), f"each row by itself: neither {kept} nor full tells their authors"
    places = {(row.prompt, row.answer): i for i, row in enumerate(rows)}
    found = [places.get((record.prompt, record.answer)) for record in records]
    missing = sum(place is None for place in found)
    grouped = tuple(
        record if place is None else replace(record, group=_author("author", place))
        for record, place in zip(records, found, strict=True)
    )
    apart = f"; {missing} rows that are not in it each by itself" if missing else ""
    return grouped, f"authors, found by question and answer in {name}{apart}"


def _author(label: str, row: int) -> str:
    return f"{label} {row // ROWS_PER_AUTHOR + 1}"
