"""The judge's grades of every model's greedy answers, in one batch under the same controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unbelief.audit.answers import greedy_text
from unbelief.judge import Item, Judgement, judge_items
from unbelief.judge.chats import Chat
from unbelief.measure.tables import Example
from unbelief.report.audit_document import MeasureRow, Role
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import mean_statistic, missing
from unbelief.types import Score

TITLES = {
    "judge_similarity": "Judge: nothing of the answer is left (0-5)",
    "judge_naturalness": "Judge: natural language (0-5)",
}


def judge_answers(
    examples: Mapping[Role, Sequence[Example]],
    chat: Chat,
    answers: Path,
    *,
    seed: int,
    progress: bool,
) -> Judgement:
    """Have every greedy answer graded; the judge does not learn which model gave it.

    Args:
        examples: Forget examples of every model.
        chat: Who is asked.
        answers: Where answers are kept as they come, for a restart.
        seed: Of the order and the controls.
        progress: Show a bar.
    """
    items = [
        Item(
            id=example.record.id,
            prompt=example.record.prompt,
            answer=example.record.answer,
            response=text,
            group=example.record.group,
            label=role,
            paraphrases=example.record.paraphrases,
        )
        for role, its in examples.items()
        for example in its
        if (text := greedy_text(example)) is not None
    ]
    return judge_items(items, chat, answers=answers, seed=seed, progress=progress)


def judge_statistics(judgement: Judgement, seed: int) -> dict[str, dict[str, Statistic]]:
    """Mean grades by measure and role; without value when the judge failed a control."""
    found: dict[str, dict[str, Statistic]] = {name: {} for name in TITLES}
    for role in dict.fromkeys(graded.item.label for graded in judgement.graded):
        its = [graded for graded in judgement.graded if graded.item.label == role]
        for name in TITLES:
            if not judgement.valid:
                why = f"the judge failed its controls: {judgement.misses[0]}"
                found[name][role] = missing(why, unit="grade")
                continue
            scale = name.removeprefix("judge_")
            scores = [
                Score(
                    None if g.verdict is None else float(getattr(g.verdict, scale)),
                    g.unscored if g.verdict is None else None,
                    g.item.id,
                    g.item.group,
                )
                for g in its
            ]
            found[name][role] = mean_statistic(scores, unit="grade", stream="forget", seed=seed)
    return found


def judge_rows(statistics: Mapping[str, Mapping[str, Statistic]]) -> tuple[MeasureRow, ...]:
    """The grades as rows of the report."""
    from unbelief.audit.assemble import row_of

    return tuple(
        row_of(
            name,
            TITLES[name],
            by_role,
            group="leak" if name == "judge_similarity" else "fluency",
            better="higher",
        )
        for name, by_role in statistics.items()
    )
