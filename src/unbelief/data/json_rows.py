"""Rows of JSON files: one object per line, or a list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from unbelief.data.lines import Row, numbered_lines
from unbelief.data.problems import Problems, describe, names


class _NotJson(ValueError):
    """Valid for Python's parser, but not JSON or not unambiguous."""


def _no_constants(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not a JSON value")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = names(sorted({key for key in keys if keys.count(key) > 1}))
        raise _NotJson(f"the key {twice} is there twice")
    return values


_DECODER = json.JSONDecoder(parse_constant=_no_constants, object_pairs_hook=_unique_keys)


def _json_fault(error: Exception) -> str:
    """Say what is wrong with a JSON text, without quoting it."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} (character {error.colno})"
    if isinstance(error, _NotJson):
        return f"not valid JSON: {error}"
    if isinstance(error, RecursionError):
        return "not a table row: nested too deeply"
    return "a number with more digits than can be read"


_JSON_FAULTS = (ValueError, RecursionError)
_JSON_REMEDY = "mend this line; write rows with `json.dumps` (null for a missing value)"


def read_jsonl(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the objects of a file of JSON lines; blank lines are passed over.

    Raises:
        DataError: When the file cannot be read on; lines that are not rows go to `problems`.
    """
    count = 0
    for number, line in numbered_lines(path, problems):
        if not line.strip():
            continue
        count += 1
        where = f"{path}:{number}"
        try:
            values = _DECODER.decode(line)
        except _JSON_FAULTS as error:
            if count == 1 and line.strip() in ("{", "["):
                problems.fail(
                    where,
                    "JSON spread over several lines; here every line is one row",
                    "write one object per line, or a list of objects in a .json file",
                )
            problems.add(where, _json_fault(error), _JSON_REMEDY)
            continue
        if isinstance(values, dict):
            yield Row(where, count, values)
        else:
            problems.add(
                where,
                f"the row is {describe(values)}, not an object with columns",
                'write rows as objects, {"prompt": ..., "answer": ...}; a list of objects '
                "belongs into a .json file",
            )


def read_json(path: Path, problems: Problems) -> Iterator[Row]:
    """Yield the objects of a JSON list, or of JSON lines under the ending `.json`.

    Raises:
        DataError: When the list cannot be read on; items that are not rows go to `problems`.
    """
    text = "".join(line for _, line in numbered_lines(path, problems))
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "{":
        # Several hubs serve JSON lines under the ending .json.
        yield from read_jsonl(path, problems)
        return
    if text[start : start + 1] != "[":
        if text.strip():
            _fail_json(path, text, start, "the file is not a list of rows", problems)
        return
    yield from _items(path, text, start + 1, problems)


def _items(path: Path, text: str, position: int, problems: Problems) -> Iterator[Row]:
    """Decode a JSON list item by item, so that every row knows its line."""
    count, line, seen, separator = 0, 1, 0, ""
    while True:
        position = _skip_space(text, position)
        mark = text[position : position + 1]
        if mark == "]" and separator != ",":
            break
        if separator == "" and count > 0:
            if mark != ",":
                _fail_json(path, text, position, "expected ',' or ']' after a row", problems)
            separator, position = ",", position + 1
            continue
        line, seen = line + text.count("\n", seen, position), position
        where = f"{path}:{line}"
        try:
            values, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            _fail_json(path, text, error.pos, f"not valid JSON: {error.msg}", problems)
        except _JSON_FAULTS as error:
            problems.fail(
                where, f"{_json_fault(error)} (in the row that starts here)", _JSON_REMEDY
            )
        count, separator = count + 1, ""
        if isinstance(values, dict):
            yield Row(where, count, values)
        else:
            problems.add(
                where,
                f"the row is {describe(values)}, not an object with columns",
                'write rows as objects, {"prompt": ..., "answer": ...}',
            )
    if text[position + 1 :].strip():
        _fail_json(path, text, position + 1, "there is more text after the list", problems)


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\n", "\r"):
        position += 1
    return position


def _fail_json(path: Path, text: str, at: int, message: str, problems: Problems) -> NoReturn:
    line = text.count("\n", 0, at) + 1
    remedy = "write a list of objects, [{...}, {...}], or one object per line in a .jsonl file"
    problems.fail(f"{path}:{line}", message, remedy)
