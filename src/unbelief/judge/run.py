"""A batch of items to grades: controls mixed in, asked in random order, recorded as they come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbelief.judge import prompts
from unbelief.judge.chats import Chat, NoReply, Question, Reply, question
from unbelief.judge.controls import Control, controls_for
from unbelief.judge.items import Item, check_items
from unbelief.judge.recorded import Answers, appended
from unbelief.judge.verdicts import Malformed, Verdict, parse

ATTEMPTS = 2
"""Times a judge is asked before a reply that cannot be used makes an item unscored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a batch took.

    Attributes:
        questions: Put to the judge, recorded ones and second attempts included.
        recorded: Answered by what was on disk.
        input_tokens: Of all replies that say so.
        output_tokens: Likewise.
        uncounted: Replies that do not say.
        models: How the answering model called itself, with the number of replies.
    """

    questions: int = 0
    recorded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted: int = 0
    models: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One item with what became of it: grades, or why there are none."""

    item: Item
    verdict: Verdict | None = None
    unscored: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A judged batch.

    Attributes:
        graded: Per item, in the order given.
        controls: Every control with what the judge got wrong, None where it passed.
        judge: Who judged, as from `Chat.describe`.
        usage: What it took.
        seed: Of order and controls.
    """

    graded: tuple[Graded, ...]
    controls: tuple[tuple[Control, Graded, str | None], ...]
    judge: Mapping[str, Any]
    usage: Usage
    seed: int

    @property
    def misses(self) -> tuple[str, ...]:
        """What the judge got wrong about controls; any makes the batch invalid."""
        return tuple(miss for _, _, miss in self.controls if miss is not None)

    @property
    def valid(self) -> bool:
        """Whether every control was graded as it must be."""
        return not self.misses


def judge_items(
    items: Sequence[Item],
    chat: Chat,
    *,
    answers: str | Path | None = None,
    seed: int = 0,
    controls_per_kind: int = 2,
    restart: bool = False,
    progress: bool = False,
) -> Judgement:
    """Have every item graded for naturalness and similarity, among items with known grades.

    Each item is asked about by itself, in an order that depends on the seed alone; the judge sees
    no ids, labels or order. A reply that is not exactly what was asked for is asked for once more,
    then its item is unscored.

    Args:
        items: What to judge; ids are unique within a label.
        chat: Who is asked: `Endpoint`, `LocalModel` or `Replay`.
        answers: File that answers are appended to as they come. A run that was interrupted asks
            only for what is missing there.
        seed: Of order and controls.
        controls_per_kind: Control items of each kind, see `controls`.
        restart: Throw away what `answers` holds.
        progress: Show a bar on stderr when that is a terminal.

    Raises:
        DataError: No items, or two with one id.
        RequestError: The judge refuses, or `answers` holds another judge's.
        Inconclusive: The judge does not answer.
    """
    batch = check_items(items)
    controls = controls_for(batch, per_kind=controls_per_kind, seed=seed)
    asked = [*batch, *(control.item for control in controls)]
    with ExitStack() as stack:
        book = None
        if answers is not None:
            opened = appended(Path(answers).expanduser(), chat.describe(), restart=restart)
            book = stack.enter_context(opened)
        asking = _Asking(asked, chat, book, seed, progress)
        graded = asking.all()
    results = zip(controls, graded[len(batch) :], strict=True)
    return Judgement(
        graded=tuple(graded[: len(batch)]),
        controls=tuple((control, its, control.miss(its.verdict)) for control, its in results),
        judge=chat.describe(),
        usage=asking.usage(),
        seed=seed,
    )


class _Asking:
    """One run over a batch."""

    def __init__(
        self, items: Sequence[Item], chat: Chat, book: Answers | None, seed: int, progress: bool
    ):
        self._items, self._chat, self._book = items, chat, book
        self._order = list(range(len(items)))
        random.Random(f"order {seed}").shuffle(self._order)
        self._fence = prompts.new_fence(items)
        self._progress = progress
        self._replies: list[Reply] = []
        self._recorded = 0

    def all(self) -> list[Graded]:
        graded: dict[int, Graded] = {}
        problems: dict[int, str | None] = dict.fromkeys(self._order)
        for _ in range(ATTEMPTS):
            outcomes = self._put(problems)
            again: dict[int, str | None] = {}
            for index in problems:
                outcome = outcomes[index]
                if isinstance(outcome, NoReply):
                    graded[index] = self._unscored(index, outcome.reason)
                    continue
                try:
                    verdict = parse(outcome.text, finished=outcome.finished)
                except Malformed as malformed:
                    problem = again[index] = str(malformed)
                    reason = f"the judge's reply is malformed: {problem}"
                    graded[index] = self._unscored(index, reason)
                else:
                    graded[index] = Graded(item=self._items[index], verdict=verdict)
            problems = again
        return [graded[index] for index in range(len(self._items))]

    def usage(self) -> Usage:
        given = [r.input_tokens for r in self._replies]
        taken = [r.output_tokens for r in self._replies]
        return Usage(
            questions=len(self._replies),
            recorded=self._recorded,
            input_tokens=sum(n or 0 for n in given),
            output_tokens=sum(n or 0 for n in taken),
            uncounted=sum(None in pair for pair in zip(given, taken, strict=True)),
            models=dict(Counter(r.model for r in self._replies if r.model is not None)),
        )

    def _put(self, problems: Mapping[int, str | None]) -> dict[int, Reply | NoReply]:
        """Ask about these items, except where the answer is on disk."""
        outcomes: dict[int, Reply | NoReply] = {}
        missing: list[Question] = []
        for index, problem in problems.items():
            item = self._items[index]
            told = prompts.messages(item, self._fence, problem)
            one = question(index, told, prompts.messages(item, "", problem))
            known = self._book.get(one) if self._book is not None else None
            if known is None:
                missing.append(one)
            else:
                outcomes[index] = known
                self._recorded += 1
        if missing:
            outcomes |= self._ask(missing)
        self._replies += [r for r in outcomes.values() if isinstance(r, Reply)]
        return outcomes

    def _ask(self, missing: Sequence[Question]) -> dict[int, Reply | NoReply]:
        from tqdm import tqdm

        found: dict[int, Reply | NoReply] = {}
        # disable=None: silent when stderr is not a terminal.
        hidden = None if self._progress else True
        with tqdm(total=len(missing), desc="judging", unit="item", disable=hidden) as bar:
            for one, outcome in self._chat.answers(missing):
                if isinstance(outcome, Reply) and self._book is not None:
                    self._book.add(one, outcome)
                found[one.index] = outcome
                bar.update()
        return found

    def _unscored(self, index: int, reason: str) -> Graded:
        return Graded(item=self._items[index], unscored=reason)
