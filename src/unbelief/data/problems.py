"""Bad rows, collected so that one run names up to ten of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from unbelief.errors import DataError

MAX_PROBLEMS = 10
"""Reading stops at this many bad rows: enough to see the pattern, short enough to read."""


class BadRow(Exception):
    """Raised while one row is converted; the reader adds the file and the line.

    Args:
        message: What was found, and where in the row. Never the text itself: a forget set is
            private, and error messages end up in logs.
        remedy: What to do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message, self.remedy = message, remedy
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad row: where it is, what was found, what to do."""

    where: str
    message: str
    remedy: str


class Problems:
    """Collects bad rows and raises them together as one `DataError`."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, where: str, message: str, remedy: str) -> None:
        """Note a bad row.

        Raises:
            DataError: When it is the tenth.
        """
        self._found.append(Problem(where, message, remedy))
        if len(self._found) >= MAX_PROBLEMS:
            self._raise(stopped=True)

    def fail(self, where: str, message: str, remedy: str) -> NoReturn:
        """Note a problem after which the file cannot be read any further, and raise.

        Raises:
            DataError: Always.
        """
        self._found.append(Problem(where, message, remedy))
        self._raise(stopped=False)

    def check(self) -> None:
        """Raise what was collected, if anything.

        Raises:
            DataError: When there is at least one bad row.
        """
        if self._found:
            self._raise(stopped=False)

    def _raise(self, *, stopped: bool) -> NoReturn:
        first = self._found[0]
        if len(self._found) == 1:
            raise DataError(first.message, where=first.where, remedy=first.remedy)
        lines = [f"{len(self._found)} bad rows"]
        lines += [f"  {p.where}: {p.message}" for p in self._found]
        if stopped:
            lines.append(f"  (reading stopped at {MAX_PROBLEMS} bad rows; there may be more)")
        remedies = dict.fromkeys(p.remedy for p in self._found)
        raise DataError("\n".join(lines), where=first.where, remedy="\n    ".join(remedies))


def describe(value: object) -> str:
    """Say what kind of value was found, without showing its text.

    Returns:
        For example `null`, `a number (int)`, `a list of 3 items`, `an empty text`.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"a number ({type(value).__name__})"
    if isinstance(value, str):
        return f"a text of {len(value)} characters" if value.strip() else "an empty text"
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    if isinstance(value, dict):
        return f"an object with keys {names(value)}"
    return f"a {type(value).__name__}"


def names(columns: object) -> str:
    """List column names for a message: at most eight, each at most 30 characters.

    A table without a header has data where its names should be, so names are cut short.
    """
    found = [str(c) for c in columns] if hasattr(columns, "__iter__") else [str(columns)]
    shown = [repr(c if len(c) <= 30 else c[:27] + "...") for c in found[:8]]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return (", ".join(shown) + more) or "none"
