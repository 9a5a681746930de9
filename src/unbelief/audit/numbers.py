"""What an audit measured, and the statistics of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unbelief.audit.lines import UNDER_ATTACK, Measure
from unbelief.audit.subject import Examples, Sets
from unbelief.evaluate.scoring import ItemScores, OtherModel, Scored, score_suite
from unbelief.measure.tables import Example
from unbelief.report.audit_document import ModelFacts, Role
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
        scores: Per role, of the lines read under attack.
        examples: Of the unlearned model.
        seconds: On the unlearned model.
    """

    name: str
    options: Mapping[str, Any]
    because: str = ""
    scores: Mapping[Role, ItemScores] = field(default_factory=dict)
    examples: Sequence[Example] = ()
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
        judge: Who graded the answers, as `Chat.describe` has it.
        grades: The judge's statistics by measure and role.
    """

    sets: Sets
    absent: Mapping[str, str]
    models: tuple[ModelFacts, ...]
    examples: Mapping[Role, Examples]
    scores: Mapping[Role, ItemScores]
    attacks: tuple[Tried, ...]
    curve: Mapping[Role, Mapping[int, ItemScores]] = field(default_factory=dict)
    curve_options: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] | None = None
    grades: Mapping[str, Mapping[str, Statistic]] = field(default_factory=dict)


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
        self.plain: dict[str, Scored] = {
            role: self._scored(self._lines, scores) for role, scores in found.scores.items()
        }
        self.distances = self._distances()
        under = tuple(line for line in self._lines if line.name in UNDER_ATTACK)
        self.attacked: dict[tuple[str, str], Mapping[str, Statistic]] = {
            (tried.name, role): self._scored(under, scores).statistics
            for tried in found.attacks
            for role, scores in tried.scores.items()
        }
        self.curve = {
            role: {step: self._scored(under, scores).statistics for step, scores in points.items()}
            for role, points in found.curve.items()
        }

    def look(self, measure: str, attack: str, role: str) -> Statistic | None:
        """The statistic of a measure, under an attack or without (`attack` empty)."""
        if attack:
            return self.attacked.get((attack, role), {}).get(measure)
        if measure in self._found.grades:
            return self._found.grades[measure].get(role)
        scored = self.plain.get(role)
        return None if scored is None else scored.statistics.get(measure)

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
