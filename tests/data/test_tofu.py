"""TOFU's layout: authors are the clusters, found by position or by matching."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbelief.data.tofu import read_tofu
from unbelief.errors import RequestError


def row(author: int, i: int, *, perturbed: bool = False) -> dict[str, object]:
    out: dict[str, object] = {"question": f"who {author} {i}", "answer": f"he {author} {i}"}
    if perturbed:
        out["paraphrased_answer"] = f"him {author} {i}"
        out["perturbed_answer"] = [f"she {author} {i} {j}" for j in range(5)]
        out["paraphrased_question"] = f"whom {author} {i}"
    return out


def write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def small_tofu(folder: Path) -> Path:
    """Two forget authors and two holdout authors of twenty rows, a retain sample of six."""
    write(
        folder, "forget01_perturbed", [row(a, i, perturbed=True) for a in (8, 9) for i in range(20)]
    )
    write(folder, "forget01", [row(a, i) for a in (8, 9) for i in range(20)])
    write(folder, "holdout01", [row(a, i) for a in (50, 51) for i in range(20)])
    write(folder, "retain99", [row(a, i) for a in range(3) for i in range(20)])
    sample = [(2, 3), (0, 5), (2, 4), (1, 0), (0, 6)]
    write(
        folder,
        "retain_perturbed",
        [*(row(a, i, perturbed=True) for a, i in sample), row(77, 0, perturbed=True)],
    )
    for name in ("real_authors", "world_facts"):
        write(folder, f"{name}_perturbed", [row(i, i, perturbed=True) for i in range(4)])
    return folder


def test_authors_are_twenty_consecutive_rows(tmp_path: Path):
    data = read_tofu(str(small_tofu(tmp_path)), "forget01")
    forget = data.sets["forget"]
    assert [r.group for r in forget] == ["author 199"] * 20 + ["author 200"] * 20
    assert [r.group for r in data.sets["holdout"]][::20] == ["holdout author 1", "holdout author 2"]
    assert forget[0].id == "forget01_perturbed:1"
    assert forget[0].paraphrases == ("him 8 0",)
    assert len(forget[0].perturbed) == 5
    assert forget[0].paraphrased_prompt == "whom 8 0"


def test_the_retain_sample_is_matched_to_its_authors(tmp_path: Path):
    data = read_tofu(str(small_tofu(tmp_path)), "forget01")
    # Authors 0, 1, 2 of the file are the first three of the data set; the last row is not in it.
    assert [r.group for r in data.sets["retain"]] == [
        "author 3",
        "author 1",
        "author 3",
        "author 2",
        "author 1",
        None,
    ]
    assert "1 rows that are not in it" in data.clusters["retain"]


def test_without_the_full_data_each_retain_row_stands_by_itself(tmp_path: Path):
    small_tofu(tmp_path)
    (tmp_path / "retain99.jsonl").unlink()
    data = read_tofu(str(tmp_path), "forget01")
    assert {r.group for r in data.sets["retain"]} == {None}
    assert "neither retain99 nor full" in data.clusters["retain"]


def test_an_unusual_number_of_rows_gives_no_authors(tmp_path: Path):
    small_tofu(tmp_path)
    write(tmp_path, "forget01_perturbed", [row(8, i, perturbed=True) for i in range(7)])
    data = read_tofu(str(tmp_path), "forget01")
    assert {r.group for r in data.sets["forget"]} == {None}
    assert "7 rows instead of 40" in data.clusters["forget"]


def test_the_plain_split_serves_where_there_is_no_perturbed_one(tmp_path: Path):
    small_tofu(tmp_path)
    (tmp_path / "forget01_perturbed.jsonl").unlink()
    forget = read_tofu(str(tmp_path), "forget01").sets["forget"]
    assert forget[0].id == "forget01:1" and forget[0].perturbed == ()


def test_absent_sets_say_why(tmp_path: Path):
    small_tofu(tmp_path)
    (tmp_path / "holdout01.jsonl").unlink()
    data = read_tofu(str(tmp_path), "forget01")
    assert data.sets["holdout"] == ()
    assert "holdout01" in data.absent["holdout"]
    assert set(data.absent) == {"holdout"}


def test_wrong_requests_say_what_there_is(tmp_path: Path):
    with pytest.raises(RequestError, match="no split 'forget99'") as error:
        read_tofu(str(tmp_path), "forget99")
    assert "forget10" in str(error.value.remedy)
    small_tofu(tmp_path)
    with pytest.raises(RequestError, match="there is no forget10 here"):
        read_tofu(str(tmp_path), "forget10")


def test_the_real_data_set_has_its_published_shape(shared_dir: Path):
    data = read_tofu(str(shared_dir / "data" / "tofu"), "forget10")
    shape = {name: (len(rows), len({r.group for r in rows})) for name, rows in data.sets.items()}
    assert shape == {
        "forget": (400, 20),
        "holdout": (400, 20),
        "retain": (400, 20),
        "real_authors": (100, 1),  # no groups: every row is None, and stands by itself
        "world_facts": (117, 1),
    }
    # retain_perturbed is the data set's beginning, and forget10 its last twenty authors.
    assert data.sets["retain"][0].group == "author 1"
    assert data.sets["forget"][-1].group == "author 200"
    assert not data.absent
