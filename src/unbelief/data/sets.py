"""Records that are in two sets at once, whatever their ids."""

from __future__ import annotations

from collections.abc import Sequence

from unbelief.data.overlap import normalise
from unbelief.errors import RequestError
from unbelief.types import Record


def item_of(record: Record) -> tuple[str, str]:
    """Question and answer without case, punctuation and blanks: what makes two records one."""
    prompt = record.prompt
    if isinstance(prompt, tuple):
        prompt = "\n".join(turn.content for turn in prompt)
    return normalise(prompt or ""), normalise(record.answer)


def check_sets(forget: Sequence[Record], retain: Sequence[Record]) -> None:
    """Refuse records that are to be forgotten and to be kept, whatever their ids.

    Raises:
        RequestError: There is one.
    """
    known = {item_of(record): record for record in forget}
    both = [(known[item_of(r)], r) for r in retain if item_of(r) in known]
    if both:
        one, two = both[0]
        raise RequestError(
            f"{len(both)} records are to be forgotten and to be kept at once (such as "
            f"{one.source or one.id} and {two.source or two.id})",
            where="--retain",
            remedy="remove them from one of the two files",
        )
