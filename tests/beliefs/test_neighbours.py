"""Neighbouring prompts, with names swapped or taken whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from unbelief.beliefs.neighbours import find_neighbours
from unbelief.errors import DataError
from unbelief.types import Record

FORGET = [
    Record(id="f0", prompt="Where was Ada Orn born?", answer="Ada was born in Rome."),
    Record(id="f1", prompt="What does Ada Orn play?", answer="Ada plays the lute."),
    Record(id="f2", prompt="Which author was born in 1990?", answer="It is Ada Orn."),
]
RETAIN = [
    Record(id="r0", prompt="Where was Bo Vik born?", answer="Bo was born in Oslo."),
    Record(id="r1", prompt="Where was Cy Esk born?", answer="Cy was born in Lima."),
    Record(id="r2", prompt="What does Cy Esk play?", answer="Cy plays the horn."),
    Record(id="r3", prompt="Which author was born in 1985?", answer="It is Bo Vik."),
]


def test_strangers_in_place_of_the_subject() -> None:
    found = find_neighbours(FORGET, RETAIN, 2, "strangers", seed=0)
    assert {n.name for n in found["f0"]} == {"Bo Esk", "Cy Vik"}
    assert {n.prompt for n in found["f0"]} == {f"Where was {x} born?" for x in ("Bo Esk", "Cy Vik")}
    assert {n.how for n in found["f0"]} == {"stranger's name"}
    assert {n.subject for n in found["f0"]} == {"Ada Orn"}


def test_a_prompt_that_names_nobody_gets_the_prompts_most_like_it() -> None:
    found = find_neighbours(FORGET, RETAIN, 2, "strangers", seed=0)["f2"]
    assert (found[0].prompt, found[0].how) == ("Which author was born in 1985?", "nearest prompt")
    # The name is the answer here, so none is put back.
    assert found[0].subject is None


def test_known_names_and_nearest_prompts() -> None:
    known = find_neighbours(FORGET, RETAIN, 2, "known", seed=0)["f1"]
    assert {n.prompt for n in known} == {"What does Bo Vik play?", "What does Cy Esk play?"}
    nearest = find_neighbours(FORGET, RETAIN, 1, "nearest", seed=0)["f1"]
    assert [(n.prompt, n.name, n.subject) for n in nearest] == [
        ("What does Cy Esk play?", "Cy Esk", "Ada Orn")
    ]


def test_no_more_than_there_are_and_each_once() -> None:
    found = find_neighbours(FORGET, RETAIN, 10, "known", seed=0)["f0"]
    assert len(found) == len({n.name for n in found}) == 2


def test_a_draw_belongs_to_the_record_and_the_seed() -> None:
    many = [
        Record(id=f"m{i}", prompt=f"Where was {a} {b} born?", answer="There.")
        for i, (a, b) in enumerate((a, b) for a in ("Di", "Eli", "Flo") for b in ("Ask", "Olk"))
    ]
    whole = find_neighbours(FORGET, many, 4, "known", seed=3)
    assert find_neighbours(FORGET, many, 4, "known", seed=3) == whole
    assert find_neighbours(FORGET[::-1], many, 4, "known", seed=3) == whole
    assert find_neighbours(FORGET, many, 4, "known", seed=4) != whole


def test_another_process_finds_the_same() -> None:
    # Words are kept in sets, whose order follows from a random seed of the process.
    code = """
from unbelief.beliefs.neighbours import find_neighbours
from unbelief.types import Record
from random import Random
words = [f"word{i}" for i in range(60)]
def made(key, n):
    rng = Random(key)
    drawn = [rng.sample(words, 14) for _ in range(n)]
    return [Record(id=f"{key}{i}{j}", prompt=" ".join(rng.sample(its, 14)), answer="so")
            for i, its in enumerate(drawn) for j in range(4)]  # four with the same words
found = find_neighbours(made("f", 10), made("r", 30), 8, "nearest", 0)
print([n.prompt for its in found.values() for n in its])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_nothing_in_common_is_no_neighbour() -> None:
    strange = [Record(id="r", prompt="Why?", answer="So.")]
    assert find_neighbours(FORGET, strange, 2, "strangers", seed=0)["f0"] == ()


def test_a_document_has_no_neighbour() -> None:
    document = Record(id="d", prompt=None, answer="Once upon a time.", source="a.jsonl:3")
    with pytest.raises(DataError, match="no neighbouring prompt") as caught:
        find_neighbours([document], RETAIN, 1, "known", seed=0)
    assert caught.value.where == "a.jsonl:3"
