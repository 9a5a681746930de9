"""Grades of judges and people, brought together by id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.judge.made import ITEMS, Rules, constant
from unbelief.errors import DataError, RequestError
from unbelief.judge.ratings import compare, read_ratings
from unbelief.judge.result import to_dict
from unbelief.judge.run import judge_items

PEOPLE = "id,naturalness,similarity\nleaks,5,0\ndiffers,4,5\ncollapsed,0,\n"


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    file = tmp_path / "judge.json"
    file.write_text(json.dumps(to_dict(judge_items(ITEMS, Rules()))))
    return file


@pytest.fixture
def people(tmp_path: Path) -> Path:
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    return file


def test_judge_against_people(judged: Path, people: Path) -> None:
    """Naturalness: (5,5), (5,4), (0,0). Quadratic by hand, Σ(a-b)²/3 = 1/3 against
    Σ_ij (a_i - b_j)²/9 = (0+1+25 + 0+1+25 + 25+16+0)/9 = 93/9; 1 - (1/3)/(93/9) = 1 - 3/93."""
    found = compare([read_ratings(judged), read_ratings(people)])
    assert found["raters"] == [
        {"name": "judge", "valid": True},
        {"name": "people", "valid": None},
    ]
    linear, quadratic = found["scales"]["naturalness"]["kappa"]
    assert (linear["weights"], quadratic["weights"]) == ("linear", "quadratic")
    assert quadratic["value"] == pytest.approx(1 - 3 / 93) and quadratic["n"] == 3
    assert quadratic["raters"] == ["judge", "people"]
    similarity = found["scales"]["similarity"]
    assert (similarity["alpha"]["ordinal"]["n"], similarity["alpha"]["ordinal"]["n_unscored"]) == (
        2,
        1,
    )
    assert set(similarity["alpha"]) == {"nominal", "ordinal", "interval"}


def test_judge_that_failed_its_controls_is_marked(tmp_path: Path, people: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(to_dict(judge_items(ITEMS, Rules(constant)))))
    assert compare([read_ratings(file), read_ratings(people)])["raters"][0]["valid"] is False


def test_groups_of_the_results_are_the_clusters(judged: Path) -> None:
    assert read_ratings(judged).groups[("", "leaks")] == "Ada"


def test_one_scale_is_enough(tmp_path: Path, judged: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text('{"id": "leaks", "similarity": 1}\n{"id": "differs", "similarity": 5}\n')
    assert list(compare([read_ratings(judged), read_ratings(file)])["scales"]) == ["similarity"]


@pytest.mark.parametrize("grade", ["6", "-1", "4.0", "12", "good", "five"])
def test_wrong_grades_are_named(tmp_path: Path, grade: str) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"id,similarity\na,5\nb,{grade}\n")
    with pytest.raises(DataError, match=r"people.csv:3: column 'similarity' is not a grade"):
        read_ratings(file)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", "id,similarity\na,5\na,4\n", "the id 'a' is there twice"),
        ("p.csv", "similarity\n5\n", "there is no id"),
        ("p.csv", "id,score\na,5\n", "no column naturalness or similarity"),
        ("p.txt", "x", "neither a results file nor a table"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=words):
        read_ratings(tmp_path / name)


def test_raters_without_a_common_item_are_refused(tmp_path: Path, judged: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id,similarity\nother,5\n")
    with pytest.raises(RequestError, match="rated by two"):
        compare([read_ratings(judged), read_ratings(file)])
