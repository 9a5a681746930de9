"""Records that are in two sets at once, whatever their ids."""

from __future__ import annotations

from collections.abc import Sequence

from unbelief.data.overlap import normalise
from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.wording.names import text_of


def item_of(record: Record) -> tuple[str, str]:
    """Question and answer without case, punctuation and blanks: what makes two records one."""
    return normalise(text_of(record.prompt)), normalise(record.answer)


def shared(left: Sequence[Record], right: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Records of the right that are also on the left, each behind the one it repeats."""
    known = {item_of(record): record for record in left}
    return [(known[item], r) for r in right if (item := item_of(r)) in known]


def check_apart(
    left: Sequence[Record],
    right: Sequence[Record],
    are: str,
    *,
    remedy: str,
    where: str | None = None,
) -> None:
    """Refuse records that are on both sides, whatever their ids.

    Args:
        left: One side.
        right: The other.
        are: What such records are, after their number.
        remedy: What is to be done.
        where: The argument at fault.

    Raises:
        RequestError: There is one.
    """
    if both := shared(left, right):
        one, two = both[0]
        such_as = f"(such as {one.source or one.id} and {two.source or two.id})"
        raise RequestError(f"{len(both)} {are} {such_as}", where=where, remedy=remedy)


def refuse_shared(
    left: Sequence[Record],
    right: Sequence[Record],
    are: str,
    *,
    remedy: str,
    where: str | None = None,
) -> None:
    """Refuse records that are on both sides, whatever their ids.

    Args:
        left: One side.
        right: The other.
        are: What such records are, to be read after their number.
        remedy: What is to be done.
        where: The argument at fault.

    Raises:
        RequestError: There is one.
    """
    if both := shared(left, right):
        one, two = both[0]
        such_as = f"(such as {one.source or one.id} and {two.source or two.id})"
        raise RequestError(f"{len(both)} {are} {such_as}", where=where, remedy=remedy)


def check_sets(forget: Sequence[Record], retain: Sequence[Record]) -> None:
    """Refuse records that are to be forgotten and to be kept, as `refuse_shared` does."""
    refuse_shared(
        forget,
        retain,
        "records are to be forgotten and to be kept at once",
        where="--retain",
        remedy="remove them from one of the two files",
    )
