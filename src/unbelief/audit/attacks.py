"""Attacks as they are asked for: `relearn`, `quantize:bits=4`, `relearn:scope=retain`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unbelief.errors import RequestError
from unbelief.interventions.registry import attacks, build_attack

if TYPE_CHECKING:
    from unbelief.audit.request import AuditRequest

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


def with_seeds(attack: Any, request: AuditRequest) -> list[Any]:
    """The attack once for every seed of the audit; once where it draws nothing.

    Its own seed counts from the audit's: seeds s + S, s + S + 1, ... for an attack with seed s in
    an audit with seed S.
    """
    if not hasattr(attack, "seed"):
        return [attack]
    first = attack.seed + request.seed
    return [replace(attack, seed=first + k) for k in range(request.seeds)]


def untried(specs: Iterable[str]) -> tuple[str, ...]:
    """Names of attacks there are that were not asked for."""
    asked = {spec.strip().split(":")[0] for spec in specs}
    asked = {_OTHER_SPELLING.get(name, name) for name in asked}
    return tuple(name for name in attacks() if name not in asked)
