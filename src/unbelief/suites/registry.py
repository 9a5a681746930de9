"""Finding suites, choosing lines, and putting the two together.

Every module of this package with a `KIND` is a suite; installed packages add more through the entry
point group `unbelief.suites`, each naming a `SuiteKind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from unbelief import suites as package
from unbelief.errors import RequestError
from unbelief.plugins import defect, plugins
from unbelief.scores import conventions
from unbelief.scores.options import unknown
from unbelief.scores.registry import metrics
from unbelief.suites.base import Choices, ItemSets, Line, Source, Suite, SuiteKind
from unbelief.types import Record


@cache
def suites() -> dict[str, SuiteKind]:
    """All suites by name, sorted."""
    found: dict[str, SuiteKind] = {}
    for module in iter_modules(package.__path__):
        kind = getattr(import_module(f"{package.__name__}.{module.name}"), "KIND", None)
        if isinstance(kind, SuiteKind):
            found[kind.name] = kind
    for point, kind in plugins("unbelief.suites"):
        if not isinstance(kind, SuiteKind) or kind.name in found:
            raise defect(point, "is no SuiteKind with a name of its own")
        found[kind.name] = kind
    return dict(sorted(found.items()))


def suite_kind(name: str) -> SuiteKind:
    """The suite of that name.

    Raises:
        RequestError: There is none; the nearest name is suggested.
    """
    found = suites()
    if name not in found:
        raise unknown(name, found, "suite")
    return found[name]


def read_items(kind: SuiteKind, source: Source) -> ItemSets:
    """Read a suite's records, after checking that what was given is what it reads.

    Raises:
        RequestError: An option is missing or belongs to another suite, or the data is not there.
        DataError: Rows are malformed.
    """
    given = {f.name for f in fields(Source) if getattr(source, f.name) not in (None, {})}
    for name in sorted(given - {*kind.options, "limit"}):
        raise RequestError(
            f"the suite {kind.name} reads no --{name}",
            where=f"--{name}",
            remedy=f"it reads {', '.join('--' + o for o in kind.options)}",
        )
    for name in kind.required:
        if name not in given:
            raise RequestError(
                f"the suite {kind.name} needs --{name}",
                where=f"--{name}",
                remedy=f"see `unbelief suites {kind.name}`",
            )
    if source.limit is not None and source.limit < 1:
        raise RequestError("--limit is below 1", where="--limit", remedy="give 1 or more")
    items = kind.read(source)
    _check_ids(items.sets)
    if source.limit is None:
        return items
    return replace(
        items,
        sets={name: records[: source.limit] for name, records in items.sets.items()},
        described={**items.described, "limit": str(source.limit)},
    )


def make_suite(
    kind: SuiteKind, items: ItemSets, choices: Choices, metrics: Sequence[str] = ()
) -> Suite:
    """Items and lines together.

    Args:
        kind: The suite.
        items: Its records.
        choices: Convention and samples.
        metrics: What to compute, see `choose_lines`; empty for all that is not on request.

    Raises:
        RequestError: An unknown name; the nearest one is suggested.
    """
    return Suite(
        name=kind.name,
        sets=items.sets,
        lines=choose_lines(kind.lines(choices), metrics, choices.convention),
        described=items.described,
        absent=items.absent,
    )


def choose_lines(
    lines: Sequence[Line], names: Sequence[str], convention: str = conventions.DEFAULT
) -> tuple[Line, ...]:
    """The lines that were asked for, and the inputs of aggregates.

    Args:
        lines: All of the suite.
        names: Lines or metrics of the suite. Another metric, or any with options of its own
            (`NAME:option=value:option=value`), is computed on every item set of the suite.
        convention: Of those other metrics.

    Raises:
        RequestError: A name that is none of these, or an option that cannot be.
    """
    if not names:
        return tuple(line for line in lines if not line.on_request)
    known = {line.name for line in lines} | {line.how.name for line in lines}
    others = [name for name in dict.fromkeys(names) if name not in known]
    for name in others:
        if name.partition(":")[0] not in metrics():
            raise unknown(name, {*known, *metrics()}, "line or metric")
    sets = dict.fromkeys(line.on for line in lines if line.on)
    more = [_line_of(name, on, convention) for name in others for on in sets]
    wanted = {line.name for line in lines if {line.name, line.how.name} & set(names)}
    for line in reversed(lines):  # inputs come first, so one pass from the end finds them all
        if line.name in wanted:
            wanted |= set(line.inputs)
    return (*(line for line in lines if line.name in wanted), *more)


def _line_of(text: str, on: str, convention: str) -> Line:
    """A metric, with options behind colons, on an item set."""
    name, *given = text.split(":")
    pairs = [each.partition("=") for each in given]
    for key, equals, value in pairs:
        if not (key and equals and value):
            raise RequestError(
                f"{text!r} is not NAME:option=value",
                where="--metrics",
                remedy=f"see `unbelief metrics {name}` for its options",
            )
    options = {key: value for key, _, value in pairs}
    how = conventions.metric(name, convention, options)
    label = "" if not given else f"[{','.join(given)}]"
    return Line(name=f"{on}_{name}{label}", how=how, on=on)


def _check_ids(sets: Mapping[str, tuple[Record, ...]]) -> None:
    for name, records in sets.items():
        seen: dict[str, Record] = {}
        for record in records:
            other = seen.setdefault(record.id, record)
            if other is not record:
                raise RequestError(
                    f"the id {record.id!r} is there twice in {name}",
                    where=record.source or record.id,
                    remedy=f"give every row its own id (the other one: {other.source})",
                )
