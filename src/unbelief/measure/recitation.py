"""Greedy answers compared with the records' own, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder
from unbelief.types import Record


@dataclass(frozen=True, slots=True)
class RecitationMeasurement:
    """A greedy answer beside the true one.

    Attributes:
        example_id: The record.
        group: Its cluster, if any.
        token_ids: What the model said, end token included when it came.
        answer_ids: The record's answer, end token included.
        text: What the model said, decoded.
    """

    example_id: str
    group: str | None
    token_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    text: str


def measure_recitation(
    model: AnswerModel, encoder: Encoder, records: Sequence[Record], *, progress: bool = False
) -> list[RecitationMeasurement]:
    """Ask every prompt greedily, up to the longest answer's length.

    Args:
        model: The model to ask.
        encoder: Renders prompts and answers.
        records: What to ask.
        progress: Show a bar on stderr when that is a terminal.
    """
    encoded = [encoder.encode(r) for r in records]
    longest = max(len(e.answer_ids) for e in encoded)
    said = sample_answers(
        model.model,
        encoder,
        [e.prompt_ids for e in encoded],
        decoding=Decoding(temperature=0.0, max_new_tokens=longest),
        progress=progress,
    )
    return [
        RecitationMeasurement(r.id, r.group, s.token_ids, e.answer_ids, encoder.decode(s.token_ids))
        for r, e, (s,) in zip(records, encoded, said, strict=True)
    ]
