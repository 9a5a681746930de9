"""Answers the model gives by itself, in batches that follow from the work alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unbelief.beliefs.asking import stops_of
from unbelief.beliefs.batches import resolve_batch_size
from unbelief.beliefs.sampler import sample_answers
from unbelief.measure.jobs import Ask
from unbelief.measure.tables import TextMeasurement, TextNeed
from unbelief.models.runner import AnswerModel

if TYPE_CHECKING:
    import pyarrow as pa

    from unbelief.measure.packs import Batch
    from unbelief.tokens.encode import Encoder

# Prompts decoded at once at most: on a CPU a cache of keys and values that stays small.
_MOST_PROMPTS = {"cpu": 48}
_MOST_PROMPTS_DEVICE = 256
# Prompts of one part, per prompt decoded at once: new ones take the place of finished ones, and
# only the last leave places empty. Few enough for several processes.
_PROMPTS_PER_PLACE = {"cpu": 4}


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said to one request.

    Attributes:
        ask: The request.
        texts: Its answers, in sample order.
    """

    ask: Ask
    texts: tuple[TextMeasurement, ...]


class Recited:
    """Answers the model would give word by word, as was seen when they were scored.

    A record's own answer each of whose tokens, the end included, was the most probable one is what
    greedy decoding says to its prompt: it need not be asked.
    """

    def __init__(self) -> None:
        self._log_probs: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}

    def learn(self, batches: Sequence[Batch], table: pa.Table) -> None:
        """Remember which answers are among them.

        Args:
            batches: What was scored.
            table: What came out, as of `answers_table`.
        """
        hits, log_probs, row = table["hit"], table["logp"], 0
        for pack in (pack for batch in batches for pack in batch.packs):
            for answer in pack.answers:
                plain = answer.has_end and not answer.truncated and not answer.hidden
                plain = plain and bool(pack.prompt_ids) and not pack.hidden
                if plain and all(hits[row].as_py()):
                    key = (pack.prompt_ids, answer.ids)
                    self._log_probs[key] = math.fsum(log_probs[row].as_py())
                row += len(answer.places)

    def said(self, need: TextNeed, ask: Ask, encoder: Encoder) -> Said | None:
        """What the model says to a request, where that is known."""
        log_prob = self._log_probs.get((ask.prompt_ids, ask.draft))
        ends = stops_of(encoder).end_ids
        if (
            log_prob is None
            or encoder.repetition_penalty != 1
            or not need.decoding.is_greedy
            or ask.hidden
            or len(ask.draft) > ask.limit
            or [i for i, token in enumerate(ask.draft) if token in ends] != [len(ask.draft) - 1]
        ):
            return None
        text = TextMeasurement(
            token_ids=ask.draft,
            text=encoder.decode(ask.draft),
            log_prob=log_prob,
            finished=True,
        )
        return Said(ask, (text,))


def prompts_at_once(model: AnswerModel, need: TextNeed, asks: Sequence[Ask]) -> int:
    """Prompts whose answers are decoded together: what fits into the memory at hand."""
    prompts = [a.prompt_ids for a in asks]
    rows = resolve_batch_size(model.inner, prompts, need.decoding)
    most = _MOST_PROMPTS.get(model.device.type, _MOST_PROMPTS_DEVICE)
    return max(1, min(rows // max(need.samples, need.decoding.num_beams), most))


def prompts_per_part(model: AnswerModel, at_once: int) -> int:
    """Prompts of one part of the work."""
    return at_once * _PROMPTS_PER_PLACE.get(model.device.type, 1)


def text_batches(asks: Sequence[Ask], prompts: int) -> list[tuple[Ask, ...]]:
    """Requests whose answers should be of similar length together; one length limit per batch.

    They are sorted by the length of the records' own answers, longest first.
    """
    by_limit: dict[int, list[Ask]] = {}
    for ask in sorted(asks, key=lambda a: (-a.limit, -len(a.draft), -len(a.prompt_ids))):
        by_limit.setdefault(ask.limit, []).append(ask)
    return [
        tuple(group[i : i + prompts])
        for group in by_limit.values()
        for i in range(0, len(group), prompts)
    ]


def answer_asks(
    model: AnswerModel,
    encoder: Encoder,
    need: TextNeed,
    asks: Sequence[Ask],
    at_once: int | None = None,
) -> list[Said]:
    """Let the model answer one batch of requests.

    Args:
        model: The model to ask.
        encoder: Says where answers end, and decodes them.
        need: How to ask.
        asks: As from `text_batches`.
        at_once: Prompts decoded together; None for all of them.
    """
    sampled = sample_answers(
        model.model,
        encoder,
        [a.prompt_ids for a in asks],
        decoding=replace(need.decoding, max_new_tokens=asks[0].limit),
        samples=need.samples,
        keys=[a.key for a in asks],
        hidden=[a.hidden for a in asks],
        drafts=[a.draft for a in asks],
        batch_size=(at_once or len(asks)) * max(need.samples, need.decoding.num_beams),
    )
    return [
        Said(
            ask,
            tuple(
                TextMeasurement(
                    token_ids=s.token_ids,
                    text=encoder.decode(s.token_ids),
                    log_prob=s.log_prob,
                    finished=s.finished,
                )
                for s in its
            ),
        )
        for ask, its in zip(asks, sampled, strict=True)
    ]
