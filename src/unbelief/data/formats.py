"""What the columns of a file mean: from a row to a `Record`.

The format is detected once per file, at its first row, and named in every message:

    messages               a conversation; its last turn is the assistant's answer
    question/choices/answer  multiple choice; `answer` is the position of the right choice, from 0
    prompt/completion      text or message lists (also prompt/answer)
    question/answer        with paraphrased_question, paraphrased_answer, perturbed_answer (TOFU)
    instruction/output     with an optional input (Alpaca); prompt = instruction, blank line, input
    text                   no prompt: every token is answer

In each of them `id`, `group` (or `author`, `subject`, `document`, the first that is filled),
`paraphrased_prompt`, `paraphrases` and `perturbed` may be given too. Other columns are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from unbelief.data import fields
from unbelief.data.problems import BadRow, describe, names
from unbelief.data.rows import Row
from unbelief.errors import DataError, RequestError
from unbelief.types import Message, Record

PRIMARY = ("messages", "text", "prompt", "answer", "choices", "input")
OPTIONAL: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "group": ("group", "author", "subject", "document"),
    "paraphrased_prompt": ("paraphrased_prompt", "paraphrased_question"),
    "paraphrases": ("paraphrases", "paraphrased_answer"),
    "perturbed": ("perturbed", "perturbed_answer"),
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
_SUBSUMED = {"question/answer": "question/choices/answer", "prompt/answer": "prompt/completion"}
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
                remedy="write field=column",
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
            remedy="say which columns are meant, with a mapping such as "
            + " ".join(f"{f}={c}" for f, c in matches[0][1].items()),
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
                remedy=f"map it: {field}=COLUMN (or text=COLUMN for documents without a prompt)",
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
            return "columns " + " ".join(f"{f}={plain[c]!r}" for f, c in roles.items())
    return "columns prompt=COLUMN answer=COLUMN"


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


def to_record(row: Row, layout: Layout, fallback_id: str) -> Record:
    """Convert one row.

    Raises:
        BadRow: When a field is missing or malformed.
    """
    values = row.values
    missing = [c for f, c in layout.primary.items() if f != "input" and c not in values]
    if missing:
        raise BadRow(
            f"column {names(missing)} is missing (format {layout.name}); the columns are "
            f"{names(values)}",
            "give every row of a file the same columns",
        )
    prompt, answer, choices, correct = _primary(values, layout)
    paraphrased = _optional(values, layout, "paraphrased_prompt")
    return Record(
        id=fields.label(*_optional(values, layout, "id")) or fallback_id,
        prompt=prompt,
        answer=answer,
        group=fields.label(*_optional(values, layout, "group")),
        paraphrased_prompt=None if paraphrased[0] in (None, "") else fields.text(*paraphrased),
        paraphrases=fields.texts(*_optional(values, layout, "paraphrases")),
        perturbed=fields.texts(*_optional(values, layout, "perturbed")),
        choices=choices,
        correct_choice=correct,
        source=row.where,
    )


_Primary = tuple[str | tuple[Message, ...] | None, str, tuple[str, ...], int | None]


def _primary(values: dict[str, Any], layout: Layout) -> _Primary:
    """Return prompt, answer, choices and the correct choice."""
    columns = layout.primary
    if "text" in columns:
        return None, fields.text(values[columns["text"]], columns["text"]), (), None
    if "messages" in columns:
        column = columns["messages"]
        prompt, answer = _split(fields.conversation(values[column], column), column)
        return prompt, answer, (), None
    question = _prompt(values[columns["prompt"]], columns["prompt"])
    given = values[columns["answer"]]
    if "choices" in columns:
        choices = _choices(values[columns["choices"]], columns["choices"])
        correct = fields.index(given, columns["answer"], choices)
        return question, choices[correct], choices, correct
    if "input" in columns and values.get(columns["input"]) not in (None, ""):
        extra = fields.text(values[columns["input"]], columns["input"])
        if not isinstance(question, str):
            raise BadRow("an input beside a conversation", "put it into the conversation")
        question = f"{question}\n\n{extra}"
    return question, _answer(given, columns["answer"]), (), None


def _choices(value: object, column: str) -> tuple[str, ...]:
    items = fields.listed(value, column, "a list of texts")
    choices = tuple(fields.text(item, f"{column}[{i}]") for i, item in enumerate(items))
    if len(choices) < 2:
        raise BadRow(
            f"column {column!r} has {len(choices)} choices, expected at least 2",
            "add the other choices, or drop the column and write the answer as text",
        )
    return choices


def _prompt(value: object, column: str) -> str | tuple[Message, ...]:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(
            f"column {column!r} is {describe(value)}",
            "fill it, or use the format `text` for documents without a prompt",
        )
    if not isinstance(value, list):
        return fields.text(value, column)
    turns = fields.conversation(value, column)
    if turns[-1].role != "user":
        raise BadRow(
            f"column {column!r} ends with a turn of the {turns[-1].role}, expected the user",
            "let the prompt end with the user's turn; the assistant's belongs to the answer",
        )
    return turns


def _answer(value: object, column: str) -> str:
    if not isinstance(value, list):
        return fields.text(value, column)
    turns = fields.conversation(value, column)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise BadRow(
            f"column {column!r} is a conversation of {len(turns)} turns, expected one turn of the "
            "assistant",
            "move the turns before the answer into the prompt",
        )
    return turns[0].content


def _split(turns: tuple[Message, ...], column: str) -> tuple[tuple[Message, ...], str]:
    if turns[-1].role != "assistant":
        raise BadRow(
            f"column {column!r} ends with a turn of the {turns[-1].role}, expected the assistant",
            "let the last turn be the assistant's answer, or remove the row",
        )
    if len(turns) < 2 or turns[-2].role != "user":
        raise BadRow(
            f"column {column!r} has no turn of the user before the assistant's answer",
            "add it, or use the format `text` for documents without a prompt",
        )
    return turns[:-1], turns[-1].content


def _optional(values: dict[str, Any], layout: Layout, field: str) -> tuple[Any, str]:
    """Return (value, column) of an optional field; the value is None when it is absent."""
    if field in layout.mapped:
        column = layout.mapped[field]
        return values.get(column), column
    aliases = [a for a in OPTIONAL[field] if a not in layout.primary.values()]
    filled = [a for a in aliases if values.get(a) not in (None, "", [])]
    if len(filled) > 1 and field != "group":
        raise BadRow(
            f"the columns {names(filled)} both hold {field!r}", f"keep one, or map {field}=COLUMN"
        )
    column = filled[0] if filled else OPTIONAL[field][0]
    return values.get(column), column
