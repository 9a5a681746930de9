"""Suites are found, checked and put together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unbelief.errors import DataError, RequestError
from unbelief.scores.base import Aggregate, Metric
from unbelief.scores.conventions import CONVENTIONS, label, metric
from unbelief.suites.base import Choices, Line, Source
from unbelief.suites.registry import (
    choose_lines,
    make_suite,
    read_items,
    suite_kind,
    suites,
)


def test_every_module_with_a_kind_is_a_suite():
    assert list(suites()) == ["muse", "own", "tofu", "wmdp"]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", ["muse", "own", "tofu", "wmdp"])
def test_lines_are_well_formed_under_every_convention(name: str, convention: str):
    lines = suite_kind(name).lines(Choices(convention=convention))
    assert len({line.name for line in lines}) == len(lines)
    before: set[str] = set()
    for line in lines:
        if isinstance(line.how, Aggregate):
            assert line.inputs and not line.on, line.name
        else:
            assert isinstance(line.how, Metric) and line.on and not line.inputs, line.name
        assert set(line.inputs) <= before, f"{line.name} is computed before its inputs"
        before.add(line.name)


def test_an_unknown_suite_is_answered_with_the_nearest_name():
    with pytest.raises(RequestError, match="unknown suite: 'tofuu'") as error:
        suite_kind("tofuu")
    assert "did you mean 'tofu'?" in str(error.value)


def lines() -> tuple[Line, ...]:
    return suite_kind("tofu").lines(Choices())


def test_by_default_everything_is_computed_that_does_not_cost_more():
    names = {line.name for line in choose_lines(lines(), ())}
    assert {"forget_quality", "memorization", "aggregate", "privleak", "mia_zlib"} <= names
    assert not {"mia_reference", "mia_gradient_norm", "memorization_normalised"} & names


def test_chosen_lines_bring_what_they_are_made_of():
    names = [line.name for line in choose_lines(lines(), ("forget_quality", "mia_gradient_norm"))]
    assert names == [
        "forget_truth_ratio_raw",
        "forget_quality",
        "mia_gradient_norm_forget",
        "mia_gradient_norm_holdout",
        "mia_gradient_norm",
    ]
    names = [line.name for line in choose_lines(lines(), ("aggregate",))]
    assert names[-2:] == ["utility", "aggregate"] and "real_authors_rouge" in names


def test_lines_can_be_chosen_by_metric():
    names = {line.name for line in choose_lines(lines(), ("extraction_strength",))}
    assert names == {
        "forget_extraction_strength",
        "forget_extraction_strength_paraphrased",
        "retain_extraction_strength",
    }


def test_any_metric_can_be_asked_for_on_every_set_and_with_options_of_its_own():
    names = ("rouge1_recall", "mia_min_k:k=0.1:tokens=all", "forget_quality")
    found = {line.name: line for line in choose_lines(lines(), names, "open-unlearning")}
    sets = {line.on for line in lines() if line.on}
    assert {f"{on}_rouge1_recall" for on in sets} <= found.keys() and "forget_quality" in found
    assert label(found["retain_rouge1_recall"].how, "open-unlearning") == "open-unlearning"
    strict, own = found["holdout_mia_min_k[k=0.1,tokens=all]"], {"k": 0.1, "tokens": "all"}
    assert strict.on == "holdout" and strict.how == metric("mia_min_k", options=own)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mia_min_k:k", "is not NAME:option=value"),
        ("mia_min_k:share=0.1", "unknown option of mia_min_k: 'share'"),
        ("mia_min_k:k=2", "k must be above 0 and at most 1"),
    ],
)
def test_wrong_options_of_metrics(name, message):
    with pytest.raises(RequestError, match=message):
        choose_lines(lines(), (name,))


def test_an_unknown_line_is_answered_with_the_nearest_name():
    with pytest.raises(RequestError, match="unknown line or metric") as error:
        choose_lines(lines(), ("forget_qualty",))
    assert "did you mean 'forget_quality'?" in str(error.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source(), "needs --data"),
        (Source(data="x"), "needs --split"),
        (Source(data="x", split="y", forget="z"), "reads no --forget"),
        (Source(data="x", split="y", limit=0), "--limit is below 1"),
    ],
)
def test_options_of_another_suite_are_refused(source: Source, said: str):
    with pytest.raises(RequestError, match=said):
        read_items(suite_kind("tofu"), source)


def records(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def test_duplicate_ids_and_empty_files_are_refused(tmp_path: Path):
    twice = [{"id": "1", "prompt": "p", "answer": "a"}] * 2
    own = suite_kind("own")
    with pytest.raises(DataError, match=r"forget\.jsonl:2: the id '1' is also that of"):
        read_items(own, Source(forget=records(tmp_path / "forget.jsonl", twice)))
    with pytest.raises(DataError, match="there are no records"):
        read_items(own, Source(forget=records(tmp_path / "empty.jsonl", [])))


def test_a_limit_takes_the_first_items_and_is_told(tmp_path: Path):
    rows: list[dict[str, object]] = [{"prompt": f"p {i}", "answer": "a"} for i in range(5)]
    items = read_items(
        suite_kind("own"), Source(forget=records(tmp_path / "f.jsonl", rows), limit=2)
    )
    assert [r.id for r in items.sets["forget"]] == ["f:1", "f:2"]
    assert items.described["limit"] == "2"
    suite = make_suite(suite_kind("own"), items, Choices())
    assert suite.described["limit"] == "2" and suite.absent["retain"].endswith("(--retain)")
