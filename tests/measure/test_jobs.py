"""A plan as token ids: nothing twice, nothing silently missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers import EOS, tiny_tokenizer
from tests.measure.common import (
    ALL,
    ANSWERS,
    BEGUN,
    CHOICES,
    GREEDY,
    NORM,
    OTHER_QUESTION,
    OWN,
    PARAPHRASES,
    PERTURBED,
    SAMPLED,
    encoder,
    plan,
    record,
)
from unbelief.measure.jobs import Place, Question, Work, row_of
from unbelief.measure.plan import Plan
from unbelief.measure.prepare import prepare
from unbelief.measure.tables import AnswerNeed, GradientNeed, Need, TextNeed
from unbelief.tokens import Encoded, Encoder
from unbelief.types import Message, Record


def prepared(
    its: Sequence[Record], *needs: Need, by: Encoder | None = None, context: int | None = None
) -> Work:
    return prepare(Plan({"s": its}, {"s": needs}), by or encoder(), context)


def answers(work: Work) -> list[tuple[tuple[int, ...], tuple[int, ...], list[Place]]]:
    return [(q.prompt_ids, a.ids, a.places) for q in work.questions for a in q.answers]


def places(work: Work) -> list[Place]:
    """Every place of every job."""
    jobs: list[Any] = [a for q in work.questions for a in q.answers]
    jobs += [ask for asks in work.asks.values() for ask in asks]
    jobs += [q.answers[0] for its in work.gradients.values() for q in its]
    return [place for job in jobs for place in job.places]


def test_every_text_of_every_need_has_one_place() -> None:
    work = prepare(plan(4), encoder(), 256)
    texts = {OWN: 1, PARAPHRASES: 1, PERTURBED: 3, CHOICES: 3, OTHER_QUESTION: 1}
    want = [
        Place(0, e, n, i)
        for e in range(4)
        for n, need in enumerate(ALL)
        for i in range(texts.get(need, 1) if isinstance(need, AnswerNeed) else 1)
    ]
    assert sorted(places(work)) == want
    assert work.unmeasured == {}


def test_equal_token_ids_are_one_object() -> None:
    class Far(Encoder):
        """Ids beyond those of which Python itself keeps one object."""

        def encode(self, record: Record, *, answer: str | None = None) -> Encoded:
            near = super().encode(record, answer=answer)
            ids = (tuple(1000 + i for i in its) for its in (near.prompt_ids, near.answer_ids))
            return Encoded(near.record_id, *ids, near.truncated, near.hidden)

        def decode(self, ids: Sequence[int]) -> str:
            return super().decode([i - 1000 for i in ids])

    work = prepared([record(0), record(1)], OWN, PERTURBED, by=Far(tiny_tokenizer()))
    found = [*(i for q in work.questions for i in q.prompt_ids)]
    found += [i for q in work.questions for a in q.answers for i in a.ids]
    assert len({id(i) for i in found}) == len(set(found)) < len(found)


def test_a_question_has_its_prompt_once_and_its_answers_end_with_the_end_token() -> None:
    (question,) = prepared([record(0)], OWN, PARAPHRASES, PERTURBED).questions
    assert question.prompt_ids == encoder().encode_prompt(record(0).prompt)
    assert [a.ids[-1] for a in question.answers] == [EOS] * 5
    assert [encoder().decode(a.ids) for a in question.answers] == [
        "In Rome.",
        "It was Rome.",
        "In Oslo.",
        "In Lima.",
        "In Kyoto.",
    ]
    assert all(a.has_end and not a.truncated for a in question.answers)


def test_the_same_answer_to_the_same_prompt_is_scored_once() -> None:
    same = record(0, perturbed=("In Rome.", "In Oslo.", "In Oslo."))
    both = Plan({"a": [same], "b": [record(1), same]}, {"a": (OWN, PERTURBED), "b": (PERTURBED,)})
    prompt = encoder().encode_prompt(same.prompt)
    found = {
        encoder().decode(ids): its
        for before, ids, its in answers(prepare(both, encoder(), None))
        if before == prompt
    }
    assert found == {
        "In Rome.": [Place(0, 0, 0, 0), Place(0, 0, 1, 0), Place(1, 1, 1, 0)],
        "In Oslo.": [Place(s, e, 1, i) for s, e in ((0, 0), (1, 1)) for i in (1, 2)],
    }


def test_greedy_requests_are_shared_and_sampled_ones_belong_to_their_record() -> None:
    same = [record(0), record(0, id="other")]
    work = prepared(same, GREEDY, SAMPLED, NORM)
    assert [len(work.asks[n]) for n in (0, 1)] == [1, 2]
    assert work.asks[0][0].places == [Place(0, 0, 0), Place(0, 1, 0)]
    assert [ask.key for ask in work.asks[1]] == ["r0", "other"]
    assert len(work.gradients[2]) == 1


def test_a_record_without_something_is_unmeasured_and_the_others_are_not() -> None:
    bare = record(1, paraphrases=(), choices=(), paraphrased_prompt=None)
    work = prepared([record(0), bare], *ANSWERS)
    assert work.unmeasured == {
        (0, 1): {
            1: "the record has no paraphrases",
            3: "the record has no choices",
            4: "the record has no paraphrased prompt",
        }
    }


def test_an_empty_answer_is_unmeasured_and_can_still_be_asked_about() -> None:
    work = prepared([record(0, answer="", perturbed=("x", "", "y"))], OWN, PERTURBED, GREEDY, NORM)
    reasons = work.unmeasured[0, 0]
    assert reasons[0] == reasons[3] == "the answer has no tokens"
    assert reasons[1] == "perturbed 2 of 3: the answer has no tokens"
    assert 2 not in reasons and len(work.asks[2]) == 1
    assert work.questions == ()


@pytest.mark.parametrize("limited_by", ["encoder", "model"])
def test_an_answer_beyond_the_length_limit_is_cut_and_flagged(limited_by: str) -> None:
    whole = encoder().encode(record(2))
    limit = len(whole.prompt_ids) + 5
    by = Encoder(tiny_tokenizer(), max_length=limit if limited_by == "encoder" else None)
    context = limit if limited_by == "model" else None
    ((_, ids, _),) = answers(prepared([record(2)], OWN, by=by, context=context))
    (question,) = prepared([record(2)], OWN, by=by, context=context).questions
    assert ids == whole.answer_ids[:5]
    assert question.answers[0].truncated and not question.answers[0].has_end


@pytest.mark.parametrize("over", [0, 1])
def test_a_prompt_that_fills_the_context_leaves_nothing_to_measure(over: int) -> None:
    n = len(encoder().encode(record(0)).prompt_ids)
    work = prepared([record(0)], OWN, GREEDY, NORM, context=n - over)
    why = f"the prompt alone has {n} tokens, the model's context {n - over}"
    assert work.unmeasured == {(0, 0): dict.fromkeys(range(3), why)}
    assert places(work) == []


def test_a_prompt_beyond_max_length_says_so() -> None:
    by = Encoder(tiny_tokenizer(), max_length=10)
    work = prepared([record(0)], OWN, by=by)
    assert work.unmeasured[0, 0][0].endswith("the limit is 10")


def test_a_request_gets_what_the_context_leaves() -> None:
    n = len(encoder().encode_prompt(record(0).prompt))
    for room, limit in ((3, 3), (9, 9), (50, 9)):
        assert prepared([record(0)], GREEDY, context=n + room).asks[0][0].limit == limit


def test_documents_have_no_prompt() -> None:
    # One token per character and no BOS: the first character is not scored, and nothing is asked.
    work = prepared([record(0, prompt=None), record(1, prompt=None, answer="x")], OWN, GREEDY)
    assert answers(work)[0][0] == ()
    assert work.unmeasured[0, 0] == {1: "the prompt has no tokens, and nothing cannot be answered"}
    bos = Encoder(tiny_tokenizer(add_bos=True, chat=False))
    assert prepared([record(0, prompt=None)], GREEDY, by=bos).asks[0][0].prompt_ids == (bos.bos_id,)


def test_a_single_token_without_anything_before_it_is_unmeasured() -> None:
    no_end = Encoder(tiny_tokenizer(), end_token=False)
    work = prepared([record(0, prompt=None, answer="x")], OWN, by=no_end)
    assert "single token" in work.unmeasured[0, 0][0]


@pytest.mark.parametrize("chat", [True, False])
def test_a_prefix_begins_the_models_turn(chat: bool) -> None:
    by = Encoder(tiny_tokenizer(chat=chat))
    before = by.encode_prompt(record(0).prompt)
    (ask,) = prepared([record(0)], TextNeed(GREEDY.decoding, prefix="She"), by=by).asks[0]
    assert ask.prompt_ids[: len(before)] == before
    assert by.decode(ask.prompt_ids[len(before) :]) == ("She" if chat else " She")


def test_a_prefix_goes_on_where_an_attack_began() -> None:
    talk = (Message("user", "Where?"), Message("assistant", "Sure: "))
    (ask,) = prepared([record(0, prompt=talk)], BEGUN).asks[0]
    assert encoder().decode(ask.prompt_ids).endswith("Where?Sure: She ")


class Hiding(Encoder):
    """Hides every "e", in prompts and answers, as a padding id that is in use would be."""

    def encode(self, record: Record, *, answer: str | None = None) -> Encoded:
        e = super().encode(record, answer=answer)
        hidden = self.hidden(e.prompt_ids + e.answer_ids)
        return Encoded(e.record_id, e.prompt_ids, e.answer_ids, e.truncated, hidden)

    def hidden(self, ids: Sequence[int]) -> tuple[int, ...]:
        e = self.tokenizer.convert_tokens_to_ids("e")
        return tuple(i for i, token in enumerate(ids) if token == e)


def test_hidden_positions_are_divided_between_prompt_and_answer() -> None:
    work = prepared([record(0)], OWN, GREEDY, by=Hiding(tiny_tokenizer()))
    question: Question = work.questions[0]
    answer = question.answers[0]
    prompt = "<|user|>Where was author 0 born<|assistant|>"
    text = prompt.replace("<|user|>", "U").replace("<|assistant|>", "A")
    assert question.hidden == tuple(i for i, c in enumerate(text) if c == "e") != ()
    assert answer.hidden == ("In Rome.".index("e"),)
    row = row_of(question.prompt_ids, question.hidden, answer)
    assert row.hidden == (*question.hidden, len(text) + answer.hidden[0])
    assert work.asks[1][0].hidden == question.hidden


def test_without_its_last_token_an_answer_is_one_shorter() -> None:
    last, all_ = GradientNeed(drop_last=True), NORM
    work = prepared([record(0)], last, all_)
    short, whole = work.gradients[0][0].answers[0], work.gradients[1][0].answers[0]
    assert short.ids == whole.ids[:-1] and whole.has_end and not short.has_end
    no_end = Encoder(tiny_tokenizer(), end_token=False)
    work = prepared([record(0, answer="x")], last, by=no_end)
    assert "without its last token" in work.unmeasured[0, 0][0]
