"""What can be asked: an endpoint, a local model, recorded answers. It answers; grading is ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unbelief.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to ask.

    Attributes:
        index: Of the caller.
        messages: System and user turn.
        plain: The same without the run's fence, as canonical JSON: what makes two questions equal.
    """

    index: int
    messages: tuple[Message, ...]
    plain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        text: As it is.
        finished: False when the length limit cut it.
        model: How the answering model calls itself, when it says so.
        input_tokens: As counted by the other side; None when it does not say.
        output_tokens: Likewise.
    """

    text: str
    finished: bool = True
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """Why there is none, in our own words: completes "unscored, because ...".

    Attributes:
        reason: Without anything the other side said, which may quote the item.
    """

    reason: str


Outcome = Reply | NoReply


class Chat(Protocol):
    """Something that answers questions."""

    def describe(self) -> dict[str, Any]:
        """What decides its answers, for provenance and to tell judges apart. No secrets."""

    def answers(self, questions: Sequence[Question]) -> Iterable[tuple[Question, Outcome]]:
        """Answer every question once, in any order, as the answers come."""


def question(index: int, messages: tuple[Message, ...], plain: tuple[Message, ...]) -> Question:
    """Put a question together; see `Question`."""
    turns = [[turn.role, turn.content] for turn in plain]
    return Question(index=index, messages=messages, plain=json.dumps(turns).encode())


def in_chunks(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    """Runs of at most `size` questions."""
    for start in range(0, len(questions), size):
        yield questions[start : start + size]
