"""Records to forget and to keep, per forget ratio, and who of them belongs to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbelief.data import read_records
from unbelief.data.benchmark import BenchmarkData
from unbelief.data.tofu import ROWS_PER_AUTHOR, SPLITS, read_tofu
from unbelief.errors import RequestError
from unbelief.study.testbed import Split
from unbelief.types import Record


@dataclass(frozen=True)
class Part:
    """One forget ratio.

    Attributes:
        forget: Records to forget.
        retain: Records to keep.
        retrained: Model that never saw the first, if there is one.
    """

    forget: tuple[Record, ...]
    retain: tuple[Record, ...]
    retrained: str | None = None


def deal(
    records: Sequence[Record], smaller: Sequence[Sequence[Record]] = ()
) -> dict[Split, tuple[Record, ...]]:
    """Deal groups out between validation and test: every other one, in an order of digests.

    Args:
        records: What is dealt out.
        smaller: Records of other forget ratios, which come first, the smallest before the others:
            forget sets are nested, and who is asked about in a search with one must not be a test
            case of another.
    """
    order: dict[str, None] = {}
    for part in (*sorted(smaller, key=len), records):
        groups = {_group(r) for r in part} - order.keys()
        order |= dict.fromkeys(sorted(groups, key=_digest))
    first = set(list(order)[::2])
    mixed = sorted(records, key=lambda r: _digest(r.id))
    return {
        "test": tuple(r for r in mixed if _group(r) in first),
        "validation": tuple(r for r in mixed if _group(r) not in first),
    }


def _group(record: Record) -> str:
    return record.group or record.id


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def own_parts(forget: str, retain: str, retrained: str | None) -> dict[str, Part]:
    """The one part of a user's own records."""
    return {
        "own": Part(tuple(read_records(forget)), tuple(read_records(retain)), retrained),
    }


def tofu_parts(data: str, retrained: Mapping[str, str]) -> dict[str, Part]:
    """TOFU's forget splits that are there, the largest first.

    Raises:
        RequestError: There is none.
    """
    source, parts = BenchmarkData(data), {}
    for split in sorted(SPLITS, reverse=True):
        kept, why = source.read_if_there(SPLITS[split])
        _, missing = source.read_if_there(split)
        if why is None and missing is None:
            grouped = tuple(
                replace(r, group=f"author {i // ROWS_PER_AUTHOR}") for i, r in enumerate(kept)
            )
            forget = tuple(read_tofu(data, split).sets["forget"])
            parts[split] = Part(forget, grouped, retrained.get(split))
    if not parts:
        raise RequestError(
            f"there are no forget splits with their retain splits in {Path(data).name}",
            where="--data",
            remedy="name a folder with forget10.jsonl and retain90.jsonl, or locuslab/TOFU",
        )
    return parts
