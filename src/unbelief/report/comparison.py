"""Runs side by side: one line per measure, one column per run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unbelief.report.audit_document import Number
from unbelief.report.numbers import Cell, cell
from unbelief.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measure of every run.

    Attributes:
        name: As in the results.
        title: In words.
        about: Unit, and what a forgotten record shows.
        numbers: Per column; None where a run does not have it.
        why_missing: Per column, why there is none.
    """

    name: str
    title: str
    about: str
    numbers: tuple[Number | None, ...]
    why_missing: tuple[str, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """As a table shows them."""
        pairs = zip(self.numbers, self.why_missing, strict=True)
        return tuple(cell(number, why_missing=why) for number, why in pairs)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A table of the comparison."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    def table(self) -> Table:
        """The same as texts."""
        rows = [(ln.title, ln.about, *(c.text() for c in ln.cells)) for ln in self.lines]
        return Table(title=self.title, head=("Measure", "Unit", *self.columns), rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a report on several runs shows.

    Attributes:
        title: Of the page.
        runs: Label and facts of every run, by fact.
        warnings: Why numbers of different runs may not be comparable.
        parts: The tables.
        notes: What the runs themselves note.
    """

    title: str
    runs: tuple[tuple[str, Mapping[str, str]], ...]
    warnings: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def runs_table(self) -> Table:
        """What every run is of."""
        facts = dict.fromkeys(name for _, about in self.runs for name in about)
        rows = tuple((label, *(about.get(f, "") for f in facts)) for label, about in self.runs)
        return Table(title="Runs", head=("Run", *facts), rows=rows)
