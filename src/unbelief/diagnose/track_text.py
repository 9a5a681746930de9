"""What `--track` is given: a kind, and options of whole numbers and names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from unbelief.errors import RequestError


def named_options(text: str, kind: str, options: type, further: str) -> dict[str, Any]:
    """Read `KIND`, or such as `KIND,every=20`; what is not given keeps its default.

    Args:
        text: What was given.
        kind: What it must begin with.
        options: A dataclass whose fields are whole numbers or texts.
        further: A second option for the example of an error.

    Raises:
        RequestError: Something else, an unknown or repeated key, or a bad value.
    """
    example = f"for example {kind} or {kind},every=20,{further}"
    first, *parts = (piece.strip() for piece in text.split(","))
    if first != kind:
        raise RequestError(
            f"there is nothing called {first!r} to track", where="--track", remedy=example
        )
    kinds: dict[str, Any] = {f.name: str if "str" in str(f.type) else int for f in fields(options)}
    given: dict[str, Any] = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key not in kinds or key in given:
            reason = "is given twice" if key in given else "is not one of its options"
            raise RequestError(
                f"{part!r} {reason} ({', '.join(kinds)})", where="--track", remedy=example
            )
        try:
            given[key] = kinds[key](value)
        except ValueError:
            raise RequestError(
                f"{key}={value!r} is not a whole number", where="--track", remedy=example
            ) from None
    return given
