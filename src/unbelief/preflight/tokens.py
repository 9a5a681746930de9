"""Token counts of records, with every record that cannot be encoded named at once."""

from __future__ import annotations

from collections.abc import Sequence

from unbelief.data.problems import Problems
from unbelief.errors import DataError
from unbelief.preflight.result import TokenCounts
from unbelief.tokens import Encoded, Encoder
from unbelief.types import Record


def encode_all(encoder: Encoder, records: Sequence[Record]) -> list[Encoded]:
    """Encode all records.

    Raises:
        DataError: Naming up to ten records without tokens to score, or whose prompt is too long.
    """
    problems = Problems()
    encoded: list[Encoded] = []
    for record in records:
        where = record.source or record.id
        try:
            found = encoder.encode(record)
        except DataError as error:
            problems.add(where, error.message, error.remedy or "remove the row")
            continue
        if not found.prompt_ids and len(found.answer_ids) < 2:
            problems.add(
                where,
                "the document has one token, and nothing before it that could predict it",
                "remove the row, or give it a prompt",
            )
        encoded.append(found)
    problems.check()
    return encoded


def count_tokens(encoder: Encoder, encoded: Sequence[Encoded]) -> TokenCounts:
    """Count the tokens of encoded records; there is at least one."""
    unknown = encoder.tokenizer.unk_token_id
    answer = sum(len(e.answer_ids) for e in encoded)
    return TokenCounts(
        records=len(encoded),
        prompt_tokens=sum(len(e.prompt_ids) for e in encoded),
        answer_tokens=answer,
        longest=max(len(e.prompt_ids) + len(e.answer_ids) for e in encoded),
        mean_answer=answer / len(encoded),
        truncated=sum(e.truncated for e in encoded),
        unknown=0 if unknown is None else sum(e.answer_ids.count(unknown) for e in encoded),
    )


def token_warnings(name: str, counts: TokenCounts) -> list[str]:
    """Say what is questionable about a set's tokens."""
    warnings = []
    if counts.truncated:
        warnings.append(
            f"{name}: {counts.truncated} of {counts.records} answers are cut at the longest input; "
            "what is cut off is neither forgotten nor kept (raise max_length or split them)"
        )
    if counts.unknown:
        share = counts.unknown / counts.answer_tokens
        warnings.append(
            f"{name}: {counts.unknown} answer tokens ({share:.1%}) are unknown to the tokenizer; "
            "what they say cannot be forgotten or kept"
        )
    return warnings
