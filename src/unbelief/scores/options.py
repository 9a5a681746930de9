"""Options of metrics and aggregates: the fields of their dataclasses, by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from unbelief.errors import RequestError

T = TypeVar("T")


def build(kind: type[T], options: Mapping[str, object]) -> T:
    """An instance with these options; text, as from a command line, is parsed.

    Raises:
        RequestError: Unknown option, or a value the option cannot take.
    """
    name = str(getattr(kind, "name", kind.__name__))
    known = option_names(kind)
    hints = get_type_hints(kind)
    for key in options:
        if key not in known:
            raise unknown(key, known, f"option of {name}")
    parsed = {key: _parse(f"{name}.{key}", value, hints[key]) for key, value in options.items()}
    try:
        return kind(**parsed)
    except ValueError as error:
        raise RequestError(str(error), where=name) from error


def option_names(kind: type[Any]) -> tuple[str, ...]:
    """Names of the options of a metric or aggregate."""
    return tuple(f.name for f in fields(kind) if f.init)


def option_values(one: Any) -> dict[str, object]:
    """The options an instance was made with."""
    return {name: getattr(one, name) for name in option_names(type(one))}


def unknown(name: str, known: Collection[str], what: str) -> RequestError:
    """The error for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return RequestError(
        f"unknown {what}: {name!r}",
        where=name,
        remedy=f"{hint}known: {', '.join(sorted(known)) or 'none'}",
    )


def _parse(where: str, value: object, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise RequestError(
                f"{value!r} is not one of the choices",
                where=where,
                remedy=f"choose one of: {', '.join(map(str, get_args(hint)))}",
            )
        return value
    text = str(value)
    try:
        if hint is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if hint is int:
            return int(text)
        if hint is float:
            if not math.isfinite(number := float(text)):
                raise ValueError
            return number
        return text
    except (ValueError, KeyError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "text")
        raise RequestError(f"{text!r} is not {kind}", where=where, remedy=f"give {kind}") from None
