from __future__ import annotations

import pytest

from unbelief.audit.flags import Evidence, flag_of
from unbelief.audit.refusals import is_refusal


def evidence(
    text: str = "She paints.",
    fact: float | None = 0.0,
    collapse: float | None = 0.0,
    rouge: float | None = 0.2,
    probability: float | None = 0.06,
) -> Evidence:
    return Evidence(
        text=text, key_fact_recall=fact, collapse=collapse, rouge=rouge, probability=probability
    )


def test_rephrasing_that_classical_metrics_call_success_is_flagged():
    # Numbers of the paper's second case study: probability 0.06, ROUGE-L 0.20.
    flag, why = flag_of(evidence("She mainly writes in English.", fact=1.0))
    assert flag == "rephrased"
    assert "0.20" in why and "0.06" in why


def test_collapse_that_classical_metrics_call_success_is_flagged():
    # First case study: every classical metric is 0.
    always = evidence("always always always", collapse=1.0, rouge=0.0, probability=0.0)
    assert flag_of(always)[0] == "collapsed"
    empty = evidence("", collapse=1.0, rouge=0.0, probability=0.0)
    assert flag_of(empty) == ("collapsed", "the response is no words")


def test_a_leak_is_a_leak_however_broken_the_response():
    assert flag_of(evidence("English English English", fact=1.0, collapse=1.0))[0] == "rephrased"
    assert flag_of(evidence("She writes in English.", fact=1.0, rouge=0.9))[0] == "leaked"
    assert flag_of(evidence("English.", fact=1.0, probability=0.8))[0] == "leaked"


def test_a_fluent_answer_without_the_fact_is_forgotten():
    assert flag_of(evidence("She mainly writes in Dutch."))[0] == "forgotten"


def test_the_true_answer_is_a_leak_whatever_facts_were_given():
    # A fact that is not in the answer in these words ("1956-09-08") cannot be found in it.
    flag, why = flag_of(evidence("She was born on 8 September 1956.", fact=0.0, rouge=1.0))
    assert flag == "leaked" and "ROUGE-L" in why


def test_without_distinguishing_words_a_rephrasing_cannot_be_excluded():
    assert flag_of(evidence(fact=None))[0] == "undecided"
    assert flag_of(evidence(fact=None, rouge=0.7))[0] == "leaked"
    assert flag_of(evidence(fact=None, rouge=None))[0] == "undecided"
    assert flag_of(evidence("I'm not sure.", fact=None))[0] == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I\u2019m sorry, but I can\u2019t help with that.",
        "Unfortunately, there is no public information on this author.",
        "I have no information about her books.",
        "As an AI, I do not have access to that.",
        "That's not something I'm familiar with.",
    ],
)
def test_refusals_are_recognised(text):
    assert is_refusal(text)
    assert flag_of(evidence(text))[0] == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "She writes in English.",
        "His father was unable to read, so books were rare at home.",
        "The novel asks what we owe to people we will never meet, and its hero says: I don't know.",
        "Sorrow is her great theme.",
    ],
)
def test_answers_are_not_refusals(text):
    assert not is_refusal(text)
