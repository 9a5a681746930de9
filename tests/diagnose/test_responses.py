"""The user's responses: read with line numbers, refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.diagnose.common import RECORDS
from unbelief.diagnose.responses import Response, read_responses
from unbelief.errors import RequestError


def test_rows_with_and_without_id(tmp_path: Path) -> None:
    rows = [
        {"response": "No idea.", "name": "refusal"},
        {"response": "In Rome!", "id": "f0"},
    ]
    path = tmp_path / "r.jsonl"
    path.write_text("\n\n".join(json.dumps(r) for r in rows))
    assert read_responses(path, RECORDS) == [
        Response("refusal", "No idea."),
        Response("response", "In Rome!", "f0"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no text in `response`"),
        ('{"response": 3}', "no text in `response`"),
        ('{"response": " "}', "the response is empty"),
        ('{"response": "x", "record": "f0"}', "unknown field 'record'"),
        ('{"response": "x", "id": "f9"}', "no forget record 'f9'"),
        ('{"response": "x", "name": "target"}', "not a name for a curve"),
        ('{"response": "x", "name": ""}', "not a name for a curve"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"response": "fine"}\n' + line + "\n")
    with pytest.raises(RequestError, match=message) as caught:
        read_responses(path, RECORDS)
    assert caught.value.where == f"{path}:2" and caught.value.remedy


def test_no_file_and_no_responses(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot read"):
        read_responses(tmp_path / "none.jsonl", RECORDS)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(RequestError, match="no responses"):
        read_responses(tmp_path / "empty.jsonl", RECORDS)
