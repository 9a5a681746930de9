"""Held-out records: of the same kind as those to forget, and never seen by the original model.

What the original says to them is what a model says to such records that it was not trained on:
the level to stop at, measured without a retrained model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unbelief.data import read_records
from unbelief.data.sets import item_of, shared
from unbelief.errors import RequestError
from unbelief.types import Record

FEWEST_HELD_OUT = 2
"""One for the choice, one for the report."""
_FLAG = "--holdout"


def read_held_out(
    source: str | Path | Sequence[Record] | None,
    forget: Sequence[Record],
    retain: Sequence[Record],
    columns: Mapping[str, str] | None,
) -> tuple[Record, ...]:
    """Read held-out records and refuse those that the original was trained on.

    Args:
        source: A file, folder, hub id or records; None where there are none.
        forget: All records to forget.
        retain: All records to keep.
        columns: As for `read_records`.

    Raises:
        RequestError: There are too few, or one is also to be forgotten or kept.
        DataError: As for `read_records`.
    """
    if source is None:
        return ()
    holdout = tuple(read_records(source, columns=columns))
    distinct = len({item_of(record) for record in holdout})
    if distinct < FEWEST_HELD_OUT:
        raise RequestError(
            f"{distinct} held-out record is too few: the choice and the report ask one each",
            where=_FLAG,
            remedy=f"give at least {FEWEST_HELD_OUT} different records, better dozens",
        )
    _check_unseen(holdout, forget, "to forget")
    _check_unseen(holdout, retain, "to keep")
    return holdout


def check_one_level(retrained: object, holdout: object) -> None:
    """Refuse two sources of a measured level.

    Raises:
        RequestError: Both were given.
    """
    if retrained is not None and holdout is not None:
        raise RequestError(
            "two levels are given: --retrained names a model that never saw the records to forget, "
            "--holdout records that the original never saw",
            where=_FLAG,
            remedy="leave one of them out; the retrained model is the nearer to the truth",
        )


def _check_unseen(holdout: Sequence[Record], others: Sequence[Record], kind: str) -> None:
    """Refuse held-out records that are among others, but for case, punctuation and white space."""
    if seen := [record for _, record in shared(others, holdout)]:
        raise RequestError(
            f"{len(seen)} of {len(holdout)} held-out records are also among those {kind}, first "
            f"{seen[0].source or seen[0].id}: the original was trained on them",
            where=_FLAG,
            remedy="take them out; a level needs records that the original never saw",
        )
