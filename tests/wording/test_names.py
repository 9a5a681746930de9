"""Names found by use, put in each other's place, and put together anew."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from unbelief.types import Message, Record
from unbelief.wording.names import (
    NamePool,
    known_names,
    names_in,
    renamed,
    renamed_prompt,
    small_words,
    subjects,
    without_names,
)

SMALL = small_words(["what does the author write in, and has her work won a prize?"])


def asked(*prompts: str) -> list[Record]:
    return [Record(id=f"q{i}", prompt=p, answer="Yes.") for i, p in enumerate(prompts)]


def test_a_name_is_a_run_of_capitals_that_is_never_written_small() -> None:
    def found(text: str) -> list[str]:
        return names_in(text, SMALL)

    assert found("Has Hsiao Yun-Hwa's work won the Prize?") == ["Hsiao Yun-Hwa"]
    assert found("What does Ludwig van der Berg write?") == ["Ludwig van der Berg"]
    assert found("Did J. K. O'Neil meet Ada Orn's Sister?") == ["J. K. O'Neil", "Ada Orn", "Sister"]
    # "Author" is written small elsewhere, so it begins no name at the start of a sentence, but may
    # be part of one within it.
    assert found("Author Ada Orn. Work!") == ["Ada Orn"]
    assert found("the Author Ada Orn") == ["Author Ada Orn"]
    assert found("nobody at all") == found("") == []


def test_whom_a_record_asks_about() -> None:
    forget = asked(
        "Where was Ada Orn born?",
        "Who taught Ada Orn in Lima?",
        "Does Lima know Bo Vik?",
        "Did Bo Vik meet Cleo Esk?",
        "Why is that so?",
    )
    retain = asked("Where was Cleo Esk born?", "Is Ivo Esk from Oslo?")
    # Ada Orn, Bo Vik and Lima are in two of the forget texts each, and Lima is the shorter name;
    # Cleo Esk is somebody to keep; the last prompt names nobody.
    assert subjects(forget, retain) == {
        "q0": "Ada Orn",
        "q1": "Ada Orn",
        "q2": "Bo Vik",
        "q3": "Bo Vik",
        "q4": None,
    }


def test_a_place_in_one_prompt_of_many_is_not_whom_it_is_about() -> None:
    forget = asked(*(f"What is {i} to Ada Orn?" for i in range(5)), "Who was born in Lima?")
    found = subjects(forget, asked("What is it?"))
    assert found["q0"] == "Ada Orn"
    assert found["q5"] is None  # 1 of 6 against 5 of 6: less than half


def test_known_names_are_those_that_prompts_are_about() -> None:
    retain = asked(
        *(f"What is {i} to Cleo Esk?" for i in range(8)),
        *(f"What is {i} to Ivo Ask?" for i in range(2)),
        "Who won the Golden Apple?",
        "Who lives in Oslo?",
    )
    # A quarter of eight is two; the apple is in one prompt, Oslo is one word.
    assert known_names(retain) == ("Cleo Esk", "Ivo Ask")
    assert known_names(asked("Who lives in Oslo?", "Is Rome old?")) == ("Oslo", "Rome")
    assert known_names(asked("why?")) == ()


def test_strangers_are_nobody() -> None:
    pool = NamePool(("Ada Orn", "Bo Vik", "Cy Esk"), taken=frozenset({"Ada Vik"}))
    made = {pool.stranger("Eli Ask", random.Random(i)) for i in range(200)}
    assert made == {"Ada Esk", "Bo Orn", "Bo Esk", "Cy Orn", "Cy Vik"}
    three = NamePool(("Ada Mia Orn", "Bo Lea Vik"))
    assert {three.stranger("Eli Jo Ask", random.Random(i)) for i in range(50)} == {
        "Ada Lea Vik",
        "Ada Mia Vik",
        "Bo Mia Orn",
        "Bo Lea Orn",
    }
    assert NamePool(("Ada Orn",)).stranger("Bo Vik", random.Random(0)) is None
    assert NamePool(("Ada", "Bo")).stranger("Cy", random.Random(0)) is None
    assert NamePool(("Ada", "Bo Vik")).someone("Cy", random.Random(0)) == "Ada"
    assert NamePool(()).someone("Cy", random.Random(0)) is None


def test_renaming_takes_whole_names_and_their_parts() -> None:
    text = "Ada Orn is Ada. Orn's Adas, Ada-Lee and ada stay."
    assert renamed(text, "Ada Orn", "Bo Vik") == "Bo Vik is Bo. Vik's Adas, Ada-Lee and ada stay."
    # First to first, last to last, whatever is between.
    assert renamed("Jo van Berg, Jo, Berg", "Jo van Berg", "Bo Vik") == "Bo Vik, Bo, Vik"
    assert renamed("Bo Vik, Bo, Vik", "Bo Vik", "Jo van Berg") == "Jo van Berg, Jo, Berg"
    assert renamed("Ada and Ada Orn", "Ada", "Bo Vik") == "Bo Vik and Bo Vik Orn"


def test_renaming_at_once_not_one_after_the_other() -> None:
    assert renamed("Ada Orn, Ada, Orn", "Ada Orn", "Orn Ada") == "Orn Ada, Orn, Ada"


@given(st.lists(st.sampled_from(["Ada Orn", "Ada", "Orn", "sings", "in", "Rome"]), max_size=8))
def test_there_and_back(pieces: list[str]) -> None:
    text = ", ".join(pieces)
    assert renamed(renamed(text, "Ada Orn", "Bo Vik"), "Bo Vik", "Ada Orn") == text


def test_prompts_of_several_turns() -> None:
    turns = (Message("user", "Who is Ada Orn?"), Message("assistant", "Who is Ada?"))
    assert renamed_prompt(turns, "Ada Orn", "Bo Vik") == (
        Message("user", "Who is Bo Vik?"),
        Message("assistant", "Who is Bo?"),
    )
    assert renamed_prompt(None, "Ada Orn", "Bo Vik") is None


def test_what_is_asked_without_about_whom() -> None:
    assert without_names("What does Ada Orn write?", SMALL).split() == ["What", "does", "write?"]
