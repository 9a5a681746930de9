"""Which column holds which field, decided once per file."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from unbelief.data.problems import describe, names
from unbelief.errors import DataError, RequestError

PRIMARY = ("messages", "text", "prompt", "answer", "choices", "input")
OPTIONAL: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "group": ("group", "author", "subject", "document"),
    "paraphrased_prompt": ("paraphrased_prompt", "paraphrased_question"),
    "paraphrases": ("paraphrases", "paraphrased_answer"),
    "perturbed": ("perturbed", "perturbed_answer"),
    "facts": ("facts", "key_facts"),
}
"""Optional fields and the columns they are read from when no mapping says otherwise."""

FIELDS = (*PRIMARY, *OPTIONAL)
"""What a column mapping may name."""

_FORMATS: tuple[tuple[str, dict[str, str]], ...] = (
    ("messages", {"messages": "messages"}),
    (
        "question/choices/answer",
        {"prompt": "question", "choices": "choices", "answer": "answer"},
    ),
    ("prompt/completion", {"prompt": "prompt", "answer": "completion"}),
    ("prompt/answer", {"prompt": "prompt", "answer": "answer"}),
    ("question/answer", {"prompt": "question", "answer": "answer"}),
    ("instruction/output", {"prompt": "instruction", "answer": "output"}),
    ("text", {"text": "text"}),
)
_SUBSUMED = {"question/answer": "question/choices/answer"}
"""A format that always matches along with a richer one, which then wins."""

_KNOWN = ", ".join(name for name, _ in _FORMATS)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column holds which field, decided once per file.

    Attributes:
        name: The format, as messages name it.
        primary: Field to column for the fields that make the format.
        mapped: Field to column for the optional fields named by the user.
    """

    name: str
    primary: dict[str, str]
    mapped: dict[str, str]

    @property
    def used(self) -> frozenset[str]:
        """Every column that this layout may read."""
        found = set(self.primary.values()) | set(self.mapped.values())
        for field, aliases in OPTIONAL.items():
            if field not in self.mapped:
                found |= set(aliases)
        return frozenset(found)


def check_mapping(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Check a column mapping (field -> column) as far as that is possible without the file.

    Raises:
        RequestError: For an unknown field or a name that is not text.
    """
    mapping = dict(columns or {})
    for field, column in mapping.items():
        if field not in FIELDS:
            raise RequestError(
                f"there is no field {field!r}",
                where="columns",
                remedy=f"map one of {', '.join(FIELDS)} to a column of the file",
            )
        if not isinstance(column, str) or not column:
            raise RequestError(
                f"field {field!r} is mapped to {describe(column)}, expected a column name",
                where="columns",
                remedy=f"write {written({field: 'COLUMN'})}",
            )
    named = set(mapping) & set(PRIMARY)
    for alone in ("messages", "text"):
        if alone in named and len(named) > 1:
            raise RequestError(
                f"{alone!r} is mapped together with {names(sorted(named - {alone}))}",
                where="columns",
                remedy=f"{alone!r} holds the whole example: map it alone, or map prompt and answer",
            )
    return mapping


def detect(available: Collection[str], mapping: Mapping[str, str], where: str) -> Layout:
    """Decide the format from the columns of the first row and the user's mapping.

    Args:
        available: Column names.
        mapping: Checked by `check_mapping`.
        where: `file:line` of the first row.

    Raises:
        DataError: When no format fits, or several do.
    """
    optional = {f: c for f, c in mapping.items() if f in OPTIONAL}
    chosen = {f: c for f, c in mapping.items() if f in PRIMARY}
    if chosen:
        primary = _complete(chosen, available, where)
        return Layout("/".join(primary.values()) + " (mapped)", primary, optional)
    matches = [
        (name, roles) for name, roles in _FORMATS if all(c in available for c in roles.values())
    ]
    found = {name for name, _ in matches}
    matches = [m for m in matches if _SUBSUMED.get(m[0]) not in found]
    if len(matches) > 1:  # `text` beside a structured format is that format rendered (Alpaca)
        matches = [m for m in matches if m[0] != "text"]
    if not matches:
        raise DataError(
            f"no known format: the columns are {names(available)}",
            where=where,
            remedy=f"use one of {_KNOWN}, or name the columns: {_hint(available)}",
        )
    if len(matches) > 1:
        raise DataError(
            f"the columns {names(available)} fit several formats: "
            + ", ".join(name for name, _ in matches),
            where=where,
            remedy=f"say which columns are meant, for example {written(matches[0][1])}",
        )
    name, roles = matches[0]
    primary = dict(roles)
    if name == "instruction/output" and "input" in available:
        primary["input"] = "input"
    return Layout(name, primary, optional)


def _complete(chosen: dict[str, str], available: Collection[str], where: str) -> dict[str, str]:
    """Add to a mapping what it leaves open, as long as the file answers it."""
    if "messages" in chosen or "text" in chosen:
        return chosen
    primary = dict(chosen)
    for field, aliases in (
        ("prompt", ("prompt", "question", "instruction")),
        ("answer", ("completion", "answer", "output")),
    ):
        if field in primary:
            continue
        fitting = [c for c in aliases if c in available and c not in primary.values()]
        if len(fitting) != 1:
            raise DataError(
                f"the mapping names no {field}, and the columns are {names(available)}",
                where=where,
                remedy=f"map it: {written({field: 'COLUMN'})}; documents without a prompt: "
                + written({"text": "COLUMN"}),
            )
        primary[field] = fitting[0]
    if "choices" in available and "choices" not in primary and "answer" not in chosen:
        primary["choices"] = "choices"
    return {f: primary[f] for f in PRIMARY if f in primary}


def _hint(available: Collection[str]) -> str:
    """Suggest a mapping from column names that differ in case or spaces only."""
    plain = {str(c).strip().casefold(): str(c) for c in available}
    for _, roles in _FORMATS:
        if all(c in plain for c in roles.values()):
            return written({f: plain[c] for f, c in roles.items()})
    return written({"prompt": "COLUMN", "answer": "COLUMN"})


def written(mapping: Mapping[str, str]) -> str:
    """Write a column mapping as it is given on the command line and in Python."""
    flags = " ".join(f"--set columns.{f}={shlex.quote(c)}" for f, c in mapping.items())
    return f"{flags} (in Python: columns={dict(mapping)!r})"


def check_columns(mapping: Mapping[str, str], seen: Collection[str], where: str) -> None:
    """Check that every mapped column occurs somewhere in the file.

    Raises:
        DataError: When one does not (most likely a typing error).
    """
    for field, column in mapping.items():
        if column not in seen:
            raise DataError(
                f"field {field!r} is mapped to the column {column!r}, which is not there; the "
                f"columns are {names(seen)}",
                where=where,
                remedy="correct the name (capitals and spaces count)",
            )
