"""`unbelief attacks`: what there is to attack an unlearned model with."""

from __future__ import annotations

import inspect
import json
from typing import Any

from unbelief.interventions.base import Intervention
from unbelief.interventions.options import choices, defaults
from unbelief.interventions.registry import attacks, build_attack


def list_attacks(name: str | None, as_json: bool) -> None:
    """Print all attacks, or one in full.

    Raises:
        RequestError: There is no attack of that name.
    """
    found = attacks()
    if name is not None:
        build_attack(name)  # an unknown name fails with a suggestion
        found = {name: found[name]}
    rows = [_described(attack) for attack in found.values()]
    if as_json:
        print(json.dumps(rows))
    elif name is not None:
        _print_one(found[name], rows[0])
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(f"{row['name']:<{width}}  {row['kind']:<7}  {row['summary']}")


def _described(attack: type[Intervention]) -> dict[str, Any]:
    text = inspect.cleandoc(attack.__doc__ or attack.name)
    return {
        "name": attack.name,
        "kind": attack.kind,
        "summary": text.splitlines()[0],
        "asks_for": attack.asks_for,
        "cost": attack.cost,
        "source": attack.source,
        "options": defaults(attack),
        "choices": {o: c for o in defaults(attack) if (c := choices(attack, o))},
        "documentation": text,
    }


def _print_one(attack: type[Intervention], row: dict[str, Any]) -> None:
    print(f"{row['name']} ({row['kind']}): {row['documentation']}\n")
    print(f"Takes: {row['asks_for']}\nCosts: {row['cost']}\nSource: {row['source']}")
    print("Options:" if row["options"] else "Options: none")
    for option, value in row["options"].items():
        allowed = row["choices"].get(option)
        print(f"  {option}={value}" + (f"  (of {', '.join(allowed)})" if allowed else ""))
