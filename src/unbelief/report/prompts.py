"""Prompts and responses for the page: as data for its script, and as rows for readers without.

What a model said is data of strangers. It gets onto the page in two ways only: as JSON in which no
character can end the block it stands in, and through a template that escapes everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unbelief.report.audit_document import AuditDocument, PromptRow, Response
from unbelief.report.audit_views import FLAGS, ROLES, in_words, score_names, worst_first
from unbelief.report.numbers import plain, whole
from unbelief.report.visible import pieces, visible

ROWS_WITHOUT_SCRIPT = 200
COLUMNS = 4
_FIRST = ("key_fact_recall", "rougeL_recall", "probability", "extraction_strength")
"""Scores that get a column before others where there are more than fit."""
_IN_SCRIPT = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def json_block(value: object) -> Markup:
    r"""JSON for a `<script type="application/json">`: nothing in it can end the block.

    `<`, `>` and `&` occur in JSON only inside of strings, where `\u003c` means the same; so do the
    two separators that were line ends in JavaScript. NaN and infinities are refused.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_IN_SCRIPT))  # cannot hold a tag, see above


def prompt_data(document: AuditDocument) -> dict[str, Any]:
    """Everything the table of prompts shows, worst flag first.

    A text with leaking words is a list: plain, marked, plain, ... A score is a pair of the number
    to sort by (None: unscored) and the text to show.
    """
    names = score_names(document)
    return {
        "scores": [visible(in_words(name)) for name in names],
        "columns": columns(names),
        "flags": [flag for flag, _ in FLAGS],
        "rows": [_row(prompt, names) for prompt in worst_first(document.prompts)],
    }


def columns(names: Sequence[str]) -> list[int]:
    """Which scores have a column of their own; all of them are in the details of a prompt."""
    wanted = [name for name in _FIRST if name in names]
    wanted += [name for name in names if name not in wanted]
    return sorted(names.index(name) for name in wanted[:COLUMNS])


def _row(prompt: PromptRow, names: Sequence[str]) -> dict[str, Any]:
    return {
        "id": visible(prompt.id),
        "group": visible(prompt.group or ""),
        "flag": prompt.flag,
        "why": visible(prompt.why),
        "prompt": visible(prompt.prompt),
        "truth": pieces(prompt.truth, prompt.facts),
        "facts": [visible(fact) for fact in prompt.facts],
        "scores": [_score(prompt.scores.get(name)) for name in names],
        "responses": [_response(one) for one in prompt.responses],
    }


def _score(value: float | None) -> list[Any]:
    shown = plain(value)
    return [None, shown] if shown == plain(None) else [value, shown]


def _response(response: Response) -> dict[str, Any]:
    return {
        "by": speaker(response.by),
        "text": pieces(response.text, response.words),
        "words": [visible(word) for word in response.words],
    }


def speaker(by: str) -> str:
    """Who said it, in words: `unlearned under relearning` begins with a capital letter."""
    titles: Mapping[str, str] = {role: f"{title} model" for role, title in ROLES}
    return titles.get(by, visible(by[:1].upper() + by[1:]))


def rows_without_script(data: Mapping[str, Any]) -> dict[str, Any]:
    """The first rows, and how many there are: shown where no script runs."""
    rows = data["rows"]
    return {
        "rows": rows[:ROWS_WITHOUT_SCRIPT],
        "shown": whole(min(len(rows), ROWS_WITHOUT_SCRIPT)),
        "total": whole(len(rows)),
        "all": len(rows) <= ROWS_WITHOUT_SCRIPT,
    }
