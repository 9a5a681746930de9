"""Whether a text says what was to be forgotten."""

from __future__ import annotations

from unbelief.types import Record
from unbelief.wording.facts import key_facts, recalled


def leak_of(record: Record, text: str, max_overlap: float = 0.5) -> str | None:
    """Why a text must not be taught as an answer to the record, or None.

    Where the record has facts or perturbed answers it is known what the fact is, and one that is
    said in full is a leak. Otherwise every content word of the answer might be it, and a leak is a
    text with more than a share of them.

    Args:
        record: What was to be forgotten.
        text: An answer to its prompt.
        max_overlap: The largest share of the answer's content words that is no leak.

    Returns:
        `key fact`, `overlap`, `same answer`, or None.
    """
    if text.strip() == record.answer.strip():
        return "same answer"
    facts = key_facts(record)
    said = recalled(facts, text)
    if record.facts or record.perturbed:
        return "key fact" if any(share == 1 for share in said) else None
    return "overlap" if said and sum(said) / len(said) > max_overlap else None
