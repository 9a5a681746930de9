"""The work cut into parts: each a few forwards, run as a whole by one process and then kept.

Parts follow from the plan and the settings alone, so any number of processes, and any number of
interruptions, gives the same measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from unbelief.measure.answers import can_pack, score, window_of
from unbelief.measure.gradients import gradient_norm
from unbelief.measure.jobs import Ask, Question, Work
from unbelief.measure.packs import Batch, batches_of
from unbelief.measure.plan import Plan
from unbelief.measure.schema import answers_table, gradients_table, texts_table
from unbelief.measure.tables import GradientNeed, TextNeed
from unbelief.measure.texts import (
    Recited,
    answer_asks,
    prompts_at_once,
    prompts_per_part,
    text_batches,
)
from unbelief.models.runner import AnswerModel

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

T = TypeVar("T")

_FORWARDS = 16  # of one part of answers
_GRADIENTS = 16  # of one part of gradients
_TOKENS = {"cpu": 1024}  # of one forward, padding of plain rows included
_TOKENS_DEVICE = 16_384
_TOKENS_LOGITS = 2048  # where the model gives its logits for all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides how the work is cut, chosen once per measurement.

    Attributes:
        packed: Whether answers to one prompt share it.
        path: The same in a sentence, with the reason.
        window: Longest prompt plus answer in a pack; None for no limit.
        tokens_per_forward: Most tokens of a teacher-forced forward.
        prompts_at_once: Per text need (index, as text) the prompts decoded together.
    """

    packed: bool
    path: str
    window: int | None
    tokens_per_forward: int
    prompts_at_once: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the work.

    Attributes:
        table: `answers`, `texts` or `gradients`.
        number: Counts the parts of that table.
        items: Answers, texts or gradients in it.
        run: Does it: the rows, and how many tokens went through the model.
        tell: Given the rows, tells the parts of other tables what they need not do.
    """

    table: str
    number: int
    items: int
    run: Callable[[], tuple[pa.Table, int]]
    tell: Callable[[pa.Table], None] | None = None

    @property
    def name(self) -> str:
        """Name of its file, without suffix."""
        return f"{self.table}-{self.number:05d}"


def choose_settings(
    model: AnswerModel, plan: Plan, work: Work, tokens_per_forward: int | None
) -> Settings:
    """Find out what the model and the device can do.

    Args:
        model: In eval mode.
        plan: The plan.
        work: Its jobs.
        tokens_per_forward: As asked for; None lets the device decide.
    """
    tokens = _TOKENS.get(model.device.type, _TOKENS_DEVICE)
    if model.head_path == "logits":
        tokens = min(tokens, _TOKENS_LOGITS)
    packed, path = can_pack(model, work.questions)
    needs = plan.all_needs
    prompts = {}
    for n, asks in work.asks.items():
        need = needs[n]
        assert isinstance(need, TextNeed)
        prompts[str(n)] = prompts_at_once(model, need, asks)
    return Settings(
        packed=packed,
        path=path,
        window=window_of(model.inner.config),
        tokens_per_forward=tokens_per_forward or tokens,
        prompts_at_once=prompts,
    )


def parts_of(
    model: AnswerModel, encoder: Encoder, plan: Plan, work: Work, settings: Settings
) -> list[Part]:
    """Everything there is to do, in a fixed order: answers, texts, gradients.

    Parts with a `tell` come first, and what they found is told before the others run.
    """
    recited = Recited()
    batches = batches_of(
        work.questions,
        packed=settings.packed,
        window=settings.window,
        tokens=settings.tokens_per_forward,
    )
    parts = [
        Part(
            "answers",
            i,
            _count(group),
            partial(_answers, model, group),
            partial(recited.learn, group) if work.asks else None,
        )
        for i, group in enumerate(_groups(batches, _FORWARDS))
    ]
    needs, texts, gradients = plan.all_needs, list[Part](), list[Part]()
    for n, asks in work.asks.items():
        need = needs[n]
        assert isinstance(need, TextNeed)
        at_once = settings.prompts_at_once[str(n)]
        for group in text_batches(asks, prompts_per_part(model, at_once)):
            run = partial(_texts, model, encoder, need, group, at_once, recited)
            texts.append(Part("texts", len(texts), len(group) * need.samples, run))
    for n, questions in work.gradients.items():
        norm = needs[n]
        assert isinstance(norm, GradientNeed)
        longest_first = sorted(questions, key=lambda q: -len(q.prompt_ids) - len(q.answers[0].ids))
        for some in _groups(longest_first, _GRADIENTS):
            work_of = partial(_gradients, model, norm, some)
            gradients.append(Part("gradients", len(gradients), len(some), work_of))
    return [*parts, *texts, *gradients]


def _groups(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _count(batches: Sequence[Batch]) -> int:
    return sum(len(pack.answers) for batch in batches for pack in batch.packs)


def _answers(model: AnswerModel, batches: Sequence[Batch]) -> tuple[pa.Table, int]:
    scored = [one for batch in batches for one in score(model, batch)]
    return answers_table(scored), sum(batch.tokens for batch in batches)


def _texts(
    model: AnswerModel,
    encoder: Encoder,
    need: TextNeed,
    asks: Sequence[Ask],
    at_once: int,
    recited: Recited,
) -> tuple[pa.Table, int]:
    known = {i: said for i, a in enumerate(asks) if (said := recited.said(need, a, encoder))}
    rest = [i for i in range(len(asks)) if i not in known]
    answers = answer_asks(model, encoder, need, [asks[i] for i in rest], at_once) if rest else []
    tokens = sum(len(s.ask.prompt_ids) + sum(len(t.token_ids) for t in s.texts) for s in answers)
    known |= dict(zip(rest, answers, strict=True))
    return texts_table([known[i] for i in range(len(asks))]), tokens


def _gradients(
    model: AnswerModel, need: GradientNeed, questions: Sequence[Question]
) -> tuple[pa.Table, int]:
    norms = [(q.answers[0].places, gradient_norm(model, q, need.order)) for q in questions]
    tokens = sum(len(q.prompt_ids) + len(q.answers[0].ids) for q in questions)
    return gradients_table(norms), tokens
