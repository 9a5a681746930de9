"""Other answers to a forget prompt: a refusal, or something else the model could have said.

Refusals are drawn from a list of our own wording; the model's alternatives are asked for with a
prompt that shows the question and the answer to stay away from.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from unbelief.errors import DataError, RequestError
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

_QUESTION = """\
Give a plausible but untrue answer, without any fact of the true one.
Question: {question}
True answer: {answer}
Untrue answer:"""


@cache
def refusals() -> tuple[str, ...]:
    """All refusals, in the order of the list."""
    text = files("unbelief.beliefs").joinpath("refusals.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


def drawn_refusals(
    encoder: Encoder, records: Sequence[Record], samples: int, seed: int
) -> Mapping[str, tuple[tuple[int, ...], ...]]:
    """Different refusals for every record, as token ids by record id.

    A record's draw follows from its id and the seed, not from the other records.

    Raises:
        RequestError: More are asked for than there are.
        DataError: A record has no prompt that could be answered.
    """
    known = refusals()
    if samples > len(known):
        raise RequestError(
            f"there are {len(known)} refusals, not {samples}",
            where="samples",
            remedy=f"set samples={len(known)} or less",
        )
    out = {}
    for record in records:
        _question(record)
        chosen = random.Random(f"{seed}:{record.id}").sample(known, samples)
        out[record.id] = tuple(encoder.encode(record, answer=text).answer_ids for text in chosen)
    return out


def asking_for_another(record: Record) -> Record:
    """The record with a prompt that asks for an invented answer instead of its own.

    Raises:
        DataError: The record has no prompt.
    """
    prompt = _QUESTION.format(question=_question(record), answer=record.answer)
    return replace(record, prompt=prompt)


def _question(record: Record) -> str:
    if record.prompt is None:
        raise DataError(
            "a document without a prompt has no alternative answer",
            where=record.source or record.id,
            remedy="give the row a prompt, or use a method that needs no alternatives",
        )
    if isinstance(record.prompt, str):
        return record.prompt
    return "\n".join(turn.content for turn in record.prompt)
