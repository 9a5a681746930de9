"""Every wrong file or argument gets its own message: place, what was found, what to do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbelief.data import read_records
from unbelief.errors import DataError, RequestError
from unbelief.types import Message, Record

GOOD = '{"prompt": "Who?", "answer": "Nobody."}\n'
CANARY = "canary-7f3a"
"""Stands for private text: it must never appear in a message."""


@dataclass(frozen=True)
class Case:
    """One malformed request.

    Attributes:
        name: For the test's id.
        file: Name of the input inside the temporary folder (may be a folder).
        content: Its bytes, text, rows (Parquet), or a function that builds it.
        found: What the message must say.
        line: Line the error must point at; None where there is no line to name.
        options: Further arguments of `read_records`.
        kind: The class of the error.
    """

    name: str
    file: str
    content: bytes | str | list[dict[str, Any]] | Callable[[Path], None] | None
    found: str
    line: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    kind: type[RequestError] = DataError


def row(**values: Any) -> str:
    return json.dumps(values) + "\n"


def turn(role: Any, content: Any, **further: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **further}


def folder(*files: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        path.mkdir()
        for name in files:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(GOOD)

    return build


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


USER, ANSWER = turn("user", "Who?"), turn("assistant", "Nobody.")
PARQUET = [{"prompt": "Who?", "answer": "Nobody."}]

JSON_LINES = [
    Case("null answer", "f.jsonl", GOOD + row(prompt="p", answer=None), "'answer' is null", 2),
    Case("empty answer", "f.jsonl", GOOD + row(prompt="p", answer=""), "'answer' is empty", 2),
    Case("blank answer", "f.jsonl", GOOD + row(prompt="p", answer=" \t"), "only white space", 2),
    Case("number answer", "f.jsonl", GOOD + row(prompt="p", answer=7), "a number (int)", 2),
    Case("bool answer", "f.jsonl", GOOD + row(prompt="p", answer=True), "'answer' is true", 2),
    Case("object answer", "f.jsonl", GOOD + row(prompt="p", answer={"a": 1}), "an object", 2),
    Case("huge integer", "f.jsonl", GOOD + row(prompt="p", answer=10**40), "a number (int)", 2),
    Case(
        "integer beyond the limit",
        "f.jsonl",
        GOOD + '{"prompt": "p", "answer": ' + "9" * 5000 + "}\n",
        "more digits",
        2,
    ),
    Case("float overflow", "f.jsonl", '{"prompt": "p", "answer": 1e999}', "number (float)", 1),
    Case("NaN literal", "f.jsonl", GOOD + '{"prompt": "p", "answer": NaN}\n', "NaN", 2),
    Case("Infinity", "f.jsonl", '{"prompt": "p", "answer": -Infinity}', "-Infinity", 1),
    Case("lone surrogate", "f.jsonl", row(prompt="p", answer="a\ud800b"), "surrogate", 1),
    Case("empty prompt", "f.jsonl", GOOD + row(prompt="", answer="a"), "an empty text", 2),
    Case("null prompt", "f.jsonl", GOOD + row(prompt=None, answer="a"), "'prompt' is null", 2),
    Case("missing column", "f.jsonl", GOOD + row(prompt="p", anwser="a"), "is missing", 2),
    Case("other format later", "f.jsonl", GOOD + "\n" + row(text="t"), "format prompt/answer", 3),
    Case("cut off", "f.jsonl", GOOD + '{"prompt": "p", "ans', "not valid JSON", 2),
    Case("duplicate key", "f.jsonl", '{"prompt":"p","answer":"a","answer":"b"}', "twice", 1),
    Case("row is a list", "f.jsonl", '["p", "a"]\n', "a list of 2 items", 1),
    Case("row is a text", "f.jsonl", GOOD + '"text"\n', "not an object", 2),
    Case("pretty-printed", "f.jsonl", json.dumps({"text": "t"}, indent=1), "several lines", 1),
    Case("too deep", "f.jsonl", GOOD + "[" * 200_000 + "\n", "nested too deeply", 2),
    Case("no file content", "f.jsonl", "", "no records", 1),
    Case("blank lines only", "f.jsonl", "\n\n\r\n", "no records", 1),
    Case("unknown columns", "f.jsonl", row(q="p", a="a"), "no known format", 1),
    Case("capitals", "f.jsonl", row(Prompt="p", Answer="a"), "no known format", 1),
    Case(
        "two formats",
        "f.jsonl",
        row(prompt="p", completion="c", question="q", answer="a"),
        "several formats",
        1,
    ),
    Case(
        "two answer columns",
        "f.jsonl",
        row(prompt="p", completion="c", answer="a"),
        "several formats",
        1,
    ),
    Case("duplicate ids", "f.jsonl", 2 * row(id="x", prompt="p", answer="a"), "f.jsonl:1", 2),
    Case(
        "id equals a row number",
        "f.jsonl",
        row(id="f:2", prompt="p", answer="a") + GOOD,
        "f.jsonl:1",
        2,
    ),
    Case("float id", "f.jsonl", row(id=1.5, prompt="p", answer="a"), "'id' is a number", 1),
    Case("bool group", "f.jsonl", row(group=True, prompt="p", answer="a"), "'group' is true", 1),
    Case(
        "null among false answers",
        "f.jsonl",
        row(prompt="p", answer="a", perturbed=["x", None]),
        "'perturbed[1]' is null",
        1,
    ),
    Case(
        "number among paraphrases",
        "f.jsonl",
        row(prompt="p", answer="a", paraphrases=["x", 3]),
        "'paraphrases[1]' is a number",
        1,
    ),
    Case(
        "two columns for one field",
        "f.jsonl",
        row(prompt="p", answer="a", perturbed=["x"], perturbed_answer=["y"]),
        "both hold 'perturbed'",
        1,
    ),
]

CONVERSATIONS = [
    Case("user last", "f.jsonl", row(messages=[USER, ANSWER, USER]), "turn of the user", 1),
    Case("no user", "f.jsonl", row(messages=[ANSWER]), "no turn of the user", 1),
    Case("no turns", "f.jsonl", row(messages=[]), "no messages", 1),
    Case("messages a text", "f.jsonl", row(messages="hello"), "expected a list of messages", 1),
    Case("turn a text", "f.jsonl", row(messages=["hello"]), "messages[0] is a text", 1),
    Case("role human", "f.jsonl", row(messages=[turn("human", "x"), ANSWER]), "'human'", 1),
    Case("role null", "f.jsonl", row(messages=[turn(None, "x"), ANSWER]), "role null", 1),
    Case("nested null", "f.jsonl", row(messages=[turn("user", None), ANSWER]), "is null", 1),
    Case(
        "content parts",
        "f.jsonl",
        row(messages=[turn("user", [{"type": "text", "text": CANARY}]), ANSWER]),
        "a list of 1 items",
        1,
    ),
    Case(
        "tool call",
        "f.jsonl",
        row(messages=[USER, turn("assistant", "x", tool_calls=[1])]),
        "'tool_calls'",
        1,
    ),
    Case(
        "late system turn",
        "f.jsonl",
        row(messages=[USER, turn("system", "x"), ANSWER]),
        "may only come first",
        1,
    ),
    Case(
        "prompt ends with the assistant",
        "f.jsonl",
        row(prompt=[USER, ANSWER], completion="c"),
        "turn of the assistant",
        1,
    ),
    Case(
        "completion of two turns",
        "f.jsonl",
        row(prompt=[USER], completion=[ANSWER, ANSWER]),
        "conversation of 2 turns",
        1,
    ),
]

CHOICES = [
    Case(
        "letter for the choice",
        "f.jsonl",
        row(question="q", choices=["x", "y"], answer="B"),
        "expected an integer",
        1,
    ),
    Case(
        "choice out of range",
        "f.jsonl",
        row(question="q", choices=["x", "y"], answer=2),
        "there are 2 choices",
        1,
    ),
    Case(
        "negative choice",
        "f.jsonl",
        row(question="q", choices=["x", "y"], answer=-1),
        "'answer' is -1",
        1,
    ),
    Case(
        "bool choice",
        "f.jsonl",
        row(question="q", choices=["x", "y"], answer=True),
        "'answer' is true",
        1,
    ),
    Case(
        "huge choice",
        "f.jsonl",
        row(question="q", choices=["x", "y"], answer=10**400),
        "outside",
        1,
    ),
    Case("one choice", "f.jsonl", row(question="q", choices=["x"], answer=0), "1 choices", 1),
    Case("choices a text", "f.jsonl", row(question="q", choices="x", answer=0), "is text", 1),
]

JSON_LISTS = [
    Case("item cut off", "f.json", '[{"text": "a"},\n{"text": ', "not valid JSON", 2),
    Case("list not closed", "f.json", '[{"text": "a"}\n', "expected ',' or ']'", 2),
    Case("comma at the end", "f.json", '[{"text": "a"},\n]', "not valid JSON", 2),
    Case("no comma", "f.json", '[{"text": "a"}\n{"text": "b"}]', "expected ','", 2),
    Case("text after the list", "f.json", '[{"text": "a"}]\n[]', "more text", 1),
    Case("item a number", "f.json", '[{"text": "a"},\n\n7]', "a number", 3),
    Case("bad item on line 3", "f.json", '[\n{"text": "a"},\n{"text": null}]', "is null", 3),
    Case("number alone", "f.json", "\n7", "not a list", 2),
    Case("NaN in a list", "f.json", '[\n{"text": NaN}]', "NaN", 2),
    Case("empty list", "f.json", "[]", "no records", 1),
    Case("dictionary of splits", "f.json", '{"train": [{"text": "a"}]}', "'train'", 1),
]

TABLES = [
    Case("empty cell", "f.csv", "prompt,answer\np,a\nq,\n", "'answer' is empty", 3),
    Case("too few cells", "f.csv", "prompt,answer\np,a\nq\n", "1 cells", 3),
    Case("too many cells", "f.csv", "prompt,answer\np,a,b\n", "3 cells", 2),
    Case(
        "line after quoted line breaks",
        "f.csv",
        'prompt,answer\n"p\n\nq","a\nb"\nr,\n',
        "'answer' is empty",
        6,
    ),
    Case("quote not closed", "f.csv", 'prompt,answer\np,a\nq,"b\nc\n', "starts here", 3),
    Case("text after a quote", "f.csv", 'prompt,answer\np,"a"b\n', "not a valid table", 2),
    Case("header only", "f.csv", "prompt,answer\n", "no records", 1),
    Case("header twice", "f.csv", "prompt,answer,answer\np,a,b\n", "'answer' is there twice", 1),
    Case("semicolons", "f.csv", "prompt;answer\np;a\n", "semicolons", 1),
    Case("tabs in a csv", "f.csv", "prompt\tanswer\np\ta\n", "tabs", 1),
    Case("no header", "f.csv", f"{CANARY * 5},a\np,b\n", "no known format", 2),
    Case("old Mac line ends", "f.csv", "prompt,answer\rp,a\r", "not a valid table", 1),
    Case(
        "Python list in a cell",
        "f.csv",
        "prompt,answer,perturbed\np,a,\"['x', 'y']\"\n",
        "expected a list of texts",
        2,
    ),
    Case("commas in a tsv", "f.tsv", "prompt,answer\np,a\n", "no known format", 2),
]

BYTES = [
    Case("UTF-16", "f.jsonl", GOOD.encode("utf-16"), "UTF-16", 1),
    Case("Latin-1 on line 2", "f.jsonl", GOOD.encode() + b'{"text": "caf\xe9"}\n', "0xe9", 2),
    Case("Latin-1 in a table", "f.csv", b"prompt,answer\np,a\nq,caf\xe9\n", "0xe9", 3),
    Case("truncated gz", "f.jsonl.gz", gzip.compress(GOOD.encode() * 50)[:-12], "damaged", None),
    Case("not gz", "f.jsonl.gz", GOOD, "damaged", 1),
    Case("gz without its ending", "f.jsonl", gzip.compress(GOOD.encode()), "gzip-compressed", 1),
    Case("Parquet as JSON lines", "f.jsonl", parquet_bytes(PARQUET), "is Parquet", 1),
    Case("JSON lines as Parquet", "f.parquet", GOOD, "not a readable Parquet", 1),
    Case("truncated Parquet", "f.parquet", parquet_bytes(PARQUET)[:-20], "not a readable", 1),
    Case("empty Parquet", "f.parquet", b"", "not a readable Parquet", 1),
]

PARQUETS = [
    Case("null", "f.parquet", [*PARQUET, {"prompt": "p", "answer": None}], "is null", 2),
    Case("numbers", "f.parquet", [{"prompt": "p", "answer": 1.0}], "a number (float)", 1),
    Case("NaN", "f.parquet", [{"prompt": "p", "answer": float("nan")}], "is NaN", 1),
    Case("bytes", "f.parquet", [{"prompt": "p", "answer": b"a"}], "a bytes", 1),
    Case(
        "null turn",
        "f.parquet",
        [{"messages": [USER, ANSWER]}, {"messages": [USER, None]}],
        "messages[1] is null",
        2,
    ),
    Case("no rows", "f.parquet", lambda p: empty_parquet(p), "no records", 1),
    Case("column twice", "f.parquet", lambda p: twice_parquet(p), "'answer' is there twice", 1),
]


def empty_parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)


def twice_parquet(path: Path) -> None:
    columns = [pa.array(["p"]), pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["prompt", "answer", "answer"]), path)


def asks(**options: Any) -> dict[str, Any]:
    return options


ARGUMENTS = [
    Case("no such file", "f.jsonl", None, "no such file", kind=RequestError),
    Case("unknown ending", "f.txt", "text", "unknown kind of file '.txt'", kind=RequestError),
    Case("no ending", "f", "text", "unknown kind", kind=RequestError),
    Case("split of a file", "f.jsonl", GOOD, "no splits", None, asks(split="t"), RequestError),
    Case("limit 0", "f.jsonl", GOOD, "limit is 0", None, asks(limit=0), RequestError),
    Case("limit true", "f.jsonl", GOOD, "limit is True", None, asks(limit=True), RequestError),
    Case("limit text", "f.jsonl", GOOD, "limit is '3'", None, asks(limit="3"), RequestError),
    Case(
        "groups of 0 rows",
        "f.jsonl",
        GOOD,
        "group_by_rows is 0",
        None,
        asks(group_by_rows=0),
        RequestError,
    ),
    Case(
        "groups twice",
        "f.jsonl",
        row(prompt="p", answer="a", author="x"),
        "has a group already",
        None,
        asks(group_by_rows=2),
        RequestError,
    ),
    Case(
        "mapping of an unknown field",
        "f.jsonl",
        GOOD,
        "no field 'promt'",
        None,
        asks(columns={"promt": "prompt"}),
        RequestError,
    ),
    Case(
        "mapping to nothing",
        "f.jsonl",
        GOOD,
        "expected a column name",
        None,
        asks(columns={"prompt": ""}),
        RequestError,
    ),
    Case(
        "mapping of text and prompt",
        "f.jsonl",
        GOOD,
        "mapped together",
        None,
        asks(columns={"text": "a", "prompt": "b"}),
        RequestError,
    ),
    Case(
        "mapped column is not there",
        "f.jsonl",
        row(q="p", a="x"),
        "'Q', which is not there",
        1,
        asks(columns={"prompt": "Q", "answer": "a"}),
    ),
    Case(
        "mapped id is not there",
        "f.jsonl",
        GOOD,
        "'uid', which is not there",
        1,
        asks(columns={"id": "uid"}),
    ),
    Case(
        "answer mapped, prompt unknown",
        "f.jsonl",
        row(q="p", a="x"),
        "names no prompt",
        1,
        asks(columns={"answer": "a"}),
    ),
]

FOLDERS = [
    Case("empty folder", "d", folder(), "no data file", kind=RequestError),
    Case("two splits", "d", folder("a.jsonl", "b.jsonl"), "a, b", kind=RequestError),
    Case(
        "unknown split",
        "d",
        folder("a.jsonl", "b.jsonl"),
        "no split 'c'",
        None,
        asks(split="c"),
        RequestError,
    ),
    Case(
        "same split twice", "d", folder("a.jsonl", "a.json"), "same split", None, {}, RequestError
    ),
    Case(
        "missing shard",
        "d",
        folder("a-00000-of-00002.jsonl"),
        "not complete",
        None,
        {},
        RequestError,
    ),
    Case("model folder", "d", folder("config.json"), "a model folder", kind=RequestError),
    Case("saved to disk", "d", folder("state.json", "x.arrow"), "save_to_disk", kind=RequestError),
]

CASES = [
    *JSON_LINES,
    *CONVERSATIONS,
    *CHOICES,
    *JSON_LISTS,
    *TABLES,
    *BYTES,
    *PARQUETS,
    *ARGUMENTS,
    *FOLDERS,
]


def build(case: Case, path: Path) -> None:
    if callable(case.content):
        case.content(path)
    elif isinstance(case.content, bytes):
        path.write_bytes(case.content)
    elif isinstance(case.content, str):
        path.write_bytes(case.content.encode())
    elif case.content is not None:
        path.write_bytes(parquet_bytes(case.content))


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(root.rglob("*"))}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_names_place_finding_and_remedy_and_writes_nothing(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    build(case, path)
    before = snapshot(tmp_path)
    with pytest.raises(RequestError) as caught:
        read_records(path, **case.options)
    error = caught.value
    assert type(error) is case.kind
    assert case.found in error.message
    assert error.remedy
    assert error.where
    if case.line is not None:
        assert error.where == f"{path}:{case.line}"
    assert f"{error.where}: " in str(error)
    assert error.exit_code == 2
    assert CANARY * 3 not in str(error)
    assert snapshot(tmp_path) == before


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 45
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("", "no file was named"),
        ("-", "from a pipe"),
        ("some folder/f", "no such file"),
        ("a/b/c", "no such file"),
        ([], "no records"),
        ([{"prompt": "p", "answer": "a"}], "expected a Record"),
        ({"prompt": "p"}, "expected a path"),
        ([Record(id="1", prompt="p", answer="")], "'answer' is empty"),
        ([Record(id="1", prompt="", answer="a")], "'prompt' is empty"),
        ([Record(id="", prompt="p", answer="a")], "'id' is empty"),
        ([Record(id="1", prompt=(), answer="a")], "no messages"),
        ([Record(id="1", prompt=(Message("assistant", "x"),), answer="a")], "turn of the user"),
        ([Record(id="1", prompt="p", answer="a")] * 2, "records[0]"),
        ([Record(id="1", prompt="p", answer="a", choices=("b", "c"), correct_choice=0)], "correct"),
        ([Record(id="1", prompt="p", answer="a", choices=("a", "c"))], "'correct_choice' is null"),
    ],
)
def test_arguments_that_are_no_records(source: Any, found: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_records(source)
    assert found in caught.value.message
    assert caught.value.remedy
    assert caught.value.where


@pytest.mark.parametrize("options", [asks(columns={"prompt": "p"}), asks(split="a")])
def test_file_options_beside_records(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="already read"):
        read_records([Record(id="1", prompt="p", answer="a")], **options)


def test_folder_named_like_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").mkdir()
    with pytest.raises(RequestError, match="no data file"):
        read_records(tmp_path / "f.jsonl")


def test_bad_rows_are_reported_together(tmp_path: Path) -> None:
    # Lines 2 and 4 are bad in two different ways; both remedies are given.
    path = tmp_path / "f.jsonl"
    path.write_text(GOOD + row(prompt="p", answer=None) + GOOD + row(prompt="p", answer=3))
    with pytest.raises(DataError) as caught:
        read_records(path)
    error = caught.value
    assert error.where == f"{path}:2"
    assert error.message.startswith("2 bad rows")
    assert f"{path}:2: column 'answer' is null" in error.message
    assert f"{path}:4: column 'answer' is a number (int)" in error.message
    assert error.remedy is not None and "fill 'answer'" in error.remedy
    assert "in double quotes" in error.remedy


def test_reading_stops_at_the_tenth_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(GOOD + row(prompt="p", answer=None) * 25)
    with pytest.raises(DataError) as caught:
        read_records(path)
    # Lines 2 to 11 are the first ten bad ones.
    assert "10 bad rows" in caught.value.message
    assert f"{path}:11:" in caught.value.message
    assert f"{path}:12:" not in caught.value.message
    assert "there may be more" in caught.value.message


def test_messages_do_not_quote_the_text(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(
        row(prompt=CANARY, answer=CANARY)
        + row(prompt=CANARY, answer=[CANARY])
        + row(prompt=CANARY, completion=CANARY)
        + f'{{"prompt": "{CANARY}", "answer": "{CANARY}\n'
    )
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert "3 bad rows" in caught.value.message
    assert CANARY not in str(caught.value)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RequestError, match="Permission denied") as caught:
        read_records(path)
    assert caught.value.where == str(path)
