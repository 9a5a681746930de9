"""What is judged: a question, its true answer, and what a model said instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbelief.data.fields import conversation, label, text, texts
from unbelief.data.lines import SUFFIXES, stem_of, suffix_of
from unbelief.data.problems import BadRow, Problems
from unbelief.data.rows import read_rows
from unbelief.errors import DataError, RequestError
from unbelief.types import Message

_PROMPTS = ("prompt", "question")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One response to be judged. The judge sees prompt, answer and response, nothing else.

    Attributes:
        id: Unique within its label.
        prompt: What the model was asked; None for documents without a prompt.
        answer: The true answer, which was to be forgotten.
        response: What the model said; may be empty.
        group: Author or document; the cluster for intervals.
        label: Which model or method said it; results are given per label. Never shown to a judge.
        paraphrases: Other true ways to say the answer; they make control items.
    """

    id: str
    prompt: str | tuple[Message, ...] | None
    answer: str
    response: str
    group: str | None = None
    label: str = ""
    paraphrases: tuple[str, ...] = ()


def read_items(path: str | Path) -> tuple[Item, ...]:
    """Read responses from a file of rows: `prompt` (or `question`), `answer`, `response`.

    Optional columns: `id` (else `FILE:ROW`), `group`, `label`, `paraphrases`. Others are not read
    and reach no judge.

    Raises:
        DataError: A row is malformed; says `file:line` and column.
        RequestError: The file cannot be read.
    """
    file = Path(path).expanduser()
    if not suffix_of(file) or not file.is_file():
        raise RequestError(
            "there is no such file of responses",
            where=str(path),
            remedy=f"give a file ending in {', '.join(SUFFIXES)}",
        )
    problems = Problems()
    items: dict[tuple[str, str], Item] = {}
    for row in read_rows(file, problems):
        try:
            item = _item(row.values, f"{stem_of(file)}:{row.number}")
        except BadRow as bad:
            problems.add(row.where, bad.message, bad.remedy)
            continue
        if items.setdefault((item.label, item.id), item) is not item:
            under = " under this label" if item.label else ""
            remedy = "give every row its own id, or remove the column"
            problems.add(row.where, f"the id is there twice{under}", remedy)
    problems.check()
    return check_items(tuple(items.values()), where=f"{file}:1")


def check_items(items: Sequence[Item], *, where: str = "items") -> tuple[Item, ...]:
    """Refuse a batch that is empty or names an item twice.

    Raises:
        DataError: It is.
    """
    if not items:
        raise DataError("there are no responses", where=where, remedy="give at least one row")
    if len({(item.label, item.id) for item in items}) != len(items):
        raise DataError(
            "two items of a label have the same id",
            where=where,
            remedy="give every item an id of its own",
        )
    return tuple(items)


def _item(values: Mapping[str, object], name: str) -> Item:
    prompt = next((values[column] for column in _PROMPTS if column in values), None)
    for column in ("answer", "response"):
        if column not in values:
            raise BadRow(
                f"there is no column {column!r}",
                "a row has prompt, answer (the true one) and response (what the model said)",
            )
    return Item(
        id=label(values.get("id"), "id") or name,
        prompt=_prompt(prompt),
        answer=text(values["answer"], "answer"),
        response=_response(values["response"]),
        group=label(values.get("group"), "group"),
        label=label(values.get("label"), "label") or "",
        paraphrases=texts(values.get("paraphrases"), "paraphrases"),
    )


def _prompt(value: object) -> str | tuple[Message, ...] | None:
    if value is None:
        return None
    return conversation(value, "prompt") if isinstance(value, list) else text(value, "prompt")


def _response(value: object) -> str:
    # A collapsed model may say nothing at all, or only blanks: that is a response.
    if isinstance(value, str) and not value.strip():
        return value
    return text(value, "response")
