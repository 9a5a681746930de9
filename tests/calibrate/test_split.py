from __future__ import annotations

import json

import pytest

from unbelief.calibrate.split import check_apart, read_halves, split
from unbelief.errors import RequestError
from unbelief.types import Record


def records(*groups: str | None) -> list[Record]:
    return [
        Record(id=str(i), prompt=f"question {i}?", answer=f"answer {i}", group=group)
        for i, group in enumerate(groups)
    ]


def ids(found) -> set[str]:
    return {record.id for record in found}


def test_groups_stay_together_and_every_record_is_on_one_side():
    given = records("a", "a", "b", "c", "c", "c", "d")
    found = split(given, name="retain", share=0.5, seed=0)
    assert ids(found.search) | ids(found.test) == ids(given)
    assert not {r.group for r in found.search} & {r.group for r in found.test}
    assert len({r.group for r in found.search}) == 2  # half of four
    assert "2 of 4 clusters (by group)" in found.how


def test_the_split_depends_on_the_seed_and_not_on_the_order():
    given = records(*[None] * 12)
    one, other = (split(g, name="retain", share=0.5, seed=0) for g in (given, given[::-1]))
    assert ids(one.search) == ids(other.search)
    assert any(
        ids(split(given, name="retain", share=0.5, seed=s).search) != ids(one.search)
        for s in range(1, 5)
    )


@pytest.mark.parametrize(("share", "n"), [(0.01, 1), (0.5, 2), (0.99, 3)])
def test_each_side_has_at_least_one_cluster(share, n):
    assert len(split(records(*"abcd"), name="retain", share=share, seed=0).search) == n


def test_one_cluster_cannot_be_split():
    with pytest.raises(RequestError, match="2 retain records in 1 cluster"):
        split(records("a", "a"), name="retain", share=0.5, seed=0)


def test_the_same_item_on_both_sides_is_refused_whatever_its_id():
    one = Record(id="1", prompt="Where is  Ada?", answer="In Paris.")
    same = Record(id="x", prompt="where is ada", answer="in paris")
    other = Record(id="y", prompt="where is ada", answer="in rome")
    check_apart([one], [other], "retain records")
    with pytest.raises(RequestError, match="1 of the retain records are search items and test"):
        check_apart([one], [other, same], "retain records")


def test_duplicates_that_straddle_the_split_are_refused(tmp_path):
    row = {"question": "q?", "answer": "a"}
    file = tmp_path / "retain.jsonl"
    file.write_text("".join(json.dumps({**row, "group": g}) + "\n" for g in "ab"))
    with pytest.raises(RequestError, match=r"retain.jsonl:1 and .*retain.jsonl:2|:2 and .*:1"):
        read_halves(str(file), None, name="retain", share=0.5, seed=0)


def test_without_groups_duplicates_stay_together(tmp_path):
    rows = [{"question": f"q{i % 3}?", "answer": "a"} for i in range(9)]
    file = tmp_path / "retain.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_halves(str(file), None, name="retain", share=0.4, seed=0)
    assert (len(found.search), len(found.test)) == (3, 6)


def test_test_records_of_their_own_leave_the_others_to_the_search(tmp_path):
    for name, start in (("a", 0), ("b", 3)):
        rows = [{"question": f"q{i}?", "answer": "a"} for i in range(start, start + 3)]
        (tmp_path / name).with_suffix(".jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    one, two = (str(tmp_path / f"{name}.jsonl") for name in "ab")
    found = read_halves(one, two, name="retain", share=0.5, seed=0)
    assert (len(found.search), len(found.test)) == (3, 3)
    with pytest.raises(RequestError, match="3 of the retain records"):
        read_halves(one, one, name="retain", share=0.5, seed=0)
