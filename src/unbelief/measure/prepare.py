"""A plan as token ids: records' prompts and answers encoded, and jobs drawn up from them.

What sets or needs have in common (the same answer to the same prompt, the same greedy request) is
one job with several places for its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from unbelief.errors import DataError, RequestError
from unbelief.measure.jobs import Answer, Ask, Place, Question, Work
from unbelief.measure.plan import Plan, Unmeasurable, asked, texts_of
from unbelief.measure.tables import AnswerNeed, GradientNeed, Need, TextNeed
from unbelief.types import Message, Record

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoded, Encoder

_Prompt = tuple[tuple[int, ...], tuple[int, ...]]  # its tokens, and positions that nothing sees


def prepare(plan: Plan, encoder: Encoder, context: int | None) -> Work:
    """Encode everything a plan needs.

    Args:
        plan: What is to be measured.
        encoder: Renders prompts and answers.
        context: Longest sequence of the model, in tokens; None if it has no limit.
    """
    drawer = _Drawer(_Encoding(encoder, context), {n: i for i, n in enumerate(plan.all_needs)})
    for s, (name, records) in enumerate(plan.sets.items()):
        for e, record in enumerate(records):
            for need in plan.needs[name]:
                drawer.add(record, need, s, e)
    return drawer.work()


class _Encoding:
    """Encodes each (prompt, answer) once, and says in words what cannot be."""

    def __init__(self, encoder: Encoder, context: int | None):
        self.encoder, self.context = encoder, context
        self._encoded: dict[object, Encoded] = {}
        self._numbers: dict[int, int] = {}

    def answer(self, record: Record, text: str) -> Encoded:
        """The record's prompt with an answer, within the model's context."""
        key = (record.prompt, text)
        try:
            encoded = self._encoded.get(key) or self._encode(record, text)
        except DataError as error:
            raise Unmeasurable(error.message) from error
        self._encoded[key] = encoded
        room = self.room(len(encoded.prompt_ids))
        if room is not None and len(encoded.answer_ids) > room:
            encoded = replace(encoded, answer_ids=encoded.answer_ids[:room], truncated=True)
        if len(encoded.prompt_ids) + len(encoded.answer_ids) < 2:
            raise Unmeasurable("a single token with nothing before it cannot be scored")
        return encoded

    def _encode(self, record: Record, text: str) -> Encoded:
        """With one object per token id: 32 bytes a token otherwise, and 8 so."""
        encoded = self.encoder.encode(record, answer=text)
        both = (encoded.prompt_ids, encoded.answer_ids)
        ids = [tuple(map(self._numbers.setdefault, its, its)) for its in both]
        return replace(encoded, prompt_ids=ids[0], answer_ids=ids[1])

    def request(self, record: Record, prefix: str) -> _Prompt:
        """Token ids of the prompt and of what is put into the model's mouth; hidden positions."""
        try:
            ids = self.encoder.encode_prompt(_begun(record.prompt, prefix))
        except RequestError as error:
            raise Unmeasurable(error.message) from error
        if not ids:
            raise Unmeasurable("the prompt has no tokens, and nothing cannot be answered")
        return ids, self.encoder.hidden(ids)

    def draft(self, record: Record, ids: tuple[int, ...]) -> tuple[int, ...]:
        """What follows a request's token ids where the record's own answer is given."""
        try:
            encoded = self.answer(record, record.answer)
        except Unmeasurable:
            return ()
        whole = encoded.prompt_ids + encoded.answer_ids
        return whole[len(ids) :] if whole[: len(ids)] == ids else encoded.answer_ids

    def room(self, used: int) -> int | None:
        """Tokens left of the model's context."""
        if self.context is not None and used >= self.context:
            raise Unmeasurable(
                f"the prompt alone has {used} tokens, the model's context {self.context}"
            )
        return None if self.context is None else self.context - used

    def job(self, encoded: Encoded) -> Answer:
        """The encoded answer as a job without places."""
        start, ids = len(encoded.prompt_ids), encoded.answer_ids
        return Answer(
            ids,
            tuple(i - start for i in encoded.hidden if start <= i < start + len(ids)),
            has_end=self.encoder.end_token and ids[-1] == self.encoder.end_id,
            truncated=encoded.truncated,
            decoded=self.encoder.decode(ids),
        )


def _begun(
    prompt: str | tuple[Message, ...] | None, prefix: str
) -> str | tuple[Message, ...] | None:
    """The prompt with the beginning of the model's own turn."""
    if not prefix:
        return prompt
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt or ()
    if turns and turns[-1].role == "assistant":
        return (*turns[:-1], Message("assistant", turns[-1].content + prefix))
    return (*turns, Message("assistant", prefix))


def _prompt(encoded: Encoded) -> _Prompt:
    """Ids of the prompt and its hidden positions."""
    ids = encoded.prompt_ids
    return ids, tuple(i for i in encoded.hidden if i < len(ids))


class _Drawer:
    """Collects jobs; equal ones get one more place instead of another job."""

    def __init__(self, encoding: _Encoding, index: Mapping[Need, int]):
        self.encoding, self.index = encoding, index
        self.questions: dict[_Prompt, dict[tuple[int, ...], Answer]] = {}
        self.asks: dict[int, dict[object, Ask]] = {}
        self.gradients: dict[int, dict[object, Question]] = {}
        self.unmeasured: dict[tuple[int, int], dict[int, str]] = {}

    def add(self, record: Record, need: Need, s: int, e: int) -> None:
        """Draw up the jobs of one need on one record."""
        place = Place(s, e, self.index[need])
        kinds: dict[type, Callable[..., None]] = {
            AnswerNeed: self._score,
            TextNeed: self._ask,
            GradientNeed: self._differentiate,
        }
        try:
            kinds[type(need)](record, need, place)
        except Unmeasurable as reason:
            self.unmeasured.setdefault((s, e), {})[place.need] = str(reason)

    def work(self) -> Work:
        """Everything so far."""
        return Work(
            tuple(
                Question(prompt, hidden, tuple(answers.values()))
                for (prompt, hidden), answers in self.questions.items()
            ),
            {need: tuple(asks.values()) for need, asks in self.asks.items()},
            {need: tuple(its.values()) for need, its in self.gradients.items()},
            self.unmeasured,
        )

    def _score(self, record: Record, need: AnswerNeed, place: Place) -> None:
        question, texts = asked(record, need.prompt), texts_of(record, need)
        found = []
        for i, text in enumerate(texts):
            try:
                found.append(self.encoding.answer(question, text))
            except Unmeasurable as reason:  # all texts of a need, or none of them
                what = "" if need.answer == "answer" else f"{need.answer} {i + 1} of {len(texts)}: "
                raise Unmeasurable(f"{what}{reason}") from reason
        for i, encoded in enumerate(found):
            answers = self.questions.setdefault(_prompt(encoded), {})
            answer = answers.get(encoded.answer_ids) or self.encoding.job(encoded)
            answer.places.append(replace(place, ordinal=i))
            answers[encoded.answer_ids] = answer.wanted(need)

    def _ask(self, record: Record, need: TextNeed, place: Place) -> None:
        question = asked(record, need.prompt)
        ids, hidden = self.encoding.request(question, need.prefix)
        room = self.encoding.room(len(ids))
        most = need.decoding.max_new_tokens
        limit = most if room is None else min(most, room)
        random = need.decoding.temperature != 0 and need.decoding.num_beams == 1
        key = (ids, hidden, record.id if random else None)
        asks = self.asks.setdefault(place.need, {})
        fresh = Ask(record.id, ids, hidden, limit, draft=self.encoding.draft(question, ids))
        asks.setdefault(key, fresh).places.append(place)

    def _differentiate(self, record: Record, need: GradientNeed, place: Place) -> None:
        encoded = self.encoding.answer(record, record.answer)
        if need.drop_last:
            encoded = replace(encoded, answer_ids=encoded.answer_ids[:-1])
        if len(encoded.answer_ids) + min(len(encoded.prompt_ids), 1) < 2:
            raise Unmeasurable("without its last token the answer has none to be scored")
        fresh = Question(*_prompt(encoded), (self.encoding.job(encoded),))
        key = (*_prompt(encoded), encoded.answer_ids)
        questions = self.gradients.setdefault(place.need, {})
        questions.setdefault(key, fresh).answers[0].places.append(place)
