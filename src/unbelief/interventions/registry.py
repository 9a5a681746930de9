"""Finding attacks by name, and building them from named options.

Nothing is registered: every `Intervention` in a module of `interventions.model` or
`interventions.prompts` is found, and installed packages add more through the entry point group
`unbelief.interventions`; each entry point loads a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeGuard

from unbelief.errors import RequestError
from unbelief.interventions import model as model_package
from unbelief.interventions import prompts as prompts_package
from unbelief.interventions.base import Intervention, ModelIntervention, Option, PromptIntervention
from unbelief.interventions.options import parsed, unknown
from unbelief.plugins import defect, plugins


@cache
def attacks() -> dict[str, type[Intervention]]:
    """All attacks by name, sorted."""
    found: dict[str, type[Intervention]] = {}
    for package in (model_package, prompts_package):
        for module in iter_modules(package.__path__):
            loaded = import_module(f"{package.__name__}.{module.name}")
            for value in vars(loaded).values():
                if _is_attack(value) and value.__module__ == loaded.__name__:
                    _add(found, value)
    for point, value in plugins("unbelief.interventions"):
        if not _is_attack(value):
            raise defect(point, "is no ModelIntervention or PromptIntervention with a name")
        _add(found, value)
    return dict(sorted(found.items()))


def build_attack(name: str, options: Mapping[str, Option] | None = None) -> Any:
    """An attack with some options changed; text, as from a command line, is parsed.

    Returns:
        A `ModelIntervention` or a `PromptIntervention`, see its `kind`.

    Raises:
        RequestError: Unknown attack or option, or a value the option cannot take.
    """
    known = attacks()
    if name not in known:
        raise unknown(name, known, "attack")
    values = parsed(known[name], options or {})
    try:
        return known[name](**values)
    except ValueError as error:
        raise RequestError(
            str(error), where=f"attack {name}", remedy=f"see `unbelief attacks {name}`"
        ) from error


def _is_attack(value: object) -> TypeGuard[type[Intervention]]:
    return (
        isinstance(value, type)
        and issubclass(value, ModelIntervention | PromptIntervention)
        and not inspect.isabstract(value)
        and hasattr(value, "name")
    )


def _add(found: dict[str, type[Intervention]], value: type[Intervention]) -> None:
    """Take one in; two under one name would make results say what was not done."""
    other = found.setdefault(value.name, value)
    if other is not value:
        raise RequestError(
            f"{value.__module__}.{value.__qualname__} and {other.__module__}.{other.__qualname__} "
            f"are both called {value.name!r}",
            where="interventions",
            remedy="rename one of them",
        )
