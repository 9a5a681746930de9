"""Teacher-forced statistics of answers: one forward per answer, a few numbers per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens import Encoder, Row
from unbelief.types import Record


@dataclass(frozen=True, slots=True)
class AnswerMeasurement:
    """Per-token statistics of one answer given its prompt. n tokens.

    Attributes:
        example_id: The record.
        group: Its cluster, if any.
        logp: (n,) log-probability of each answer token, nats.
        hit: (n,) whether it was the most probable token.
        has_end: Whether the last token is the end token.
    """

    example_id: str
    group: str | None
    logp: tuple[float, ...]
    hit: tuple[bool, ...]
    has_end: bool


def measure_answers(
    model: AnswerModel,
    encoder: Encoder,
    records: Sequence[Record],
    *,
    rows_per_forward: int = 64,
) -> list[AnswerMeasurement]:
    """Measure the records' own answers, in the order of the records.

    Args:
        model: The model to ask.
        encoder: Renders prompts and answers.
        records: What to measure.
        rows_per_forward: Rows of one forward; rows of similar length go together.
    """
    encoded = [encoder.encode(r) for r in records]
    rows = [Row(e.record_id, "target", e.prompt_ids, e.answer_ids) for e in encoded]
    order = sorted(range(len(rows)), key=lambda i: -rows[i].length)
    found: dict[int, AnswerMeasurement] = {}
    for start in range(0, len(order), rows_per_forward):
        part = order[start : start + rows_per_forward]
        stats = model.stats([rows[i] for i in part], Needs())
        assert stats.hit is not None
        for j, i in enumerate(part):
            own = stats.segment == j
            found[i] = AnswerMeasurement(
                records[i].id,
                records[i].group,
                tuple(stats.logp[own].tolist()),
                tuple(stats.hit[own].tolist()),
                encoder.end_token and not encoded[i].truncated and encoder.end_id is not None,
            )
    return [found[i] for i in range(len(rows))]
