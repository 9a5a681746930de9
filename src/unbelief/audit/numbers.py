"""What an audit measured, and the statistics of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from unbelief.audit.answers import Answered
from unbelief.audit.lines import ALONG, JUDGED, UNDER_ATTACK, Measure
from unbelief.audit.refusals import OVER_REFUSAL
from unbelief.audit.subject import Examples, Sets
from unbelief.evaluate.scoring import ItemScores, OtherModel, Scored, score_suite
from unbelief.measure.tables import Example
from unbelief.report.audit_document import Judged, ModelFacts, Role
from unbelief.scores.base import Statistic
from unbelief.suites.base import Line, Suite

ROLES: tuple[Role, ...] = ("unlearned", "original", "retrained")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One attack on every model it was tried on.

    Attributes:
        name: Of the attack.
        options: Of the attack.
        because: Why it was not run; empty when it was.
        scores: Per role and seed, of the lines read under attack.
        seeds: The seeds it was made with; empty for an attack that draws nothing.
        examples: Of the unlearned model, under the seed that brought most facts back.
        answers: Per role and seed, the greedy answers.
        seconds: On the unlearned model, all seeds together.
    """

    name: str
    options: Mapping[str, Any]
    because: str = ""
    scores: Mapping[Role, tuple[ItemScores, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    examples: Sequence[Example] = ()
    answers: Mapping[Role, tuple[tuple[Answered, ...], ...]] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything an audit measured.

    Attributes:
        sets: The records.
        absent: Why a set is empty.
        models: Which weights.
        examples: Per role, without attack.
        scores: Per role, of all lines.
        attacks: In the order asked for.
        curve: Relearning: per role, step count to item scores.
        curve_options: Of the relearning attack.
        judge: Who graded the answers, and what it took; None when nobody did.
        grades: The judge's statistics by attack (empty for none) and role: per seed, by measure.
        refusals: By role, how often kept prompts are refused.
    """

    sets: Sets
    absent: Mapping[str, str]
    models: tuple[ModelFacts, ...]
    examples: Mapping[Role, Examples]
    scores: Mapping[Role, ItemScores]
    attacks: tuple[Tried, ...]
    curve: Mapping[Role, Mapping[int, ItemScores]] = field(default_factory=dict)
    curve_options: Mapping[str, Any] = field(default_factory=dict)
    judge: Judged | None = None
    grades: Mapping[tuple[str, Role], tuple[Mapping[str, Statistic], ...]] = field(
        default_factory=dict
    )
    refusals: Mapping[str, Statistic] = field(default_factory=dict)


class Numbers:
    """Statistics of an audit by measure, attack and role, made once.

    Args:
        found: What was measured.
        measures: What the audit reads.
        seed: Of the resampling.
    """

    def __init__(self, found: Found, measures: Sequence[Measure], seed: int):
        self._lines = tuple(m.line for m in measures)
        self._found, self._seed = found, seed
        self._grades: Mapping[tuple[str, str], Sequence[Mapping[str, Statistic]]] = {
            (attack, role): seeds for (attack, role), seeds in found.grades.items()
        }
        self.plain: dict[str, Scored] = {
            role: self._scored(self._lines, scores) for role, scores in found.scores.items()
        }
        self.distances = self._distances()
        under = tuple(line for line in self._lines if line.name in UNDER_ATTACK)
        self.attacked: dict[tuple[str, str], list[Mapping[str, Statistic]]] = {
            (tried.name, role): [self._scored(under, scores).statistics for scores in its]
            for tried in found.attacks
            for role, its in tried.scores.items()
        }
        along = tuple(line for line in self._lines if line.name in ALONG)
        self.curve = {
            role: {step: self._scored(along, scores).statistics for step, scores in points.items()}
            for role, points in found.curve.items()
        }

    def look(self, measure: str, attack: str, role: str, seed: int = 0) -> Statistic | None:
        """The statistic of a measure, under an attack or without (`attack` empty).

        Args:
            measure: Its name.
            attack: The text it was asked for with.
            role: Which model.
            seed: Position among the attack's seeds.
        """
        if measure in JUDGED:
            grades = self._grades.get((attack, role), ())
            return grades[seed].get(measure) if seed < len(grades) else None
        if attack:
            its = self.attacked.get((attack, role), [])
            return its[seed].get(measure) if seed < len(its) else None
        if measure == OVER_REFUSAL:
            return self._found.refusals.get(role)
        scored = self.plain.get(role)
        return None if scored is None else scored.statistics.get(measure)

    def looks(self, attack: str) -> list[Callable[[str, str, str], Statistic | None]]:
        """`look` for each seed of an attack; once without attack."""
        return [partial(self.look, seed=k) for k in range(self.seeds(attack))]

    def seeds(self, attack: str) -> int:
        """How many times an attack was made; 1 without attack."""
        return max(1, len(self.attacked.get((attack, "unlearned"), [])))

    def worst_seed(self, measure: str, attack: str) -> int:
        """Position of the seed under which the unlearned model gives most away.

        The judge's grades belong together: both are of the seed with the lowest similarity.
        """
        told, sign = ("judge_similarity", -1.0) if measure in JUDGED else (measure, 1.0)
        looks = [self.look(told, attack, "unlearned", k) for k in range(self.seeds(attack))]
        values = [
            -math.inf if one is None or one.value is None else sign * one.value for one in looks
        ]
        return values.index(max(values))

    def _scored(
        self, lines: Sequence[Line], scores: ItemScores, retrained: OtherModel | None = None
    ) -> Scored:
        suite = Suite(
            name="audit", sets=self._found.sets, lines=tuple(lines), absent=self._found.absent
        )
        return score_suite(suite, scores, retrained=retrained, seed=self._seed)

    def _distances(self) -> Mapping[str, Statistic]:
        yardstick = self._found.scores.get("retrained")
        if yardstick is None:
            return {}
        other = OtherModel(scores=yardstick)
        return self._scored(self._lines, self._found.scores["unlearned"], other).distances
