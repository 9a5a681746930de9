"""What installed packages add, through entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from unbelief.errors import RequestError


def plugins(group: str) -> Iterator[tuple[EntryPoint, object]]:
    """Entry points of a group with what they name.

    Raises:
        RequestError: One cannot be loaded, whatever it raised.
    """
    for point in entry_points(group=group):
        try:
            yield point, point.load()
        except Exception as error:
            raise defect(point, f"cannot be loaded: {type(error).__name__}: {error}") from error


def defect(point: EntryPoint, what: str) -> RequestError:
    """The error for a plugin that is not what its group takes."""
    package = point.dist.name if point.dist is not None else "its package"
    return RequestError(
        f"the entry point {point.value!r} {what}",
        where=f"{point.group}: {point.name}",
        remedy=f"mend {package}, or uninstall it",
    )


def missing_words(kind: type, names: tuple[str, ...]) -> str | None:
    """What a class lacks of the words that lists and results show, in words; None: nothing."""
    for name in names:
        value = getattr(kind, name, None)
        if not (isinstance(value, str) and value.strip()):
            return f"has no {name}, a text"
    return None if (kind.__doc__ or "").strip() else "has no docstring"
