"""Errors for people.

    UnbeliefError
    ├── RequestError      exit 2   the request is wrong; nothing was written
    │   └── DataError              ... and it is this row of this file
    ├── GuardError        exit 3   a guard stopped the run; what was finished is kept and named
    ├── Inconclusive      exit 4   the question cannot be answered with what was given
    └── Interrupted       exit 130 stopped by the user; the same command resumes

Every message says what is wrong, where, and how to mend it. An exception outside this tree is a
bug of ours (exit 1).
"""

from __future__ import annotations


class UnbeliefError(Exception):
    """Root of all errors raised on purpose.

    Args:
        message: What is wrong, in one sentence.
        where: `file:line`, a flag or a field, when there is one.
        remedy: What to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None):
        self.message, self.where, self.remedy = message, where, remedy
        head = f"{where}: {message}" if where else message
        super().__init__(f"{head}\n  remedy: {remedy}" if remedy else head)


class RequestError(UnbeliefError):
    """The request cannot be carried out as it stands; nothing was written."""

    exit_code = 2


class DataError(RequestError):
    """A row (or file) of the user's data is malformed."""


class GuardError(UnbeliefError):
    """A guard stopped the run (for example a loss that is not finite)."""

    exit_code = 3


class Inconclusive(UnbeliefError):
    """The question cannot be answered with what was given."""

    exit_code = 4


class Interrupted(UnbeliefError):
    """Stopped by the user; the same command resumes."""

    exit_code = 130
