"""One cell in, one checked value out. Nothing is coerced: what is not text is a bad row."""

from __future__ import annotations

import json
from typing import Any, get_args

from unbelief.data.problems import BadRow, describe, names
from unbelief.types import Message, Role

_ROLES: tuple[str, ...] = get_args(Role)


def text(value: object, column: str) -> str:
    """Return a text that is not empty and can be written as UTF-8, unchanged.

    Raises:
        BadRow: For null, numbers, empty text and lone surrogates. The text `"NaN"` is a text.
    """
    if value is None:
        raise BadRow(
            f"column {column!r} is null, expected text", f"fill {column!r} or remove the row"
        )
    if not isinstance(value, str):
        remedy = f"write {column!r} as text (in JSON: in double quotes)"
        if isinstance(value, float) and value != value:
            raise BadRow(f"column {column!r} is NaN (a missing value), expected text", remedy)
        raise BadRow(f"column {column!r} is {describe(value)}, expected text", remedy)
    if not value.strip():
        raise BadRow(
            f"column {column!r} is {'empty' if not value else 'only white space'}, expected text",
            f"fill {column!r} or remove the row",
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(
            f"column {column!r} has half of a surrogate pair at character {error.start + 1}",
            "write the character itself, or both halves of its \\u escape",
        ) from None
    return value


def label(value: object, column: str) -> str | None:
    """Return an id or group: text or an integer (written in decimal); None when absent.

    Raises:
        BadRow: For anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRow(
            f"column {column!r} is {describe(value)}, expected text or an integer",
            f"write {column!r} as text",
        )
    return text(value, column)


def texts(value: object, column: str) -> tuple[str, ...]:
    """Return a tuple of texts from a list of texts, one text, or nothing.

    In a table of texts (CSV, TSV) a cell that starts with `[` is a JSON list.

    Raises:
        BadRow: When the value or one of its items is not text.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return (text(value, column),)
    items = listed(value, column, "a list of texts")
    return tuple(text(item, f"{column}[{i}]") for i, item in enumerate(items))


def listed(value: object, column: str, expected: str) -> list[Any]:
    """Return a list, decoding a JSON list held in a text cell.

    Raises:
        BadRow: When it is not a list.
    """
    remedy = f"write {column!r} as {expected}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRow(
                f"column {column!r} is text, expected {expected}",
                remedy + '; in a CSV cell as a JSON list: ["one", "two"] (json.dumps)',
            ) from None
    if not isinstance(value, list):
        raise BadRow(f"column {column!r} is {describe(value)}, expected {expected}", remedy)
    return value


def conversation(value: object, column: str) -> tuple[Message, ...]:
    """Return the turns of a conversation.

    A turn is `{"role": "system" | "user" | "assistant", "content": text}`; a system turn may only
    come first. Further keys must be null: a dropped tool call would change what was said.

    Raises:
        BadRow: When a turn is anything else.
    """
    turns = listed(value, column, "a list of messages")
    if not turns:
        raise BadRow(f"column {column!r} has no messages", "remove the row or add its turns")
    return tuple(_message(turn, f"{column}[{i}]", first=i == 0) for i, turn in enumerate(turns))


def _message(turn: object, place: str, *, first: bool) -> Message:
    remedy = 'write a turn as {"role": "user", "content": "..."}'
    if not isinstance(turn, dict):
        raise BadRow(f"{place} is {describe(turn)}, expected a message", remedy)
    role = turn.get("role")
    if role not in _ROLES:
        found = repr(role[:20]) if isinstance(role, str) else describe(role)
        raise BadRow(
            f"{place} has the role {found}, expected one of {', '.join(_ROLES)}",
            "rename the role (human -> user, gpt -> assistant); other roles are not supported",
        )
    if role == "system" and not first:
        raise BadRow(f"{place} is a system turn, which may only come first", "move or remove it")
    further = [k for k, v in turn.items() if k not in ("role", "content") and v is not None]
    if further:
        raise BadRow(
            f"{place} has the further keys {names(further)}",
            "remove them: only role and content are used, and dropping the others silently "
            "could change what was said",
        )
    return Message(role, text(turn.get("content"), f"{place}.content"))


def index(value: object, column: str, choices: tuple[str, ...]) -> int:
    """Return the position of the correct choice, from 0; a text of digits counts (CSV).

    Raises:
        BadRow: When it is not an integer within the choices.
    """
    remedy = f"write {column!r} as the position of the correct choice, from 0"
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRow(f"column {column!r} is {describe(value)}, expected an integer", remedy)
    if not 0 <= value < len(choices):
        raise BadRow(
            f"column {column!r} is {value:.3g}, but there are {len(choices)} choices (0 to "
            f"{len(choices) - 1})"
            if abs(value) < 10**300
            else f"column {column!r} is outside the {len(choices)} choices",
            remedy,
        )
    return value
