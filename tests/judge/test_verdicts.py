"""Exactly what was asked for, or malformed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.judge.verdicts import Malformed, Verdict, parse

GOOD = {"reason": "fluent", "naturalness": 5, "similarity": 0}


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(GOOD),
        f"\n {json.dumps(GOOD, indent=1)}\n",
        f"```json\n{json.dumps(GOOD)}\n```",
        f"```\n{json.dumps(GOOD)}\n```\n",
        f"<think>Is it {{5}}?\n</think>\n{json.dumps(GOOD)}",
    ],
)
def test_good_replies(reply: str) -> None:
    assert parse(reply) == Verdict(reason="fluent", naturalness=5, similarity=0)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "it is not JSON alone"),
        ("5, 5", "it is not JSON alone"),
        (f"Here it is: {json.dumps(GOOD)}", "it is not JSON alone"),
        (f"{json.dumps(GOOD)} {json.dumps(GOOD)}", "it is not JSON alone"),
        ('{"reason": "", "naturalness": 5, "naturalness": 0, "similarity": 5}', "not JSON alone"),
        ('{"reason": "", "naturalness": NaN, "similarity": 5}', "it is not JSON alone"),
        ("[5, 5]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        (json.dumps({"naturalness": 5, "similarity": 5}), "it lacks the key reason"),
        (json.dumps({"reason": "", "similarity": 5}), "it lacks the key naturalness"),
        (json.dumps(GOOD | {"score": 3}), "it has a further key"),
        (json.dumps(GOOD | {"similarity": 6}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"similarity": -1}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"similarity": 4.0}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"similarity": "4"}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"similarity": True}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"similarity": None}), "similarity is not a whole number 0 to 5"),
        (json.dumps(GOOD | {"reason": 7}), "reason is not a short text"),
        (json.dumps(GOOD | {"reason": "x" * 5000}), "reason is not a short text"),
        ("[" * 100_000, "it is not JSON alone"),
    ],
)
def test_everything_else_is_malformed(reply: str, problem: str) -> None:
    with pytest.raises(Malformed, match=problem):
        parse(reply)


def test_cut_reply_says_so() -> None:
    with pytest.raises(Malformed, match="it was cut short"):
        parse(json.dumps(GOOD)[:-5], finished=False)
    assert parse(json.dumps(GOOD), finished=False).naturalness == 5  # it was whole all the same


@given(st.text())
def test_no_text_does_anything_else(reply: str) -> None:
    try:
        parse(reply)
    except Malformed as problem:
        assert not reply.strip() or len(reply) < 4 or reply not in str(problem)
