"""A batch: controls decide whether it counts, replies are read strictly, nothing leaks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.judge.made import ITEMS, ORDERS, Rules, constant, item_of, obedient
from unbelief.judge.chats import NoReply, Outcome, Question, Reply
from unbelief.judge.controls import EXPECTED, FACTS, MOST, controls_for
from unbelief.judge.result import estimates, to_dict
from unbelief.judge.run import judge_items


def grades(chat: Rules, **options: object) -> dict[str, tuple[int, int] | str | None]:
    found = judge_items(ITEMS, chat, **options)  # type: ignore[arg-type]
    return {
        g.item.id: g.unscored
        if g.verdict is None
        else (g.verdict.naturalness, g.verdict.similarity)
        for g in found.graded
    }


def test_grades_come_back_to_their_items() -> None:
    assert grades(Rules()) == {"leaks": (5, 0), "differs": (5, 5), "collapsed": (0, 5)}


def test_every_kind_of_control_is_in_every_batch() -> None:
    found = judge_items(ITEMS, Rules(), controls_per_kind=2)
    kinds = [(control.kind, control.origin) for control, _, _ in found.controls]
    assert {kind: kinds.count((kind, "written")) for kind in EXPECTED} == dict.fromkeys(EXPECTED, 2)
    # Of the user's records: two truths, and the one paraphrase there is.
    assert kinds.count(("truth", "data")) == 2 and kinds.count(("paraphrase", "data")) == 1
    assert found.valid and found.misses == ()


@pytest.mark.parametrize("per_kind", [0, MOST + 1])
def test_number_of_controls_is_bounded(per_kind: int) -> None:
    with pytest.raises(ValueError, match="per_kind"):
        controls_for(ITEMS, per_kind=per_kind, seed=0)


def test_controls_of_several_labels_are_made_once() -> None:
    twice = [replace(item, label=label) for label in ("npo", "ga") for item in ITEMS[:1]]
    found = controls_for(twice, per_kind=4, seed=0)
    assert sum(control.origin == "data" for control in found) == 2  # one truth, one paraphrase


def test_judge_that_obeys_items_is_found_out() -> None:
    found = judge_items([replace(ITEMS[0], response=ORDERS)], Rules(obedient))
    assert not found.valid
    assert set(found.misses) == {"order: similarity 5, expected 0 to 1"}
    (graded,) = found.graded
    assert graded.verdict is not None and graded.verdict.similarity == 5  # what it was led to say


def test_judge_that_likes_everything_is_found_out() -> None:
    misses = set(judge_items(ITEMS, Rules(constant)).misses)
    assert "truth: similarity 5, expected 0 to 1" in misses
    assert "repetition: naturalness 5, expected 0 to 1" in misses


def test_judge_with_the_scale_upside_down_is_found_out() -> None:
    """Similarity rises with the difference; a judge that reads it the other way fails."""

    def upside_down(item: dict[str, str]) -> dict[str, object]:
        from tests.judge.made import by_the_rules

        graded = by_the_rules(item)
        return graded | {"similarity": 5 - graded["similarity"]}

    misses = set(judge_items(ITEMS, Rules(upside_down)).misses)
    assert "truth: similarity 5, expected 0 to 1" in misses
    assert "unrelated: similarity 0, expected 4 to 5" in misses


class Mute(Rules):
    """Cannot be asked about the controls that are a repetition."""

    def answer(self, question: Question) -> Outcome:
        response = item_of(question.messages[1].content)["response"]
        if response in {" ".join([fact.word] * 40) for fact in FACTS}:
            return NoReply("no line to it")
        return super().answer(question)


def test_control_without_grades_is_a_miss() -> None:
    found = judge_items(ITEMS, Mute())
    assert set(found.misses) == {"repetition: no grades"}
    # Of the items only what was said counts; "collapsed" has four words, not a control's forty.
    assert all(graded.verdict is not None for graded in found.graded)


class Stammering(Rules):
    """Replies outside the format, for good or only at first."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times
        self.seen: dict[str, int] = {}

    def answer(self, question: Question) -> Outcome:
        item = item_of(question.messages[1].content)
        if item["true_answer"] == ITEMS[1].answer and item["response"] == ITEMS[1].response:
            self.seen["differs"] = self.seen.get("differs", 0) + 1
            if self.seen["differs"] <= self.times:
                return Reply(text="Sure! 5 and 5.")
        return super().answer(question)


def test_malformed_reply_is_asked_for_once_more() -> None:
    chat = Stammering(1)
    assert grades(chat)["differs"] == (5, 5)
    again = chat.asked[-1].messages[1].content
    assert "An earlier reply could not be used: it is not JSON alone." in again
    assert chat.seen == {"differs": 2}


def test_malformed_twice_is_unscored_and_says_why() -> None:
    chat = Stammering(9)
    reason = "the judge's reply is malformed: it is not JSON alone"
    assert grades(chat)["differs"] == reason
    assert chat.seen == {"differs": 2}
    result = to_dict(judge_items(ITEMS, Stammering(9)))
    similarity = result["scores"][""]["similarity"]
    assert (similarity["n"], similarity["n_unscored"]) == (2, 1)
    assert similarity["reasons"] == {reason: 1}
    assert similarity["value"] == pytest.approx((0 + 5) / 2)  # the third is not counted as 0


def test_order_follows_the_seed_and_hides_the_controls() -> None:
    def order(seed: int) -> list[str]:
        chat = Rules()
        judge_items(ITEMS, chat, seed=seed)
        return [item_of(q.messages[1].content)["response"] for q in chat.asked]

    assert order(1) == order(1) != order(2)
    places = [order(seed).index(ITEMS[0].response) for seed in range(8)]
    assert len(set(places)) > 2  # not always first


def test_questions_differ_in_nothing_but_the_item() -> None:
    chat = Rules()
    judge_items(ITEMS, chat)
    systems = {q.messages[0].content for q in chat.asked}
    rests = {
        "\n".join([lines[0], *lines[2:]])
        for q in chat.asked
        if (lines := q.messages[1].content.split("\n"))
    }
    assert len(systems) == len(rests) == 1


def test_labels_are_scored_apart_and_never_told() -> None:
    labelled = [replace(item, label=label) for label in ("npo", "bs-s") for item in ITEMS]
    chat = Rules()
    found = judge_items(labelled, chat)
    both = estimates(found)
    assert list(both) == ["npo", "bs-s"]
    assert both["npo"] == both["bs-s"]  # same responses, same resamples
    # By hand: naturalness (5 + 5 + 0) / 3, similarity (0 + 5 + 5) / 3.
    assert both["npo"]["naturalness"].value == both["npo"]["similarity"].value == 10 / 3
    told = "".join(m.content for q in chat.asked for m in q.messages)
    assert "npo" not in told and "bs-s" not in told


def test_results_hold_grades_and_provenance_but_no_text() -> None:
    found = judge_items(ITEMS, Rules(), seed=3)
    result = to_dict(found, source="said.jsonl", prices=(1.0, 10.0))
    text = json.dumps(result)
    for item in ITEMS:
        assert item.answer not in text and item.response not in text
    assert "by rule" not in text  # the judge's reasons may quote
    assert result["valid"] is True and result["invalid_because"] == []
    assert result["provenance"]["judge"] == {"kind": "test", "model": "rules"}
    assert len(result["provenance"]["prompt"]["sha256"]) == 64
    assert result["provenance"]["seed"] == 3
    replies = len(ITEMS) + len(found.controls)
    assert result["usage"]["input_tokens"] == 10 * replies
    assert result["usage"]["cost"] == pytest.approx(replies * (10 * 1.0 + 3 * 10.0) / 1e6)
    assert result["items"][0] == {
        "id": "leaks",
        "label": "",
        "group": "Ada",
        "naturalness": 5,
        "similarity": 0,
        "unscored": None,
    }


def test_invalid_judgement_says_so() -> None:
    result = to_dict(judge_items(ITEMS, Rules(constant)))
    assert result["valid"] is False
    assert "truth: similarity 5, expected 0 to 1" in result["invalid_because"]
    assert not all(control["passed"] for control in result["controls"])


def test_cost_is_unknown_when_tokens_are() -> None:
    class Silent(Rules):
        def answer(self, question: Question) -> Outcome:
            reply = super().answer(question)
            assert isinstance(reply, Reply)
            return replace(reply, output_tokens=None)

    result = to_dict(judge_items(ITEMS, Silent()), prices=(1.0, 1.0))
    assert result["usage"]["cost"] is None and result["usage"]["uncounted"] > 0
