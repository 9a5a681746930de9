from __future__ import annotations

from dataclasses import replace

import pytest

from tests.auto.made import records
from unbelief.auto.items import (
    HALVES,
    deal,
    neighbours_of,
    sort_records,
    swapped_records,
    told_records,
)
from unbelief.beliefs.neighbours import Neighbour
from unbelief.errors import RequestError
from unbelief.types import Record

FORGET, RETAIN = records()


def test_all_is_unlearned_and_half_is_asked_about() -> None:
    found = sort_records(FORGET, RETAIN, limit=64)
    halves = [{r.id for r in found.halves[half][0]} for half in HALVES]
    assert halves[0] | halves[1] == {r.id for r in FORGET} and not halves[0] & halves[1]
    # 18 records to keep: one in ten is held out for each half, the rest is rehearsed.
    held = [{r.id for r in found.halves[half][1]} for half in HALVES]
    rehearsed = {r.id for r in found.rehearsed}
    assert [len(h) for h in held] == [1, 1] and len(rehearsed) == 16
    assert not rehearsed & (held[0] | held[1]) and not found.notes


def test_many_clusters_are_dealt_out_whole_and_few_are_not() -> None:
    many = [
        replace(FORGET[0], id=f"{i}/{j}", group=f"author {i}") for i in range(20) for j in range(3)
    ]
    found = sort_records(many, RETAIN, limit=64)
    groups = [{r.group for r in found.halves[half][0]} for half in HALVES]
    assert [len(g) for g in groups] == [10, 10] and not groups[0] & groups[1] and not found.notes
    few = sort_records(many[:12], RETAIN, limit=64)  # four authors of three records
    groups = [{r.group for r in few.halves[half][0]} for half in HALVES]
    assert groups[0] == groups[1] and len(groups[0]) == 4
    ids = [{r.id for r in few.halves[half][0]} for half in HALVES]
    assert [len(i) for i in ids] == [6, 6] and not ids[0] & ids[1]
    assert "about 4 subjects" in few.notes[0]


def test_the_subject_of_a_prompt_is_its_cluster_where_there_is_no_group() -> None:
    found = sort_records(FORGET, RETAIN, limit=64)
    groups = {r.group for half in HALVES for r in found.halves[half][0]}
    assert groups == {" ".join(str(r.prompt).split()[2:4]) for r in FORGET}


def test_a_limit_and_too_few_records() -> None:
    assert len(sort_records(FORGET, RETAIN, limit=2).halves["choice"][0]) == 2
    with pytest.raises(RequestError, match="too few to rehearse"):
        sort_records(FORGET, RETAIN[:3], limit=64)


def test_one_subject_is_split_by_records_and_one_record_not_at_all() -> None:
    one = [replace(FORGET[0], id=f"x{i}") for i in range(4)]
    found = sort_records(one, RETAIN, limit=64)
    assert all(len(found.halves[half][0]) == 2 for half in HALVES)
    assert "about 1 subjects" in found.notes[0] and "never the same record" in found.notes[0]
    alone = sort_records(one[:1], RETAIN, limit=64)
    assert alone.halves["choice"][0][0].id == alone.halves["report"][0][0].id == "x0"
    assert "the report asks what the choice asked" in alone.notes[-1]


def test_dealing_depends_on_names_alone() -> None:
    every = [*FORGET, *RETAIN]
    there, back = deal(every), deal(every[::-1])
    assert there == back and {len(there[half]) for half in HALVES} == {12}


def test_a_swapped_record_is_about_the_stranger_throughout() -> None:
    record = Record(
        id="r",
        prompt="Where was Ada Orn born?",
        answer="Ada was born in Rome.",
        paraphrases=("Rome is where Ada Orn was born.",),
        perturbed=("Ada was born in Oslo.",),
        facts=("Rome",),
    )
    neighbour = Neighbour("Where was Bo Vik born?", "stranger's name", "Bo Vik", "Ada Orn")
    nearest = Neighbour("Where was Cy born?", "nearest prompt", "Cy", None)
    first, second = swapped_records([record], {"r": [neighbour, nearest]})
    assert (first.id, first.prompt, first.answer) == (
        "r~0",
        "Where was Bo Vik born?",
        "Bo was born in Rome.",
    )
    assert first.paraphrases == ("Rome is where Bo Vik was born.",)
    assert first.perturbed == ("Bo was born in Oslo.",) and first.facts == ("Rome",)
    # Nobody is known to be asked about: the answer stays as it is.
    assert (second.prompt, second.answer) == ("Where was Cy born?", "Ada was born in Rome.")


def test_what_is_said_of_one_stranger_is_told_of_the_subject_and_of_the_next() -> None:
    record = Record(id="r", prompt="Where was Ada Orn born?", answer="Ada was born in Rome.")
    names = ("Bo Vik", "Cy Lund")
    strangers = [Neighbour(f"Where was {n} born?", "stranger's name", n, "Ada Orn") for n in names]
    asked: list[Record] = []

    def ask(prompts: list[Record]) -> list[str]:
        asked.extend(prompts)
        return [f"{str(r.prompt).split()[2]} was born in Oslo." for r in prompts]

    told, moved = told_records([record], {"r": strangers}, ask)  # type: ignore[arg-type]
    assert [r.prompt for r in asked] == [n.prompt for n in strangers]
    assert [(r.prompt, r.answer) for r in told] == [
        ("Where was Ada Orn born?", "Ada was born in Oslo.")
    ] * 2
    assert [(r.prompt, r.answer) for r in moved] == [
        ("Where was Cy Lund born?", "Cy was born in Oslo."),
        ("Where was Bo Vik born?", "Bo was born in Oslo."),
    ]
    # One name alone cannot be moved, and nothing said is no answer.
    assert told_records([record], {"r": strangers[:1]}, ask)[0] == ()  # type: ignore[arg-type]
    assert told_records([record], {"r": strangers}, lambda p: [" "] * len(p))[0] == ()


def test_neighbours_are_not_those_whose_answers_are_taught() -> None:
    from unbelief.beliefs.neighbours import find_neighbours

    taught = find_neighbours(FORGET, RETAIN, 2, "strangers", 0)
    asked = neighbours_of(FORGET, RETAIN, 2, 0)
    assert taught != asked and all(len(found) == 2 for found in asked.values())
    without = Record(id="d", prompt=None, answer="A document.")
    assert neighbours_of([without], RETAIN, 2, 0) == {"d": ()}
