"""Prompts as turns of a conversation, and small changes to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unbelief.interventions.base import Unattackable
from unbelief.types import Message, Record, own_turn

NO_PROMPT = "the record is a document: it has no prompt"


def turns_of(record: Record) -> tuple[Message, ...]:
    """The prompt as a conversation.

    Raises:
        Unattackable: There is none.
    """
    if record.prompt is None:
        raise Unattackable(NO_PROMPT)
    return (Message("user", record.prompt),) if isinstance(record.prompt, str) else record.prompt


def question_of(record: Record) -> str:
    """What the user asks last.

    Raises:
        Unattackable: Nothing is asked.
    """
    return turns_of(record)[_last_question(record)].content


def with_question(record: Record, text: str) -> Record:
    """The record with another last question; a plain prompt stays plain text."""
    if isinstance(record.prompt, str):
        return with_prompt(record, text)
    turns, at = turns_of(record), _last_question(record)
    return with_turns(record, (*turns[:at], replace(turns[at], content=text), *turns[at + 1 :]))


def with_turns_before_question(record: Record, inserted: Sequence[Message]) -> Record:
    """The record with turns inserted before the last question."""
    turns, at = turns_of(record), _last_question(record)
    return with_turns(record, (*turns[:at], *inserted, *turns[at:]))


def with_system(record: Record, text: str) -> Record:
    """The record with a text before its system message, or with one made of it."""
    turns = turns_of(record)
    if turns[0].role == "system":
        joined = f"{text}\n\n{turns[0].content}"
        return with_turns(record, (Message("system", joined), *turns[1:]))
    return with_turns(record, (Message("system", text), *turns))


def with_own_start(record: Record, text: str) -> Record:
    """The record with a text put into the model's mouth, after what may be there already."""
    turns = turns_of(record)
    start = own_turn(turns)
    if start:
        text, turns = f"{start} {text}", turns[:-1]
    return with_turns(record, (*turns, Message("assistant", text)))


def with_turns(record: Record, turns: tuple[Message, ...]) -> Record:
    """The record with another conversation as its prompt."""
    return with_prompt(record, turns)


def with_prompt(record: Record, prompt: str | tuple[Message, ...]) -> Record:
    """The record with another prompt; its paraphrase, which was not attacked, is taken out."""
    return replace(record, prompt=prompt, paraphrased_prompt=None)


def _last_question(record: Record) -> int:
    turns = turns_of(record)
    users = [i for i, turn in enumerate(turns) if turn.role == "user"]
    if not users:
        raise Unattackable("the prompt has no turn of a user")
    return users[-1]
