"""Label domains: which items each relation hands over, means and keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.vision.rows import part_of_groups, some_groups
from unbelief.vision.scenario import RELATIONS, Hierarchy, Scenario, from_items, hierarchy

# a, b, c below X; d, e below Y
LETTERS = hierarchy({"X": ["a", "b", "c"], "Y": ["d", "e"]})
ITEMS = np.array([0, 1, 2, 3, 4, 0])  # a b c d e a


def split_of(relation: str) -> dict[str, list[int]]:
    split = Scenario(relation, LETTERS, (0,)).split(ITEMS)  # type: ignore[arg-type]
    return {name: list(getattr(split, name)) for name in split.__dataclass_fields__}


def test_all_matched() -> None:
    assert split_of("all-matched") == {
        "forget": [0, 5],
        "rest": [1, 2, 3, 4],
        "target": [0, 5],
        "false_retain": [],
        "retain": [1, 2, 3, 4],
        "affected": [],
    }


@pytest.mark.parametrize("relation", ["target-mismatch", "data-mismatch"])
def test_more_is_meant_than_handed_over(relation: str) -> None:
    assert split_of(relation) == {
        "forget": [0, 5],
        "rest": [1, 2, 3, 4],
        "target": [0, 1, 2, 5],  # all of X
        "false_retain": [1, 2],
        "retain": [3, 4],
        "affected": [],
    }


def test_model_mismatch_keeps_the_siblings() -> None:
    assert split_of("model-mismatch") == {
        "forget": [0, 5],
        "rest": [1, 2, 3, 4],
        "target": [0, 5],
        "false_retain": [],
        "retain": [1, 2, 3, 4],
        "affected": [1, 2],  # b and c
    }


@pytest.mark.parametrize(
    ("relation", "classes", "beyond", "labels"),
    [
        ("all-matched", 5, 0, [0, 1, 2, 3, 4, 0]),
        ("target-mismatch", 5, 2, [0, 1, 2, 3, 4, 0]),  # b and c of the model's labels
        ("model-mismatch", 2, 0, [0, 0, 0, 1, 1, 0]),
        ("data-mismatch", 2, 1, [0, 0, 0, 1, 1, 0]),  # X, which b and c carry
    ],
)
def test_what_the_model_says_and_what_the_request_must_say(
    relation: str, classes: int, beyond: int, labels: list[int]
) -> None:
    scenario = Scenario(relation, LETTERS, (0,))  # type: ignore[arg-type]
    assert scenario.classes == classes
    assert scenario.beyond == beyond
    assert list(scenario.model_labels(ITEMS)) == labels


def test_data_and_model_mismatch_differ_in_nothing_a_method_sees() -> None:
    data, model = (Scenario(r, LETTERS, (0,)) for r in ("data-mismatch", "model-mismatch"))
    assert list(data.split(ITEMS).forget) == list(model.split(ITEMS).forget)
    assert list(data.model_labels(ITEMS)) == list(model.model_labels(ITEMS))
    assert data.beyond != model.beyond


@given(
    parents=st.lists(st.integers(0, 3), min_size=4, max_size=12),
    items=st.lists(st.integers(0, 11), max_size=40),
    relation=st.sampled_from(RELATIONS),
    pick=st.integers(0, 11),
)
def test_the_sets_are_a_partition(
    parents: list[int], items: list[int], relation: str, pick: int
) -> None:
    used = sorted(set(parents))
    made = Hierarchy(
        tuple(f"f{i}" for i in range(len(parents))),
        tuple(f"c{i}" for i in used),
        tuple(used.index(p) for p in parents),
    )
    try:
        scenario = Scenario(relation, made, (pick % len(parents),))  # type: ignore[arg-type]
    except RequestError:
        return
    fine = np.array([i % len(parents) for i in items], dtype=np.int64)
    split = scenario.split(fine)
    everything = list(range(len(fine)))
    assert sorted([*split.forget, *split.rest]) == everything
    assert sorted([*split.forget, *split.false_retain]) == list(split.target)
    assert sorted([*split.target, *split.retain]) == everything
    assert set(split.affected) <= set(split.retain)


@pytest.mark.parametrize(
    ("relation", "given_labels", "message"),
    [
        ("all-matched", (), "labels to forget"),
        ("all-matched", (1, 1), "labels to forget"),
        ("all-matched", (9,), "no fine label 9"),
        ("all-matched", (0, 1, 2, 3, 4), "all labels"),
        ("target-mismatch", (3, 4), "everything below 'Y' is handed over"),
        ("data-mismatch", (0, 3), "every coarse label is touched"),
        ("sideways", (0,), "unknown relation 'sideways'"),
    ],
)
def test_requests_that_make_no_scenario(
    relation: str, given_labels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Scenario(relation, LETTERS, given_labels)  # type: ignore[arg-type]


def test_hierarchies_that_are_none() -> None:
    with pytest.raises(RequestError, match="'a' comes with 'X' and with 'Y'"):
        from_items(["a", "a"], ["X", "Y"])
    with pytest.raises(RequestError, match="1 fine labels for 2 coarse"):
        from_items(["a"], ["X", "Y"])
    with pytest.raises(RequestError, match="'b' is in no superclass"):
        hierarchy({"X": ["a"]}, fine=["a", "b"])
    with pytest.raises(RequestError, match="'a' is there twice"):
        hierarchy({"X": ["a"], "Y": ["a"]})
    with pytest.raises(RequestError, match="no fine labels"):
        Hierarchy(("a",), ("X", "Y"), (0,))
    with pytest.raises(RequestError, match="there twice"):
        Hierarchy(("a", "a"), ("X",), (0, 0))


def authors(n: int, rows: int) -> list[Record]:
    return [
        Record(id=f"{a}-{i}", prompt="who?", answer="she", group=f"author {a}")
        for a in range(n)
        for i in range(rows)
    ]


def test_five_of_an_authors_twenty_rows_meaning_the_author() -> None:
    made = part_of_groups(authors(4, 20), ["author 1"], 5, seed=3)
    assert len(made.forget) == 5 and {r.group for r in made.forget} == {"author 1"}
    assert len(made.false_retain) == 15 and {r.group for r in made.false_retain} == {"author 1"}
    assert {r.group for r in made.retain} == {"author 0", "author 2", "author 3"}
    assert len(made.rest) == 75 and not made.affected
    assert made.forget == part_of_groups(authors(4, 20), ["author 1"], 5, seed=3).forget
    assert made.forget != part_of_groups(authors(4, 20), ["author 1"], 5, seed=4).forget


def test_five_rows_meaning_the_rows() -> None:
    made = part_of_groups(authors(2, 20), ["author 1"], 5, meaning="rows")
    assert not made.false_retain
    assert len(made.affected) == 15 and len(made.retain) == 35


def test_an_author_meaning_the_circle() -> None:
    parents = {f"author {i}": "poets" if i < 2 else "critics" for i in range(4)}
    made = some_groups(authors(4, 2), ["author 0"], parents)
    assert {r.group for r in made.false_retain} == {"author 1"}
    assert {r.group for r in made.retain} == {"author 2", "author 3"}


def test_texts_that_make_no_scenario() -> None:
    with pytest.raises(RequestError, match="no group 'nobody'"):
        part_of_groups(authors(2, 3), ["nobody"], 1)
    with pytest.raises(RequestError, match="3 of 3 rows"):
        part_of_groups(authors(2, 3), ["author 0"], 3)
    with pytest.raises(RequestError, match="has no group"):
        part_of_groups([Record(id="a", prompt="p", answer="b")], ["x"], 1)
    with pytest.raises(RequestError, match="has no parent"):
        some_groups(authors(2, 3), ["author 0"], {"author 0": "poets"})
