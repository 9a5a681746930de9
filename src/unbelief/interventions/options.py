"""Options of attacks: the fields of their dataclasses, from text."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from unbelief.errors import RequestError
from unbelief.interventions.base import Intervention, Option


def defaults(attack: type[Intervention]) -> dict[str, Option]:
    """Every option of an attack with its default."""
    out: dict[str, Option] = {}
    for each in fields(attack):
        assert each.default is not MISSING, f"{attack.__name__}.{each.name} has no default"
        out[each.name] = each.default
    return out


def choices(attack: type[Intervention], option: str) -> tuple[str, ...]:
    """The values an option may take, where they can be listed."""
    hint = get_type_hints(attack)[option]
    return tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()


def parsed(attack: type[Intervention], options: Mapping[str, Option]) -> dict[str, Option]:
    """Options as values of their fields' types.

    Raises:
        RequestError: Unknown option, or a value of the wrong kind.
    """
    known, hints = defaults(attack), get_type_hints(attack)
    for name in options:
        if name not in known:
            raise unknown(name, known, f"option of {attack.name}")
    return {
        name: _parse(f"{attack.name}.{name}", value, hints[name]) for name, value in options.items()
    }


def unknown(name: str, known: Collection[str], what: str) -> RequestError:
    """The error for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return RequestError(
        f"unknown {what}: {name!r}",
        where=name,
        remedy=f"{hint}known: {', '.join(sorted(known)) or 'none'}",
    )


def _parse(where: str, value: Option, hint: Any) -> Any:
    text = str(value)
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise RequestError(
                f"{text!r} is not one of the choices",
                where=where,
                remedy=f"choose one of: {', '.join(get_args(hint))}",
            )
        return text
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
