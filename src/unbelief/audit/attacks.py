"""Attacks as they are asked for: `relearn`, `quantize:bits=4`, `relearn:scope=retain`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unbelief.errors import RequestError
from unbelief.interventions.registry import build_attack

STANDARD = (
    "relearn",
    "jailbreak",
    "paraphrase",
    "multi-turn",
    "noise",
    "probe",
    "quantize:bits=8",
    "quantize:bits=4",
)
"""What is tried unless something else is asked for."""
_OTHER_SPELLING = {"quantize": "quantise"}


def parse_attacks(specs: Iterable[str]) -> dict[str, Any]:
    """Attacks by the text they were asked for with, in that order.

    Args:
        specs: Each `NAME` or `NAME:option=value:option=value`.

    Raises:
        RequestError: An unknown attack or option, or the same one twice.
    """
    found: dict[str, Any] = {}
    for spec in (s.strip() for s in specs):
        name, *pairs = spec.split(":")
        options: dict[str, str | int | float | bool] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key:
                raise RequestError(
                    f"not an option: {pair!r}",
                    where=f"attack {spec}",
                    remedy="write NAME:option=value, for example quantize:bits=4",
                )
            options[key] = value
        if spec in found:
            raise RequestError(f"the attack {spec!r} is there twice", remedy="leave one out")
        found[spec] = build_attack(_OTHER_SPELLING.get(name, name), options)
    return found
