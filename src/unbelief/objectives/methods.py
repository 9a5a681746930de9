"""Finding terms and methods by name, and building an objective from named options.

Nothing is registered: every `Term` subclass in a module of `objectives.forget` or
`objectives.retain` is found, and installed packages may add more through the entry point group
`unbelief.objectives` (each entry point loads a Term subclass).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeGuard, get_args, get_origin, get_type_hints

from unbelief.errors import RequestError
from unbelief.objectives import forget as forget_package
from unbelief.objectives import retain as retain_package
from unbelief.objectives.base import ForgetTerm, Objective, Preset, RetainTerm, Term
from unbelief.objectives.checks import incomplete
from unbelief.objectives.gradients import GRADIENT_RULES, GradientRule
from unbelief.objectives.weights import RULES, WeightRule
from unbelief.plugins import defect, plugins

OBJECTIVE_OPTIONS = (
    "forget_weight",
    "retain_weight",
    "reduction",
    "temperature",
    "keep_fraction",
    "keep",
)
Option = str | int | float | bool


@dataclass(frozen=True)
class Method:
    """A preset together with the term it configures."""

    name: str
    term: type[ForgetTerm]
    preset: Preset


@cache
def terms() -> dict[str, type[Term]]:
    """All terms by name."""
    found: dict[str, type[Term]] = {}
    for package in (forget_package, retain_package):
        for module in iter_modules(package.__path__):
            loaded = import_module(f"{package.__name__}.{module.name}")
            for value in vars(loaded).values():
                if _is_term(value) and value.__module__ == loaded.__name__:
                    _add(found, value)
    for point, value in plugins("unbelief.objectives"):
        if not _is_term(value):
            raise defect(point, "is no subclass of ForgetTerm or RetainTerm")
        if why := incomplete(value):
            raise defect(point, why)
        _add(found, value)
    return found


def _add(found: dict[str, type[Term]], term: type[Term]) -> None:
    """Take a term in; two under one name would make results say what was not run."""
    other = found.setdefault(term.name, term)
    if other is not term:
        raise RequestError(
            f"{term.__module__}.{term.__qualname__} and {other.__module__}.{other.__qualname__} "
            f"are both called {term.name!r}",
            where="objectives",
            remedy="rename one of them",
        )


@cache
def methods() -> dict[str, Method]:
    """All methods by name."""
    out: dict[str, Method] = {}
    for term in terms().values():
        if issubclass(term, ForgetTerm):
            presets = term.presets or {term.name: Preset(_summary(term))}
            for name, preset in presets.items():
                if name in out:
                    raise RequestError(
                        f"{term.__qualname__} and {out[name].term.__qualname__} both offer a "
                        f"method called {name!r}",
                        where="objectives",
                        remedy="rename one of them",
                    )
                out[name] = Method(name, term, preset)
    return dict(sorted(out.items()))


def build_objective(
    method: str, options: Mapping[str, Option | str] | None = None, *, has_retain: bool = True
) -> Objective:
    """The objective of a named method with some options changed.

    Args:
        method: A name from `methods()`.
        options: `weight=0.3` sets a field of the forget term, `inner=npo` and `inner.beta=0.2` the
            inner term of BS-S, `retain=kl` and `retain.direction=reverse` the retain term,
            `weights=schedule` and `weights.tail=0.5` the rule of the weights,
            `gradients=rectified` and `gradients.gamma=1` that of the gradients, and the names in
            `OBJECTIVE_OPTIONS` the objective itself. `inner=npo` and `inner.beta=0.2` of `gru`
            name another method. Strings are parsed.
        has_retain: Whether retain data was given; without it there is no retain term.

    Raises:
        RequestError: Unknown method, option or value.
    """
    chosen, given = _around(_lookup(method, methods(), "method"), dict(options or {}))
    term = _term(chosen.term, {**dict(chosen.preset.options), **_plain(given, chosen.term)}, given)
    retain = _retain(chosen, given, term, has_retain)
    own: dict[str, Any] = {"forget_weight": chosen.preset.forget_weight}
    hints = get_type_hints(Objective)
    own |= {k: _parse(k, given[k], hints[k]) for k in OBJECTIVE_OPTIONS if k in given}
    _reject_unknown(given, chosen.term, term, retain)
    own["weights"] = _rule("weights", RULES, chosen.preset.weights, given)
    own["gradients"] = _rule("gradients", GRADIENT_RULES, chosen.preset.gradients, given)
    try:
        return Objective(term, retain, **own)
    except ValueError as error:
        raise RequestError(str(error), where=f"method {method}") from error


def _around(chosen: Method, given: dict[str, Option]) -> tuple[Method, dict[str, Option]]:
    """A method that is a gradient rule around others, and the one that `inner` names."""
    if not (chosen.preset.around and "inner" in given):
        return chosen, given
    inner: Method = _lookup(str(given.pop("inner")), methods(), "method")
    preset = replace(
        inner.preset,
        retain=inner.preset.retain or chosen.preset.retain,
        gradients=chosen.preset.gradients,
    )
    options = {key.removeprefix("inner."): value for key, value in given.items()}
    return Method(chosen.name, inner.term, preset), options


def _is_term(value: object) -> TypeGuard[type[Term]]:
    return (
        isinstance(value, type)
        and issubclass(value, Term)
        and value not in (Term, ForgetTerm, RetainTerm)
    )


def _summary(term: type[Term]) -> str:
    return (term.__doc__ or term.name).strip().splitlines()[0]


def _lookup(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RequestError(
        f"unknown {what} {name!r}", where=what, remedy=f"{hint}known: {', '.join(sorted(known))}"
    )


def _field_names(term: type[Term]) -> set[str]:
    return {f.name for f in fields(term)}


def _plain(given: Mapping[str, Option], term: type[Term]) -> dict[str, Option]:
    return {k: v for k, v in given.items() if k in _field_names(term) and k != "inner"}


def _nested(given: Mapping[str, Option], prefix: str) -> dict[str, Option]:
    return {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}


def _term(term: type[Term], options: Mapping[str, Option], given: Mapping[str, Option]) -> Any:
    hints = get_type_hints(term)
    values: dict[str, Any] = {k: _parse(k, v, hints[k]) for k, v in options.items()}
    if "inner" in _field_names(term) and ("inner" in given or _nested(given, "inner.")):
        inner = _lookup(str(given.get("inner", "bs-t")), _forget_terms(), "inner term")
        inner_options = _nested(given, "inner.")
        _reject(inner_options, _field_names(inner), f"option of {inner.name}", "inner.")
        values["inner"] = _term(inner, inner_options, {})
    try:
        return term(**values)
    except ValueError as error:
        raise RequestError(str(error), where=f"method {term.name}") from error


def _forget_terms() -> dict[str, type[Term]]:
    return {k: v for k, v in terms().items() if issubclass(v, ForgetTerm)}


def _retain(
    chosen: Method, given: Mapping[str, Option], forget: ForgetTerm, has_retain: bool
) -> RetainTerm | None:
    asked = given.get("retain")
    name = chosen.preset.retain if asked is None else str(asked)
    if name is None or name == "none":
        return None
    if not has_retain:
        if asked is not None:
            raise RequestError(
                f"retain={name} needs retain data", where="retain", remedy="give --retain FILE"
            )
        return None
    known = {k: v for k, v in terms().items() if issubclass(v, RetainTerm)}
    term = _lookup(name, known, "retain term")
    options = _nested(given, "retain.")
    _reject(options, _field_names(term), f"option of {name}", "retain.")
    if "layer" in _field_names(term) and "layer" not in options and hasattr(forget, "layer"):
        options["layer"] = forget.layer
    return _term(term, options, {})


def _rule(
    what: str,
    known: Mapping[str, Any],
    customary: str,
    given: Mapping[str, Option],
) -> Any:
    """The rule of the weights or of the gradients: the method's own, or the one that is named."""
    name = str(given.get(what, customary))
    rule: type[WeightRule | GradientRule] = _lookup(name, known, f"{what.removesuffix('s')} rule")
    options = _nested(given, f"{what}.")
    _reject(options, {f.name for f in fields(rule)}, f"option of {name} {what}", f"{what}.")
    hints = get_type_hints(rule)
    try:
        return rule(**{k: _parse(k, v, hints[k]) for k, v in options.items()})
    except ValueError as error:
        raise RequestError(str(error), where=what) from error


def _reject(options: Mapping[str, Option], known: set[str], what: str, prefix: str = "") -> None:
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {prefix}{near[0]}? " if near else ""
            raise RequestError(
                f"unknown {what}: {prefix}{key}",
                where=f"{prefix}{key}",
                remedy=f"{hint}known: {', '.join(prefix + k for k in sorted(known)) or 'none'}",
            )


def _reject_unknown(
    given: Mapping[str, Option], term: type[Term], built: Any, retain: RetainTerm | None
) -> None:
    known = _field_names(term) | set(OBJECTIVE_OPTIONS) | {"retain", "weights", "gradients"}
    nested = ("inner.", "retain.", "weights.", "gradients.")
    flat = {k: v for k, v in given.items() if not k.startswith(nested)}
    _reject(flat, known, f"option of {term.name}")
    if not hasattr(built, "inner") and _nested(given, "inner."):
        _reject(_nested(given, "inner."), set(), f"option of {term.name}", "inner.")
    if retain is None and _nested(given, "retain."):
        _reject(_nested(given, "retain."), set(), "option (there is no retain term)", "retain.")


def _parse(name: str, value: Option, hint: Any) -> Any:
    """A value of the field's type from a string or number."""
    if get_origin(hint) is not None and get_args(hint):  # Literal[...]
        choices = get_args(hint)
        if value not in choices:
            raise RequestError(
                f"{name}={value!r} is not one of the choices",
                where=name,
                remedy=f"choose one of: {', '.join(map(str, choices))}",
            )
        return value
    try:
        if hint is bool:
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if hint is int:
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        if hint is float and not math.isfinite(float(value)):
            raise ValueError
        return hint(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "text")
        raise RequestError(
            f"{name}={value!r} is not {kind}", where=name, remedy=f"give {name} as {kind}"
        ) from None
