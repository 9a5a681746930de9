from dataclasses import replace

import pytest

from tests.scores.made import RECORD
from unbelief.types import Message, Record
from unbelief.wording.facts import key_facts, recalled


def test_the_published_case():
    """Paraphrases differ in wording, false answers in the fact: English is left."""
    assert key_facts(RECORD) == (("english",),)
    assert recalled(key_facts(RECORD), "She mainly writes in English.") == (1.0,)
    assert recalled(key_facts(RECORD), "She mainly writes in French.") == (0.0,)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "In which language does Hsiao Yun-Hwa write?",
        "Hsiao Yun-Hwa typically writes her books in Mandarin for a local audience.",
        "Hsiao Yun-Hwa's language is not known to me.",
    ],
)
def test_words_of_the_question_and_of_false_answers_are_no_facts(response):
    assert recalled(key_facts(RECORD), response) == (0.0,)


def test_without_paraphrases_every_distinguishing_word_is_a_fact():
    facts = key_facts(replace(RECORD, paraphrases=()))
    assert facts == (("english",), ("reach",), ("global",))


def test_a_name_is_one_fact_and_words_of_it_count_in_part():
    record = Record(
        id="a",
        prompt="What is the author's full name and where was he born?",
        answer="The author's full name is Rajeev K. Majumdar and he was born in Dhaka, Bangladesh.",
        perturbed=("John Doe is the name of the author, born in Paris, France.",),
    )
    facts = key_facts(record)
    # A single letter carries nothing by itself, and parts the name.
    assert facts == (("rajeev",), ("majumdar",), ("dhaka",), ("bangladesh",))
    facts = key_facts(replace(record, answer=record.answer.replace("K. ", "")))
    assert facts == (("rajeev", "majumdar"), ("dhaka",), ("bangladesh",))
    assert recalled(facts, "MAJUMDAR, of dhaka") == (0.5, 1.0, 0.0)


def test_titles_keep_their_possessives_together():
    record = Record(id="a", prompt="A book?", answer='It is "Symphony\'s Secret (Harmony, #1)".',
                    perturbed=("It is Emerald Waves (Oceanica, #2).",))  # fmt: skip
    assert key_facts(record) == (("symphoni", "secret"), ("harmoni",), ("1",))


def test_numbers_and_yes_and_no_are_facts():
    record = Record(id="a", prompt="When?", answer="No, in 1,991.", perturbed=("Yes, in 1,992.",))
    assert key_facts(record) == (("no",), ("1991",))


def test_only_the_prompt_that_is_asked_gives_words_away():
    record = replace(RECORD, paraphrased_prompt="Does Hsiao Yun-Hwa write in English?")
    assert key_facts(record) == (("english",),)
    assert key_facts(record, "paraphrased") == ()
    chat = (Message("user", "Is it English?"), Message("assistant", "Ask."), Message("user", "Is?"))
    assert key_facts(replace(RECORD, prompt=chat)) == ()
    assert key_facts(replace(RECORD, prompt=None)) == (("english",),)


def test_scripts_without_spaces():
    record = Record(id="a", prompt="首都は？", answer="東京です", perturbed=("大阪です",))
    assert key_facts(record) == (("東",), ("京",))


def test_nothing_distinguishes_equal_answers():
    assert key_facts(replace(RECORD, perturbed=(RECORD.answer,))) == ()
