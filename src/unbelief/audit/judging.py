"""The judge's grades of every model's greedy answers, without attack and under each.

All answers go into one batch under the same controls: the judge learns neither which model gave an
answer nor what was done to it, and is believed for all of them or for none. Answers that are the
same to the same question are asked about once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unbelief.audit.answers import Answered
from unbelief.audit.lines import JUDGED
from unbelief.judge import Item, Judgement, judge_items
from unbelief.judge import prompts as judge_prompts
from unbelief.judge.chats import Chat
from unbelief.judge.result import cost_of
from unbelief.judge.run import Graded
from unbelief.report.audit_document import Judged, MeasureRow, Role
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import mean_statistic, missing
from unbelief.types import Message, Record, Score

Place = tuple[str, Role]
"""The attack, empty for none, and the model."""
Said = Mapping[Place, Sequence[Sequence[Answered]]]
"""Answers by place, for each seed of the attack; one where nothing is drawn."""
Same = tuple[str | tuple[Message, ...] | None, str, str]
"""Question, true answer and response: what makes two answers the same to a judge."""


@dataclass(frozen=True, kw_only=True)
class Grades:
    """What the judge said.

    Attributes:
        judged: Who it was, whether it may be believed, and what it took.
        statistics: Mean grades by place, seed and measure.
    """

    judged: Judged
    statistics: Mapping[Place, tuple[Mapping[str, Statistic], ...]]


def judge_answers(
    said: Said,
    chat: Chat,
    answers: Path,
    *,
    seed: int,
    prices: tuple[float, float] | None = None,
    progress: bool = False,
) -> Grades:
    """Have every greedy answer graded.

    Args:
        said: What every model answered, without attack and under each.
        chat: Who is asked.
        answers: Where answers are kept as they come, for a restart.
        seed: Of the order and the controls.
        prices: Per million input and output tokens.
        progress: Show a bar.

    Raises:
        DataError: No model answered anything.
        RequestError: The judge refuses, or `answers` holds another judge's.
        Inconclusive: The judge does not answer.
    """
    every = [one for seeds in said.values() for its in seeds for one in its if one.text is not None]
    items: dict[Same, Item] = {}
    for one in every:
        items.setdefault(_same(one), _item(one, str(len(items))))
    judgement = judge_items(
        list(items.values()), chat, answers=answers, seed=seed, progress=progress
    )
    graded = dict(zip(items, judgement.graded, strict=True))
    return Grades(
        judged=_judged(judgement, len(every), prices),
        statistics={
            place: tuple(_statistics(its, graded, judgement, seed) for its in seeds)
            for place, seeds in said.items()
        },
    )


def judge_rows(
    statistics: Mapping[Place, Sequence[Mapping[str, Statistic]]],
) -> tuple[MeasureRow, ...]:
    """The grades without attack as rows of the report; none without a judge."""
    from unbelief.audit.assemble import row_of

    plain = {role: seeds[0] for (attack, role), seeds in statistics.items() if not attack}
    return tuple(
        row_of(
            name,
            title,
            {role: its[name] for role, its in plain.items()},
            group="leak" if name == "judge_similarity" else "fluency",
            better="higher",
        )
        for name, title in JUDGED.items()
        if plain
    )


def _same(one: Answered) -> Same:
    assert one.text is not None
    return one.record.prompt, one.record.answer, one.text


def _item(one: Answered, name: str) -> Item:
    record: Record = one.record
    return Item(
        id=name,
        prompt=record.prompt,
        answer=record.answer,
        response=one.text or "",
        group=record.group,
        paraphrases=record.paraphrases,
    )


def _statistics(
    answers: Sequence[Answered],
    graded: Mapping[Same, Graded],
    judgement: Judgement,
    seed: int,
) -> dict[str, Statistic]:
    """Mean grades of one model's answers; without value when the judge failed a control."""
    if not judgement.valid:
        why = f"the judge failed its controls: {judgement.misses[0]}"
        return {name: missing(why, unit="grade") for name in JUDGED}
    found = {}
    for name in JUDGED:
        scores = [_score(one, graded, name.removeprefix("judge_")) for one in answers]
        # The item set's own resamples, so that grades of two models or states are paired.
        found[name] = mean_statistic(scores, unit="grade", stream="forget", seed=seed)
    return found


def _score(one: Answered, graded: Mapping[Same, Graded], scale: str) -> Score:
    value, why = None, one.why or None
    if one.text is not None:
        its = graded[_same(one)]
        value = None if its.verdict is None else float(getattr(its.verdict, scale))
        why = its.unscored if its.verdict is None else None
    return Score(value, why, one.record.id, one.record.group)


def _judged(judgement: Judgement, answers: int, prices: tuple[float, float] | None) -> Judged:
    return Judged(
        who=dict(judgement.judge),
        prompt={"version": str(judge_prompts.VERSION), "sha256": judge_prompts.SHA256},
        valid=judgement.valid,
        controls=len(judgement.controls),
        misses=judgement.misses,
        answers=answers,
        distinct=len(judgement.graded),
        **asdict(judgement.usage),
        prices=prices,
        cost=cost_of(judgement.usage, prices),
    )
