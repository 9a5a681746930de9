"""A level that is measured on records the original never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.auto.made import held_out, records
from tests.auto.test_run import arguments
from tests.auto.test_yardstick import ready
from tests.cli.common import Called, call
from unbelief.auto import AutoUnlearner
from unbelief.auto.document import (
    CHOSEN_LIMIT,
    ESTIMATED_LIMITS,
    HELD_OUT_LIMITS,
    TOLD_LIMIT,
    limits,
)
from unbelief.auto.holdout import read_held_out
from unbelief.auto.items import HALVES, Items, Sorted, neighbours_of, sort_records, swapped_records
from unbelief.auto.options import SCORES
from unbelief.auto.prepare import ESTIMATED, GIVEN, HELD_OUT, MEASURED, References, references
from unbelief.auto.searching import Searching
from unbelief.auto.yardstick import NO_FACTS_HELD_OUT, Yardstick
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.types import Message, Record

FORGET, RETAIN = records()
APART = held_out()


def dealt(limit: int = 64, holdout: list[Record] = APART) -> Sorted:
    return sort_records(FORGET, RETAIN, limit, holdout)


def ids(records: tuple[Record, ...]) -> set[str]:
    return {r.id for r in records}


@pytest.fixture(scope="module")
def original(knowing: Path) -> tuple[Yardstick, AnswerModel]:
    return ready(knowing / "model")


def items(holdout: dict[str, tuple[Record, ...]]) -> dict[str, Items]:
    swapped = swapped_records(FORGET, neighbours_of(FORGET, RETAIN, 2, 0))
    return {
        half: Items(tuple(FORGET), tuple(RETAIN), swapped, holdout=holdout[half]) for half in HALVES
    }


def per_token(ready: tuple[Yardstick, AnswerModel], record: Record) -> float:
    """Probability per token of a record's answer, from plain logits."""
    encoded = ready[0].encoder.encode(record)
    tokens = torch.tensor([[*encoded.prompt_ids, *encoded.answer_ids]])
    with torch.no_grad():
        logp = ready[1].model(input_ids=tokens).logits[0].log_softmax(-1)
    start = len(encoded.prompt_ids)
    each = [logp[start + i - 1, token] for i, token in enumerate(encoded.answer_ids)]
    return float(torch.stack(each).mean().exp())


def test_held_out_records_are_dealt_out_like_those_to_forget() -> None:
    found = dealt()
    choice, report = (ids(found.holdout[half]) for half in HALVES)
    # Six people, fewer than twenty clusters: every second record.
    assert (len(choice), len(report)) == (3, 3) and choice | report == ids(tuple(APART))
    assert not found.notes
    assert [len(dealt(limit=2).holdout[half]) for half in HALVES] == [2, 2]
    without = sort_records(FORGET, RETAIN, 64)
    assert not any(without.holdout.values())
    assert (without.halves, without.rehearsed) == (found.halves, found.rehearsed)


def test_many_held_out_clusters_are_dealt_out_whole_and_few_are_not() -> None:
    many = [replace(APART[0], id=f"{i}/{j}", group=f"g{i}") for i in range(20) for j in range(3)]
    groups = [{r.group for r in dealt(holdout=many).holdout[half]} for half in HALVES]
    assert [len(g) for g in groups] == [10, 10] and not groups[0] & groups[1]
    few = dealt(holdout=many[:6])
    assert "the records held out are about 2 subjects, too few to be dealt out" in few.notes[0]
    assert [len(few.holdout[half]) for half in HALVES] == [3, 3]


def test_the_level_is_what_the_original_says_to_them(
    original: tuple[Yardstick, AnswerModel],
) -> None:
    found = dealt()
    its, _ = references(*original, items(found.holdout), None, None)
    assert its.how == HELD_OUT
    for half in HALVES:
        direct = [per_token(original, r) for r in found.holdout[half]]
        level = its.level[half]["probability"]
        assert level["value"] == pytest.approx(sum(direct) / 3, rel=1e-5) and level["n"] == 3
    # The same numbers as where these records are what is to be forgotten.
    asked = Items(found.holdout["report"], tuple(RETAIN), ())
    there = original[0].read(original[1], asked, facts=True).to_dict()
    assert all(its.level["report"][name] == there[name] for name in (*SCORES, "key_facts"))
    assert "key_facts" not in its.level["choice"]
    assert (
        its.estimated["report"]["probability"]["value"]
        > its.level["report"]["probability"]["value"]
    )


def test_a_retrained_model_or_a_number_goes_before_held_out_records_and_these_before_the_estimate(
    original: tuple[Yardstick, AnswerModel],
) -> None:
    single = Yardstick(original[0].encoder, ("probability",), 8), original[1]
    nothing = items(dict.fromkeys(HALVES, ()))
    apart = items(dealt().holdout)
    assert references(*single, nothing, None, None)[0].how == ESTIMATED
    assert references(*single, apart, single, None)[0].how == MEASURED
    given, _ = references(*single, apart, None, 0.25)
    assert given.how == GIVEN and given.level["choice"]["probability"]["value"] == 0.25
    measured = references(*single, apart, None, None)[0]
    assert given.level["report"]["key_facts"] == measured.level["report"]["key_facts"]
    assert (
        given.estimated == measured.estimated == references(*single, nothing, None, None)[0].level
    )


def test_key_facts_have_a_level_only_where_held_out_records_tell_them(
    original: tuple[Yardstick, AnswerModel],
) -> None:
    silent = [replace(r, facts=()) for r in APART]
    its, _ = references(*original, items(dealt(holdout=silent).holdout), None, None)
    level = its.level["report"]["key_facts"]
    assert level["value"] is None and list(level["reasons"]) == [NO_FACTS_HELD_OUT]
    assert its.estimated["report"]["key_facts"]["value"] is not None


def test_naturalness_keeps_the_estimate_and_limits_follow_the_level() -> None:
    told = {"value": 0.4}
    estimated = {half: {"told": told} for half in HALVES}

    def said(how: str, level: dict[str, Any]) -> list[str]:
        both = dict.fromkeys(HALVES, level)
        return limits(References(estimated, both, how, estimated))  # type: ignore[arg-type]

    assert said(ESTIMATED, {"told": told}) == [*ESTIMATED_LIMITS, CHOSEN_LIMIT]
    assert said(HELD_OUT, {"told": told}) == [*HELD_OUT_LIMITS, TOLD_LIMIT, CHOSEN_LIMIT]
    assert said(MEASURED, {"told": {"value": 0.3}}) == [CHOSEN_LIMIT]
    assert said(GIVEN, {"told": told}) == [TOLD_LIMIT, CHOSEN_LIMIT]
    assert said(HELD_OUT, {}) == [*HELD_OUT_LIMITS, CHOSEN_LIMIT]


@pytest.mark.parametrize(
    ("holdout", "says"),
    [
        ([APART[0], FORGET[2]], "1 of 2 held-out records are also among those to forget, first p2"),
        ([*APART, RETAIN[0]], "1 of 7 held-out records are also among those to keep, first p6"),
        (
            [APART[0], replace(FORGET[0], answer=f" {FORGET[0].answer.upper()}")],
            "also among those to forget",
        ),
        (APART[:1], "1 held-out record is too few"),
        ([APART[0], replace(APART[0], id="again")], "1 held-out record is too few"),
    ],
)
def test_records_that_the_original_saw_and_too_few_are_refused(
    holdout: list[Record], says: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read_held_out(holdout, FORGET, RETAIN, None)
    assert says in caught.value.message
    assert caught.value.where == "--holdout" and caught.value.remedy


def test_the_same_prompt_with_another_answer_is_no_overlap() -> None:
    asked = (Message("user", str(FORGET[0].prompt)),)
    other = [APART[0], replace(FORGET[0], id="o", prompt=asked, answer="nobody knows .")]
    assert read_held_out(other, FORGET, RETAIN, None) == tuple(other)
    assert read_held_out(None, FORGET, RETAIN, None) == ()


def test_two_measured_levels_are_refused(tmp_path: Path) -> None:
    request = AutoUnlearner(
        model="m", forget=FORGET, retain=RETAIN, retrained="r", holdout=APART, progress=False
    )
    with pytest.raises(RequestError, match="--retrained names a model") as caught:
        request.run(tmp_path / "out")
    assert "leave one of them out" in str(caught.value.remedy)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def measured(knowing: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Called, Any]:
    """A search with held-out records, from the command line."""
    output = tmp_path_factory.mktemp("measured") / "out"
    extra = ("--holdout", knowing / "holdout.jsonl")
    done = call(*arguments(knowing, output, *extra, trials=1))
    assert done.code in (0, 3), done.err
    return done, json.loads((output / "unbelief.json").read_text())["auto"]


def test_the_document_of_a_search_with_held_out_records(
    measured: tuple[Called, Any], original: tuple[Yardstick, AnswerModel]
) -> None:
    done, auto = measured
    assert auto["level"]["how"] == HELD_OUT
    assert [auto["records"][half]["holdout"] for half in HALVES] == [3, 3]
    assert HELD_OUT_LIMITS[0] in auto["notes"] and not {*ESTIMATED_LIMITS} & {*auto["notes"]}
    assert auto["estimated_level"]["choice"] != auto["level"]["choice"]
    # Ids of a file are other ones, and so are its halves: all six are in one of them.
    values = [auto["level"][half]["probability"]["value"] for half in HALVES]
    direct = [per_token(original, r) for r in APART]
    assert sum(values) / 2 == pytest.approx(sum(direct) / 6, rel=1e-5)
    lines = json.loads(done.out.splitlines()[0])["explanation"]
    assert lines[1].startswith(
        "level to stop at, measured on held-out records, which the original never saw: extraction"
    )
    beside = {line.split(":")[0].strip(): line for line in lines}
    assert "; level 0." in beside["probability"]
    assert "; estimated level 0." in beside["as about a stranger"]
    assert not [w for w in ("Grete", "Paris", "Kyoto") if w in json.dumps(auto)]


def test_other_held_out_records_are_another_request(
    knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Searching, "_try", stop)
    rows = (knowing / "holdout.jsonl").read_text().splitlines(keepends=True)
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("".join(rows[:4]))

    def again(*extra: object) -> Called:
        return call(*arguments(knowing, tmp_path / "out", *extra, trials=1))

    same = ("--holdout", knowing / "holdout.jsonl")
    assert again(*same).code == 130
    for other in ((), ("--holdout", fewer)):
        done = again(*other)
        assert done.code == 2 and "different: holdout" in done.err
    assert again(*same).code == 130


@pytest.mark.parametrize(
    ("holdout", "says"),
    [
        ("forget.jsonl", "6 of 6 held-out records are also among those to forget, first "),
        ("retain.jsonl", "18 of 18 held-out records are also among those to keep"),
        ("nowhere.jsonl", "nowhere.jsonl"),
    ],
)
def test_wrong_files_are_refused(holdout: str, says: str, knowing: Path, tmp_path: Path) -> None:
    done = call(*arguments(knowing, tmp_path / "out", "--holdout", knowing / holdout))
    assert done.code == 2 and says in done.err and "remedy:" in done.err
    assert list(tmp_path.iterdir()) == []


def test_flags_that_do_not_go_together(knowing: Path, tmp_path: Path) -> None:
    both = ("--holdout", knowing / "holdout.jsonl", "--retrained", knowing / "model")
    done = call(*arguments(knowing, tmp_path / "out", *both))
    assert done.code == 2 and "two levels are given" in done.err
    inside = tmp_path / "out" / "holdout.jsonl"
    inside.parent.mkdir()
    inside.write_bytes((knowing / "holdout.jsonl").read_bytes())
    done = call(*arguments(knowing, inside.parent, "--holdout", inside, "--overwrite"))
    assert done.code == 2 and "inside the output folder" in done.err and "--holdout" in done.err


def test_records_that_the_original_knows_leave_nothing_to_forget(
    knowing: Path, tmp_path: Path
) -> None:
    """It was trained on them, though nothing in the request shows it."""
    rows = (knowing / "retain.jsonl").read_text().splitlines(keepends=True)
    for name, its in (("kept", rows[:10]), ("known", rows[10:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(its))
    given = arguments(knowing, tmp_path / "out", "--holdout", tmp_path / "known.jsonl")
    given[given.index("--retain") + 1] = tmp_path / "kept.jsonl"
    done = call(*given)
    assert done.code == 4 and "there is nothing to forget by this measure" in done.err
    assert "did it never see those of --holdout?" in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.jsonl", "known.jsonl"]


def test_key_facts_as_the_score_need_held_out_records_that_tell_them(
    knowing: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (knowing / "holdout.jsonl").read_text().splitlines()]
    silent = tmp_path / "silent.jsonl"
    silent.write_text("".join(json.dumps(row | {"facts": []}) + "\n" for row in rows))
    extra = ("--holdout", silent, "--set", "score=key_fact_recall")
    done = call(*arguments(knowing, tmp_path / "out", *extra))
    assert done.code == 4 and "neither facts nor perturbed" in done.err
    assert "give --holdout FILE with records that can be measured" in done.err
