"""Which answers share a forward: packs of answers to one prompt, and batches of packs.

All answers to a question repeat its prompt. In a pack the prompt stands once,

    [prompt, answer 1, answer 2, ...]

and every answer sees the prompt and itself only (`models/paths.py`); what answers or prompts have
in common at their beginning stands once as well (`tree.py`; not counted on here). Batches are
sorted by length and filled up to a number of tokens. Both follow from the work alone, not from the
number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unbelief.measure.jobs import Answer, Question

_PACK_TOKENS = 1024  # a pack is run as a whole, so one of many long answers is cut
_WORTH = 0.1  # share of the tokens that packing must save


@dataclass(frozen=True, slots=True)
class Pack:
    """One sequence: a prompt and the answers that follow it side by side.

    Attributes:
        prompt_ids: The prompt.
        hidden: Its positions that nothing attends to.
        answers: One in a plain row.
    """

    prompt_ids: tuple[int, ...]
    hidden: tuple[int, ...]
    answers: tuple[Answer, ...]

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return len(self.prompt_ids) + sum(len(a.ids) for a in self.answers)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packs of one forward; all of them plain rows, or none."""

    packs: tuple[Pack, ...]
    packed: bool

    @property
    def tokens(self) -> int:
        """Real tokens of the forward."""
        return sum(p.length for p in self.packs)


def packs_of(question: Question, window: int | None) -> list[Pack]:
    """Cut a question into packs.

    Args:
        question: A prompt and its answers.
        window: Longest prompt plus answer that may be packed; None for no limit.
    """
    prompt, hidden = question.prompt_ids, question.hidden
    limit = max(_PACK_TOKENS, 2 * (len(prompt) + max(len(a.ids) for a in question.answers)))
    packs, part = [], list[Answer]()
    for answer in question.answers:
        if window is not None and len(prompt) + len(answer.ids) > window:
            packs.append(Pack(prompt, hidden, (answer,)))
            continue
        if part and Pack(prompt, hidden, (*part, answer)).length > limit:
            packs.append(Pack(prompt, hidden, tuple(part)))
            part = []
        part.append(answer)
    if part:
        packs.append(Pack(prompt, hidden, tuple(part)))
    return [row for pack in packs for row in (_rows(pack) if not _is_worth(pack) else [pack])]


def _is_worth(pack: Pack) -> bool:
    saved = (len(pack.answers) - 1) * len(pack.prompt_ids)
    return saved > _WORTH * (pack.length + saved)


def _rows(pack: Pack) -> list[Pack]:
    return [Pack(pack.prompt_ids, pack.hidden, (answer,)) for answer in pack.answers]


def batches_of(
    questions: Sequence[Question], *, packed: bool, window: int | None, tokens: int
) -> list[Batch]:
    """Batches of all questions, longest sequences first, packed ones before plain rows.

    Args:
        questions: What to score.
        packed: Whether the model can be asked with packs.
        window: As for `packs_of`.
        tokens: Most tokens of a forward, padding of plain rows included; a longer sequence is one
            by itself.
    """
    packs = [p for q in questions for p in packs_of(q, window if packed else 0)]
    shared = [p for p in packs if len(p.answers) > 1]
    plain = [p for p in packs if len(p.answers) == 1]
    return [*_batches(shared, tokens, True), *_batches(plain, tokens, False)]


def _batches(packs: Sequence[Pack], tokens: int, packed: bool) -> Iterator[Batch]:
    part, size = list[Pack](), 0
    for pack in sorted(packs, key=lambda p: -p.length):
        size = size + pack.length if packed else (len(part) + 1) * (part or [pack])[0].length
        if part and size > tokens:
            yield Batch(tuple(part), packed)
            part, size = [], pack.length
        part.append(pack)
    if part:
        yield Batch(tuple(part), packed)


def halves(batch: Batch) -> list[Batch]:
    """The same work in smaller forwards, for a device whose memory is full; [] at the end."""
    packs = batch.packs
    if len(packs) > 1:
        middle = len(packs) // 2
        return [Batch(packs[:middle], batch.packed), Batch(packs[middle:], batch.packed)]
    if batch.packed:
        return [Batch((row,), False) for row in _rows(packs[0])]
    return []
