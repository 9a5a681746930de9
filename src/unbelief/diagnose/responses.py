"""Responses a person wants followed along: their own words, to some or all prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbelief.errors import DataError, RequestError
from unbelief.types import Record

_ALLOWED = {"id", "response", "name"}
_EXAMPLE = '{"id": "forget.jsonl:3", "response": "I do not know.", "name": "refusal"}'
RESERVED = ("target", "high", "mid", "low")


@dataclass(frozen=True, slots=True)
class Response:
    """One text to follow.

    Attributes:
        name: Responses of one name form one curve.
        text: What is scored as the answer.
        record_id: The record whose prompt it answers; None for every prompt.
    """

    name: str
    text: str
    record_id: str | None = None


def read_responses(path: str | Path, records: Sequence[Record]) -> list[Response]:
    """Read responses from JSON lines: `response`, and optionally `id` and `name`.

    Args:
        path: The file.
        records: The forget records, whose ids may be named.

    Raises:
        DataError: A line is malformed or names a record that is not there.
        RequestError: The file cannot be read, or holds no response.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(
            f"cannot read responses: {reason}", where=str(path), remedy="name a JSONL file in UTF-8"
        ) from None
    known = {r.id for r in records}
    found = [
        _response(line, f"{path}:{number}", known)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise RequestError("there are no responses", where=str(path), remedy=f"such as {_EXAMPLE}")
    return found


def _response(line: str, where: str, known: set[str]) -> Response:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON: {error.msg}", where=where, remedy=f"such as {_EXAMPLE}"
        ) from None
    if not isinstance(row, dict) or not isinstance(row.get("response"), str):
        raise DataError("there is no text in `response`", where=where, remedy=f"such as {_EXAMPLE}")
    if unknown := sorted(row.keys() - _ALLOWED):
        raise DataError(
            f"unknown field {unknown[0]!r}", where=where, remedy="response, id and name are known"
        )
    name, record_id = row.get("name", "response"), row.get("id")
    if not row["response"].strip():
        raise DataError("the response is empty", where=where, remedy="give it some words")
    if not isinstance(name, str) or not name.strip() or name in RESERVED:
        raise DataError(
            f"{name!r} is not a name for a curve",
            where=where,
            remedy=f"any text but {', '.join(RESERVED)}",
        )
    if record_id is not None and record_id not in known:
        raise DataError(
            f"there is no forget record {record_id!r}",
            where=where,
            remedy=f"ids look like {min(known)!r}; leave id out to follow it on every prompt",
        )
    return Response(name, row["response"], record_id)
