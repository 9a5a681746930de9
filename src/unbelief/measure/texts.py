"""Answers the model gives by itself, in batches that follow from the work alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unbelief.beliefs.batches import resolve_batch_size
from unbelief.beliefs.sampler import sample_answers
from unbelief.measure.jobs import Ask
from unbelief.measure.tables import TextMeasurement, TextNeed
from unbelief.models.runner import AnswerModel

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

# Prompts of one batch at most: enough batches for several processes, and on a CPU a cache of keys
# and values that stays small.
_MOST_PROMPTS = {"cpu": 24}
_MOST_PROMPTS_DEVICE = 256


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said to one request.

    Attributes:
        ask: The request.
        texts: Its answers, in sample order.
    """

    ask: Ask
    texts: tuple[TextMeasurement, ...]


def prompts_at_once(model: AnswerModel, need: TextNeed, asks: Sequence[Ask]) -> int:
    """Prompts whose answers are decoded together: what fits into the memory at hand."""
    prompts = [a.prompt_ids for a in asks]
    rows = resolve_batch_size(model.inner, prompts, need.decoding)
    most = _MOST_PROMPTS.get(model.device.type, _MOST_PROMPTS_DEVICE)
    return max(1, min(rows // max(need.samples, need.decoding.num_beams), most))


def text_batches(asks: Sequence[Ask], prompts: int) -> list[tuple[Ask, ...]]:
    """Requests whose answers should be of similar length together; one length limit per batch.

    A batch takes as many steps as its longest answer, so they are sorted by the length of the
    records' own answers, longest first: a fifth fewer steps than sorted by prompts.
    """
    by_limit: dict[int, list[Ask]] = {}
    for ask in sorted(asks, key=lambda a: (-a.limit, -a.expected, -len(a.prompt_ids))):
        by_limit.setdefault(ask.limit, []).append(ask)
    return [
        tuple(group[i : i + prompts])
        for group in by_limit.values()
        for i in range(0, len(group), prompts)
    ]


def answer_asks(
    model: AnswerModel, encoder: Encoder, need: TextNeed, asks: Sequence[Ask]
) -> list[Said]:
    """Let the model answer one batch of requests.

    Args:
        model: The model to ask.
        encoder: Says where answers end, and decodes them.
        need: How to ask.
        asks: As from `text_batches`.
    """
    sampled = sample_answers(
        model.model,
        encoder,
        [a.prompt_ids for a in asks],
        decoding=replace(need.decoding, max_new_tokens=asks[0].limit),
        samples=need.samples,
        keys=[a.key for a in asks],
        hidden=[a.hidden for a in asks],
        batch_size=len(asks) * max(need.samples, need.decoding.num_beams),
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
