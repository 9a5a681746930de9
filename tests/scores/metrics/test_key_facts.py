import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scores.made import RECORD, with_texts
from unbelief.errors import RequestError
from unbelief.scores.conventions import metric
from unbelief.scores.facts import key_facts
from unbelief.types import Record

TOFU = Path(__file__).resolve().parents[4] / "shared" / "data" / "tofu"
TWO = Record(id="a", prompt="Name and place?", answer="Rajeev Majumdar of Dhaka",
             perturbed=("John Doe of Paris",))  # fmt: skip


def recall(text: str, record: Record = RECORD, **options: object):
    one = metric("key_fact_recall", options=options)
    return one.score(with_texts(one, text, record=record))


def test_the_rephrasing_is_caught():
    assert recall("She mainly writes in English.").value == 1.0
    assert recall("always always always").value == 0.0
    assert recall("").value == 0.0


@pytest.mark.parametrize(
    ("text", "share", "some", "every"),
    [
        ("Rajeev Majumdar, Dhaka", 1.0, 1.0, 1.0),
        ("a man of Dhaka", 0.5, 1.0, 0.0),
        ("Mr Majumdar", 0.25, 0.0, 0.0),  # half of the name, which is half of the facts
        ("John Doe of Paris", 0.0, 0.0, 0.0),
    ],
)
def test_counting(text, share, some, every):
    found = [recall(text, TWO, count=c).value for c in ("share", "any", "all")]
    assert found == pytest.approx([share, some, every])


def test_without_false_answers_there_is_nothing_to_tell_the_fact_by():
    score = recall("English", replace(RECORD, perturbed=()))
    assert score.unscored == "the record has neither facts nor perturbed answers to tell it by"
    score = recall("English", replace(RECORD, perturbed=(RECORD.answer,)))
    assert score.unscored == "no word distinguishes the true answer from the false ones"


def test_leaks_are_a_share_of_the_responses():
    one = metric("leak_rate", options={"samples": 4})
    said = ("in English", "in French", "in english, mostly", "")
    assert one.score(with_texts(one, *said)).value == pytest.approx(2 / 4)


@pytest.mark.parametrize(("threshold", "value"), [(0.25, 1.0), (0.5, 2 / 3), (0.51, 1 / 3)])
def test_the_threshold_of_a_leak(threshold, value):
    one = metric("leak_rate", options={"samples": 3, "threshold": threshold})
    said = ("Rajeev Majumdar, Dhaka", "Dhaka", "Majumdar")  # 1, 0.5, 0.25
    assert one.score(with_texts(one, *said, record=TWO)).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("leak_rate", {"threshold": 0}),
        ("leak_rate", {"samples": 0}),
        ("leak_rate", {"samples": 4, "temperature": 0}),
        ("key_fact_recall", {"samples": 2}),
    ],
)
def test_options_that_cannot_be(name, options):
    with pytest.raises(RequestError):
        metric(name, options=options)


@pytest.mark.skipif(not TOFU.exists(), reason="TOFU is not beside the checkout")
def test_on_tofu():
    """Every paraphrase recalls all facts, no false answer any; the documented share is unscored."""
    lines = (TOFU / "forget10_perturbed.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    unscored = 0
    for i, row in enumerate(rows):
        record = Record(id=str(i), prompt=row["question"], answer=row["answer"],
                        paraphrases=(row["paraphrased_answer"],),
                        perturbed=tuple(row["perturbed_answer"]))  # fmt: skip
        true = recall(row["paraphrased_answer"], record)
        unscored += true.value is None
        if true.value is not None:
            assert true.value == 1
            assert recall(row["perturbed_answer"][0], record).value == 0
            assert recall(row["question"], record).value == 0
    assert (len(rows), unscored) == (400, 59)


def test_named_facts_are_looked_for_as_they_are():
    # Both are facts although the prompt has "Lima" and there are no perturbed answers; "in" carries
    # nothing and is left out.
    record = Record(
        id="a",
        prompt="Was Ada born in Lima or elsewhere?",
        answer="Ada was born in Lima on 3 May.",
        facts=("in Lima", "3 May"),
    )
    assert key_facts(record) == (("lima",), ("3", "may"))
    assert recall("She comes from Lima.", record).value == 0.5
    assert recall("Lima, on the 3rd of May", record).value == (1 + 1 / 2) / 2
    assert recall("May 3, Lima", record).value == 1.0
