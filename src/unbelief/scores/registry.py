"""Finding metrics and aggregates by name.

Nothing is registered: every `Metric` in a module of `scores.metrics` and every `Aggregate` in a
module of `scores.aggregates` is found. Installed packages add more through the entry point groups
`unbelief.metrics` and `unbelief.aggregates`; each entry point loads a class.
"""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeGuard

from unbelief.errors import RequestError
from unbelief.plugins import defect, missing_words, plugins
from unbelief.scores import aggregates as aggregates_package
from unbelief.scores import metrics as metrics_package
from unbelief.scores.base import Aggregate, Metric


@cache
def metrics() -> dict[str, type[Metric]]:
    """All metrics by name, sorted."""
    return _find(metrics_package, "unbelief.metrics", Metric)


@cache
def aggregates() -> dict[str, type[Aggregate]]:
    """All aggregates by name, sorted."""
    return _find(aggregates_package, "unbelief.aggregates", Aggregate)


def _find(package: ModuleType, group: str, base: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in iter_modules(package.__path__):
        loaded = import_module(f"{package.__name__}.{module.name}")
        for value in vars(loaded).values():
            if _is_one(value, base) and value.__module__ == loaded.__name__:
                _add(found, value)
    for point, value in plugins(group):
        if not _is_one(value, base):
            raise defect(point, f"is not a {base.__name__} with a name")
        if why := missing_words(value, ("name", "summary", "unit", "source")):
            raise defect(point, why)
        _add(found, value)
    return dict(sorted(found.items()))


def _is_one(value: object, base: type[Any]) -> TypeGuard[type[Any]]:
    """Whether it is a finished subclass; bases shared by several have no name."""
    return (
        isinstance(value, type)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and hasattr(value, "name")
    )


def _add(found: dict[str, Any], value: Any) -> None:
    """Take one in; two under one name would make results say what was not computed."""
    other = found.setdefault(value.name, value)
    if other is not value:
        raise RequestError(
            f"{value.__module__}.{value.__qualname__} and {other.__module__}.{other.__qualname__} "
            f"are both called {value.name!r}",
            where="scores",
            remedy="rename one of them",
        )
