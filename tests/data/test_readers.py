from __future__ import annotations

import ast
import csv
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbelief.data import as_row, load_records, read_records
from unbelief.errors import DataError
from unbelief.types import Message, Record


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "prompt", "answer", "format_"),
    [
        ({"prompt": "p", "completion": "a"}, "p", "a", "prompt/completion"),
        ({"prompt": "p", "answer": "a"}, "p", "a", "prompt/answer"),
        ({"question": "p", "answer": "a"}, "p", "a", "question/answer"),
        ({"text": "a"}, None, "a", "text"),
        ({"instruction": "p", "output": "a"}, "p", "a", "instruction/output"),
        ({"instruction": "p", "input": "i", "output": "a"}, "p\n\ni", "a", "instruction/output"),
        ({"instruction": "p", "input": "", "output": "a"}, "p", "a", "instruction/output"),
        ({"instruction": "p", "output": "a", "text": "pa"}, "p", "a", "instruction/output"),
        (
            {"question": "p", "choices": ["x", "a"], "answer": 1},
            "p",
            "a",
            "question/choices/answer",
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "u", "name": None},
                    {"role": "assistant", "content": "a"},
                ]
            },
            (Message("system", "s"), Message("user", "u")),
            "a",
            "messages",
        ),
        (
            {
                "prompt": [{"role": "user", "content": "u"}],
                "completion": [{"role": "assistant", "content": "a"}],
            },
            (Message("user", "u"),),
            "a",
            "prompt/completion",
        ),
    ],
)
def test_formats(
    row: dict[str, Any], prompt: Any, answer: str, format_: str, tmp_path: Path
) -> None:
    loaded = load_records(write_jsonl(tmp_path / "f.jsonl", [row]))
    assert loaded.format == format_
    (record,) = loaded.records
    assert (record.prompt, record.answer) == (prompt, answer)
    assert record.id == "f:1"
    assert record.source == f"{tmp_path / 'f.jsonl'}:1"


def test_tofu_fields(tmp_path: Path) -> None:
    row = {
        "question": "q",
        "answer": "a",
        "paraphrased_question": "pq",
        "paraphrased_answer": "pa",
        "perturbed_answer": ["x", "y"],
    }
    (record,) = read_records(write_jsonl(tmp_path / "f.jsonl", [row]))
    assert record.paraphrased_prompt == "pq"
    assert record.paraphrases == ("pa",)
    assert record.perturbed == ("x", "y")


def test_multiple_choice_keeps_choices(tmp_path: Path) -> None:
    row = {"question": "q", "choices": ["x", "y"], "answer": 0, "subject": "law"}
    (record,) = read_records(write_jsonl(tmp_path / "f.jsonl", [row]))
    assert record.choices == ("x", "y")
    assert record.correct_choice == 0
    assert record.answer == "x"
    assert record.group == "law"


def test_choices_in_a_csv_are_json(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('question,choices,answer\nq,"[""x"", ""y""]",1\n')
    (record,) = read_records(path)
    assert (record.choices, record.answer) == (("x", "y"), "y")


@pytest.mark.parametrize("column", ["group", "author", "subject", "document"])
def test_groups(column: str, tmp_path: Path) -> None:
    rows = [{"text": "a", column: "g"}, {"text": "b", column: None}, {"text": "c", column: 7}]
    records = read_records(write_jsonl(tmp_path / "f.jsonl", rows))
    assert [r.group for r in records] == ["g", None, "7"]


def test_first_filled_group_column_wins(tmp_path: Path) -> None:
    rows = [{"text": "a", "author": "x", "group": "g"}, {"text": "b", "author": "x", "group": None}]
    records = read_records(write_jsonl(tmp_path / "f.jsonl", rows))
    assert [r.group for r in records] == ["g", "x"]


def test_ids_from_data_else_from_rows(tmp_path: Path) -> None:
    rows = [{"text": "a", "id": "x"}, {"text": "b"}, {"text": "c", "id": 10**30}, {"text": "d"}]
    records = read_records(write_jsonl(tmp_path / "my.data.jsonl", rows))
    # Row 3's id is an integer, written in decimal: 1 followed by 30 zeros.
    assert [r.id for r in records] == ["x", "my.data:2", "1" + "0" * 30, "my.data:4"]


def test_ids_do_not_depend_on_the_folder_or_the_limit(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "f.jsonl", [{"text": "a"}, {"text": "b"}])
    (tmp_path / "sub").mkdir()
    two = write_jsonl(tmp_path / "sub" / "f.jsonl", [{"text": "a"}, {"text": "b"}])
    assert [r.id for r in read_records(one)] == [r.id for r in read_records(two)]
    assert read_records(one, limit=1) == read_records(one)[:1]


def test_blank_lines_bom_crlf_and_no_final_newline(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}\r\n\n\n{"text": "c"}')
    records = read_records(path)
    # Lines 2, 4 and 5 are blank: the rows are on lines 1, 3 and 6, and are rows 1, 2 and 3.
    assert [r.answer for r in records] == ["a", "b", "c"]
    assert [r.source.rsplit(":", 1)[1] for r in records] == ["1", "3", "6"]
    assert [r.id for r in records] == ["f:1", "f:2", "f:3"]


def test_only_newlines_end_a_line(tmp_path: Path) -> None:
    # U+2028, U+0085 and form feeds end lines for str.splitlines, but not in JSON lines.
    text = "a\u2028b\u0085c\x0cd"
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps({"text": text}, ensure_ascii=False) + '\n{"text": "b"}\n', "utf-8")
    records = read_records(path)
    assert records[0].answer == text
    assert records[1].source.endswith(":2")


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    # Nothing is stripped, normalised or taken for a missing value.
    texts = ["  a\n", "NaN", "None", "null", "e\u0301", "\u00e9", "1", "true", "\x00", "🦊"]
    records = read_records(write_jsonl(tmp_path / "f.jsonl", [{"text": t} for t in texts]))
    assert [r.answer for r in records] == texts


def test_csv_with_bom_crlf_and_quoted_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'\xef\xbb\xbf,prompt,answer\r\n0,p,"a ""b"",\r\nc"\r\n\r\n1,q,d\r\n\r\n')
    loaded = load_records(path)
    assert [r.answer for r in loaded.records] == ['a "b",\r\nc', "d"]
    # Line 1 is the header, the first row spans lines 2 and 3, line 4 is blank, the next is on 5.
    assert [r.source.rsplit(":", 1)[1] for r in loaded.records] == ["2", "5"]
    assert loaded.ignored_columns == ("",)


def test_csv_with_a_long_cell(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = tmp_path / "f.csv"
    path.write_text("text\n" + "a" * 200_000 + "\n")  # the csv module's own limit is 131,072
    assert len(read_records(path)[0].answer) == 200_000
    assert csv.field_size_limit() == before


def test_tsv(tmp_path: Path) -> None:
    path = tmp_path / "f.tsv"
    path.write_text("question\tanswer\nq, r\ta\n")
    assert [(r.prompt, r.answer) for r in read_records(path)] == [("q, r", "a")]


def test_json_list_has_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('[\n {"text": "a"},\n\n {"text":\n  "b"}, {"text": "c"}\n]\n')
    records = read_records(path)
    assert [r.answer for r in records] == ["a", "b", "c"]
    assert [r.source.rsplit(":", 1)[1] for r in records] == ["2", "4", "5"]


def test_json_lines_under_the_ending_json(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert [r.answer for r in read_records(path)] == ["a", "b"]


@pytest.mark.parametrize("ending", [".jsonl.gz", ".JSONL.GZ", ".ndjson.gz"])
def test_gz(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{ending}"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n{"text": "b"}\n'))
    assert [r.id for r in read_records(path)] == ["f:1", "f:2"]


def test_truncated_gz_names_the_line_where_it_ends(tmp_path: Path) -> None:
    # A file of incompressible rows, cut in the middle: rows are read one by one until then.
    rows = [{"text": f"{i * 2654435761 % 2**32:032b}"} for i in range(5000)]
    whole = gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match="damaged or cut off") as caught:
        read_records(path)
    line = int(caught.value.where.rsplit(":", 1)[1])  # type: ignore[attr-defined]
    assert 1000 < line < 4000


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    table = pa.table(
        {
            "question": pa.array(["q", "r"]).dictionary_encode(),
            "answer": pa.array(["a", "b"], pa.large_string()),
            "perturbed_answer": pa.array([["x"], None], pa.list_(pa.string())),
            "id": pa.array([3, None], pa.int64()),
        }
    )
    pq.write_table(table, path)
    records = read_records(path)
    assert [(r.id, r.prompt, r.answer) for r in records] == [("3", "q", "a"), ("f:2", "r", "b")]
    assert [r.perturbed for r in records] == [("x",), ()]
    assert [r.source for r in records] == [f"{path}:1", f"{path}:2"]


def test_column_mapping(tmp_path: Path) -> None:
    rows = [{"my_q": "q", "my_a": "a", "uid": "7", "who": "w", "answer": "not this", "noise": 1}]
    loaded = load_records(
        write_jsonl(tmp_path / "f.jsonl", rows),
        columns={"prompt": "my_q", "answer": "my_a", "id": "uid", "group": "who"},
    )
    (record,) = loaded.records
    assert (record.id, record.prompt, record.answer, record.group) == ("7", "q", "a", "w")
    assert loaded.ignored_columns == ("answer", "noise")
    assert loaded.format == "my_q/my_a (mapped)"


def test_mapping_completes_itself_where_the_file_is_clear(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "f.jsonl", [{"question": "q", "gold": "a", "uid": "7"}])
    (record,) = read_records(path, columns={"answer": "gold"})
    assert (record.prompt, record.answer, record.id) == ("q", "a", "f:1")
    choice = {"stem": "q", "choices": ["x", "y"], "answer": 1}
    (record,) = read_records(write_jsonl(path, [choice]), columns={"prompt": "stem"})
    assert (record.prompt, record.answer) == ("q", "y")


def test_mapping_of_messages_and_text(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    path = write_jsonl(tmp_path / "f.jsonl", [{"chat": turns, "prompt": "p", "answer": "b"}])
    assert read_records(path, columns={"messages": "chat"})[0].prompt == (Message("user", "u"),)
    assert read_records(path, columns={"text": "prompt"})[0].answer == "p"


def test_remedy_suggests_the_mapping_that_works(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "f.jsonl", [{"Question ": "q", "Answer": "a"}])
    with pytest.raises(DataError) as caught:
        read_records(path)
    remedy = str(caught.value.remedy)
    assert "--set columns.prompt='Question ' --set columns.answer=Answer" in remedy
    columns = ast.literal_eval(remedy[remedy.index("{") : remedy.index("}") + 1])
    assert read_records(path, columns=columns)[0].prompt == "q"


def test_folder_with_one_file_per_split(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "forget.jsonl", [{"text": "f"}])
    write_jsonl(tmp_path / "retain.jsonl", [{"text": "r"}])
    (tmp_path / "README.md").write_text("about")
    assert read_records(tmp_path, split="forget")[0].id == "forget:1"
    assert read_records(str(tmp_path), split="retain")[0].answer == "r"


def test_folder_with_one_file_needs_no_split(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "anything.jsonl", [{"text": "f"}])
    assert read_records(tmp_path)[0].answer == "f"


def test_shards_in_the_folder_data_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i in range(3):
        pq.write_table(
            pa.table({"text": [f"{i}a", f"{i}b"]}),
            tmp_path / "data" / f"train-{i:05d}-of-00003.parquet",
        )
    loaded = load_records(tmp_path, split="train", group_by_rows=4)
    assert [r.answer for r in loaded.records] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert len(loaded.files) == 3
    # Groups of four rows run on across the shards: 0a..1b, then 2a, 2b.
    groups = [r.group for r in loaded.records]
    assert groups[0] == groups[3] != groups[4] == groups[5]
    assert len(read_records(tmp_path, limit=3)) == 3


def test_group_by_rows(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "f.jsonl", [{"text": t} for t in "abcde"])
    groups = [r.group for r in read_records(path, group_by_rows=2)]
    assert groups == ["f:1-2", "f:1-2", "f:3-4", "f:3-4", "f:5-6"]


def test_limit_does_not_look_at_later_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nnot json\n')
    assert len(read_records(path, limit=2)) == 2


def test_records_pass_through_unchanged() -> None:
    records = [Record(id=str(i), prompt="p", answer="a", source="x:1") for i in range(3)]
    assert read_records(records) == records
    assert read_records(tuple(records), limit=2) == records[:2]
    assert [r.group for r in read_records(records, group_by_rows=2)] == [
        "records:1-2",
        "records:1-2",
        "records:3-4",
    ]


def test_path_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "f.jsonl", [{"text": "a"}])
    assert read_records("~/f.jsonl")[0].answer == "a"


def test_as_row_leaves_out_what_is_not_set() -> None:
    assert as_row(Record(id="1", prompt="p", answer="a")) == {
        "id": "1",
        "prompt": "p",
        "answer": "a",
    }
    assert as_row(Record(id="1", prompt=None, answer="a", group="g")) == {
        "id": "1",
        "text": "a",
        "group": "g",
    }


def test_four_thousand_rows_take_well_under_a_second(tmp_path: Path) -> None:
    rows = [{"question": "q" * 90, "answer": "a" * 170} for _ in range(4000)]
    path = write_jsonl(tmp_path / "f.jsonl", rows)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        read_records(path)
        best = min(best, time.process_time() - start)
    assert best < 0.8  # about 0.06 s on an idle core


@pytest.mark.parametrize(
    ("name", "rows", "authors"),
    [("forget10", 400, 20), ("retain90", 3600, 180), ("forget10_perturbed", 400, 20)],
)
def test_tofu_counts(name: str, rows: int, authors: int, shared_dir: Path) -> None:
    path = shared_dir / "data" / "tofu" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path.name} in ../shared/data/tofu")
    loaded = load_records(path, group_by_rows=20)
    assert len(loaded.records) == rows
    assert len({r.group for r in loaded.records}) == authors
    assert loaded.format == "question/answer"
    if name == "forget10_perturbed":
        assert {len(r.perturbed) for r in loaded.records} == {5}
        assert all(len(r.paraphrases) == 1 and r.paraphrased_prompt for r in loaded.records)


def test_importing_costs_no_heavy_library() -> None:
    code = (
        "import sys, unbelief.data as d; d.read_records; "
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'numpy', 'scipy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
