"""What the columns of a file mean: from a row to a `Record`.

The format is detected once per file, at its first row, and named in every message:

    messages               a conversation; its last turn is the assistant's answer
    question/choices/answer  multiple choice; `answer` is the position of the right choice, from 0
    prompt/completion      text or message lists (also prompt/answer)
    question/answer        with paraphrased_question, paraphrased_answer, perturbed_answer (TOFU)
    instruction/output     with an optional input (Alpaca); prompt = instruction, blank line, input
    text                   no prompt: every token is answer

In each of them `id`, `group` (or `author`, `subject`, `document`, the first that is filled),
`paraphrased_prompt`, `paraphrases`, `perturbed` and `facts` may be given too. Other columns are
ignored.
"""

from __future__ import annotations

from typing import Any

from unbelief.data import fields
from unbelief.data.layout import OPTIONAL, Layout, written
from unbelief.data.lines import Row
from unbelief.data.problems import BadRow, describe, names
from unbelief.types import Message, Record


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
        facts=fields.texts(*_optional(values, layout, "facts")),
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
            f"the columns {names(filled)} both hold {field!r}",
            f"keep one, or map one: {written({field: filled[0]})}",
        )
    column = filled[0] if filled else OPTIONAL[field][0]
    return values.get(column), column


def as_row(record: Record) -> dict[str, Any]:
    """Return a record as a row that `read_records` reads back unchanged (but for its `source`).

    Multiple choice becomes `question/choices/answer`, a record without a prompt `text`, all others
    `prompt/answer`. Fields that are not set are left out.
    """
    prompt: Any = record.prompt
    if isinstance(prompt, tuple):
        prompt = [{"role": turn.role, "content": turn.content} for turn in prompt]
    row: dict[str, Any] = {"id": record.id}
    if record.choices:
        row |= {
            "question": prompt,
            "choices": list(record.choices),
            "answer": record.correct_choice,
        }
    elif prompt is None:
        row["text"] = record.answer
    else:
        row |= {"prompt": prompt, "answer": record.answer}
    further = {
        "group": record.group,
        "paraphrased_prompt": record.paraphrased_prompt,
        "paraphrases": list(record.paraphrases),
        "perturbed": list(record.perturbed),
        "facts": list(record.facts),
    }
    return row | {field: value for field, value in further.items() if value}
