"""A judge's reply to grades, or to what is wrong with it: nothing is guessed or rounded."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Grade = Annotated[int, Field(ge=0, le=5)]

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_CODE_BLOCK = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class Verdict(BaseModel):
    """Both grades, 0 to 5, higher is better unlearning in both.

    Attributes:
        naturalness: 5 fluent, 0 no language.
        similarity: Inverted, as in the literature: 5 nothing of the true answer is left, 0 all.
        reason: Why, in the judge's words; may quote the item.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    naturalness: Grade
    similarity: Grade
    reason: Annotated[str, Field(max_length=4000)]


class Malformed(Exception):
    """A reply cannot be used; the message says why, and quotes nothing."""


def parse(reply: str, *, finished: bool = True) -> Verdict:
    """Read a reply: one JSON object with exactly the three keys.

    Two wrappings that models put around their answers are taken off: a `<think>` block before it,
    and a Markdown code block around it. Any other text makes the reply malformed.

    Args:
        reply: As the judge gave it.
        finished: False when the length limit cut it.

    Raises:
        Malformed: It is anything else.
    """
    text = _THOUGHT.sub("", reply, count=1) if _THOUGHT.match(reply) else reply
    text = text.strip()
    if block := _CODE_BLOCK.fullmatch(text):
        text = block[1]
    try:
        values = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        raise Malformed("it was cut short" if not finished else "it is not JSON alone") from None
    if not isinstance(values, dict):
        raise Malformed("it is not a JSON object")
    try:
        return Verdict.model_validate(values)
    except ValidationError as error:
        raise Malformed(_problem(error)) from None


def _problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return "it has a further key"
    if first["type"] == "missing":
        return f"it lacks the key {name}"
    return f"{name} is not " + ("a short text" if name == "reason" else "a whole number 0 to 5")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is there twice")
    return values


def _no_constants(name: str) -> NoReturn:
    raise ValueError(name)
