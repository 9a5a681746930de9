from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.data import read_records, validate_records
from unbelief.data.findings import MEANING, DataReport
from unbelief.data.overlap import nearest, normalise
from unbelief.types import Message, Record

CANARY = "canaryword"


def record(id_: str, prompt: str | tuple[Message, ...] | None, answer: str, **more: Any) -> Record:
    return Record(id=id_, prompt=prompt, answer=answer, source=f"f:{id_}", **more)


def ids(report: DataReport, kind: str, where: str = "forget") -> list[tuple[str, ...]]:
    return [
        e.ids for f in report.findings if (f.kind, f.where) == (kind, where) for e in f.examples
    ]


def test_clean_data_has_no_findings() -> None:
    report = validate_records(
        [record("1", "Who wrote it?", "Ann Smith wrote it.", group="a")],
        [record("2", "Where is Rome?", "Rome is in Italy.", group="b")],
    )
    assert report.findings == ()
    assert (report.n_forget, report.n_retain) == (1, 1)
    assert (report.n_groups_forget, report.n_groups_retain) == (1, 1)


def test_repeats_within_a_set() -> None:
    # 2 repeats 1 exactly; 3 differs in case and punctuation; 4 answers the same prompt otherwise.
    report = validate_records(
        [
            record("1", "Who wrote it?", "Ann Smith."),
            record("2", "Who wrote it?", "Ann Smith."),
            record("3", "who  wrote it", "ANN SMITH!"),
            record("4", "Who wrote it?", "Bob Jones."),
        ]
    )
    assert ids(report, "duplicate") == [("2", "1")]
    assert ids(report, "near-identical") == [("3", "1")]
    assert ids(report, "two-answers") == [("4", "1")]
    assert report.count("duplicate") == 1
    assert report.n_retain is None


def test_documents_without_a_prompt_do_not_share_a_prompt() -> None:
    report = validate_records([record("1", None, "one text"), record("2", None, "other text")])
    assert report.findings == ()


def test_hollow_answers() -> None:
    report = validate_records(
        [
            record("1", "p1", "  "),
            record("2", "p2", "No"),
            record("3", "p3", "NaN"),
            record("4", "p4", "x", choices=("x", "y"), correct_choice=0),
            record("5", "p5", "true fact", perturbed=("False fact", "True, fact!")),
            record("6", "p6", "born on 8 September 1956", facts=("1956-09-08",)),
            record("7", "p7", "born on 8 September 1956", facts=("1956-09-08", "8 September")),
        ]
    )
    assert ids(report, "empty-answer") == [("1",)]
    assert ids(report, "short-answer") == [("2",)]  # two letters; 4 is a choice
    assert ids(report, "missing-marker") == [("3",)]
    assert ids(report, "perturbed-is-true") == [("5",)]
    assert ids(report, "absent-fact") == [("6",)]


def test_overlaps_between_the_sets() -> None:
    long = "The author was born in a small town in the north and moved to the capital later."
    forget = [
        record("1", "Who wrote it?", "Ann Smith.", group="g"),
        record("2", "Where was she born?", "In Oslo."),
        record("3", "Tell me about her youth.", long),
        record("4", "What did she eat?", "Nothing is known about that at all."),
    ]
    retain = [
        record("a", "who wrote it", "Ann Smith", group="g"),
        record("b", "Where was she born?", "In Bergen."),
        record("c", "Tell me of her youth!", long.replace("later", "afterwards")),
        record("d", "Which river is that?", "That is the Rhine, a river in Europe."),
    ]
    report = validate_records(forget, retain)
    both = "forget+retain"
    assert ids(report, "overlap", both) == [("1", "a")]
    assert ids(report, "overlap-prompt", both) == [("2", "b")]
    assert ids(report, "overlap-near", both) == [("3", "c")]
    assert ids(report, "overlap-group", both) == [("g",)]
    near = next(f for f in report.findings if f.kind == "overlap-near")
    a, b = (
        {text[i : i + 5] for i in range(len(text) - 4)}
        for text in (
            "\n".join(normalise(t) for t in (r.prompt, r.answer))  # type: ignore[arg-type]
            for r in (forget[2], retain[2])
        )
    )
    assert near.examples[0].similarity == round(len(a & b) / len(a | b), 3)
    assert near.examples[0].places == ("f:3", "f:c")


def test_conversations_are_compared_by_their_text() -> None:
    prompt = (Message("system", "Be brief."), Message("user", "Who?"))
    report = validate_records([record("1", prompt, "Ann.")], [record("2", prompt, "Ann.")])
    assert report.count("overlap") == 1


def test_the_report_holds_no_text() -> None:
    same = [record(str(i), f"{CANARY} prompt", f"{CANARY} answer") for i in range(9)]
    report = validate_records(same, same, max_examples=2)
    assert report.count("duplicate", "forget") == 8
    assert all(len(f.examples) <= 2 for f in report.findings)
    written = json.dumps(report.as_dict())
    assert CANARY not in written
    assert CANARY not in " ".join(f.message for f in report.findings)
    assert json.loads(written)["findings"][0]["kind"] == "duplicate"


def test_messages_name_places_and_say_that_there_are_more() -> None:
    report = validate_records(
        [record(str(i), "prompt", "answer") for i in range(4)], max_examples=1
    )
    assert report.findings[0].message == (
        f"forget: 3 of 4: {MEANING['duplicate']}: 1 (f:1) = 0 (f:0), ..."
    )


@pytest.mark.parametrize("near", [0.0, -1.0, 1.1])
def test_threshold_outside_its_range(near: float) -> None:
    with pytest.raises(ValueError, match="near"):
        validate_records([record("1", "p", "a")], near=near)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A,  b_C!\n", "a b c"),
        ("ＡＢ", "ab"),  # full-width letters, NFKC
        ("Straße", "strasse"),
        ("?!", "?!"),  # nothing but punctuation is kept
        ("C++", "c"),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_similarity_by_hand() -> None:
    # 2-grams: abcd -> {ab, bc, cd}; abce -> {ab, bc, ce}: 2 shared of 4. xyz -> nothing shared.
    # The single letter q is one gram of its own: {q} against {q} is 1.
    index, similarity = nearest(["abcd", "q", "zz"], ["xyz", "abce", "q"], n=2)
    assert index.tolist()[:2] == [1, 2]
    np.testing.assert_allclose(similarity, [0.5, 1.0, 0.0])


def test_nothing_to_compare_with() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        nearest(["a"], [])
    assert nearest([], ["a"])[0].shape == (0,)


words = st.text("ab ", max_size=12)


@settings(max_examples=60, deadline=None)
@given(left=st.lists(words, max_size=6), right=st.lists(words, min_size=1, max_size=6))
def test_nearest_equals_the_definition(left: list[str], right: list[str]) -> None:
    def grams(text: str) -> set[str]:
        return {text[i : i + 3] for i in range(max(1, len(text) - 2))}

    index, similarity = nearest(left, right, n=3)
    for i, text in enumerate(left):
        jaccard = [len(grams(text) & grams(r)) / len(grams(text) | grams(r)) for r in right]
        assert similarity[i] == pytest.approx(max(jaccard), abs=1e-6)
        assert jaccard[index[i]] == pytest.approx(max(jaccard), abs=1e-6)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from unbelief.data import overlap

    chance = random.Random(0)
    left = ["".join(chance.choices("abcd ", k=30)) for _ in range(23)]
    right = ["".join(chance.choices("abcd ", k=30)) for _ in range(17)]
    whole = nearest(left, right)
    monkeypatch.setattr(overlap, "_MAX_CELLS", 17 * 4)  # blocks of four rows
    for a, b in zip(whole, nearest(left, right), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sizes_of_the_benchmark_take_less_than_five_seconds() -> None:
    # 400 and 3600 records of the lengths of TOFU (about 90 and 170 characters).
    chance = random.Random(0)
    vocabulary = ["".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(3000)]

    def made(n: int, name: str) -> list[Record]:
        return [
            record(
                f"{name}{i}",
                " ".join(chance.choices(vocabulary, k=13)),
                " ".join(chance.choices(vocabulary, k=25)),
            )
            for i in range(n)
        ]

    forget, retain = made(400, "f"), made(3600, "r")
    start = time.process_time()
    report = validate_records(forget, retain)
    assert time.process_time() - start < 5
    assert report.findings == ()


def test_tofu_sets_do_not_overlap(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "tofu"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/tofu")
    forget = read_records(folder / "forget10.jsonl", group_by_rows=20)
    retain = read_records(folder / "retain90.jsonl", group_by_rows=20)
    report = validate_records(forget, retain)
    assert [f.kind for f in report.findings if f.where != "retain"] == []
    # One question of the published retain90 is asked twice, with two answers.
    assert report.count("two-answers", "retain") == 1
    full = read_records(folder / "full.jsonl")
    assert validate_records(forget, full).count("overlap") == 400
