"""Finding methods by name, and building them from named options.

Nothing is registered: every `Method` in a module of `vision.methods` is found.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, get_args, get_origin, get_type_hints

from unbelief.errors import RequestError
from unbelief.vision import methods as package
from unbelief.vision.method import Method

Option = str | int | float | bool


@cache
def methods() -> dict[str, type[Method]]:
    """All methods by name."""
    found: dict[str, type[Method]] = {}
    for module in iter_modules(package.__path__):
        loaded = import_module(f"{package.__name__}.{module.name}")
        for value in vars(loaded).values():
            if not (isinstance(value, type) and issubclass(value, Method)):
                continue
            if value.__module__ == loaded.__name__ and not inspect.isabstract(value):
                found[value.name] = value
    return dict(sorted(found.items()))


def build_method(name: str, options: Mapping[str, Option] | None = None) -> Method:
    """A method with some options changed; text, as from a command line, is parsed.

    Raises:
        RequestError: Unknown method or option, or a value the option cannot take.
    """
    known = methods()
    if name not in known:
        raise unknown(name, known, "method")
    kind, given = known[name], dict(options or {})
    names = {f.name for f in fields(kind)}
    for option in given:
        if option not in names:
            raise unknown(f"{name}.{option}", {f"{name}.{n}" for n in names}, "option")
    hints = get_type_hints(kind)
    return kind(**{k: _parsed(f"{name}.{k}", v, hints[k]) for k, v in given.items()})


def unknown(name: str, known: Collection[str], what: str) -> RequestError:
    """The error for a name that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return RequestError(
        f"unknown {what} {name!r}",
        where=what,
        remedy=f"{hint}known: {', '.join(sorted(known)) or 'none'}",
    )


def _parsed(where: str, value: Option, hint: Any) -> Any:
    text = str(value)
    try:
        if get_origin(hint) is Literal:
            if text not in get_args(hint):
                raise ValueError
            return text
        if hint is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if hint is int:
            return int(text)
        if not math.isfinite(number := float(text)):
            raise ValueError
        return number
    except (ValueError, KeyError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint)
        kind = kind or f"one of: {', '.join(map(str, get_args(hint)))}"
        raise RequestError(f"{text!r} is not {kind}", where=where, remedy=f"give {kind}") from None
