"""A testbed without a model: its numbers are a formula of the settings, known on paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from unbelief.study.spaces import Option
from unbelief.study.testbed import Case, Measured, Report, Setting, distance

RETRAINED = {"forgetting": 0.9, "naturalness": 0.9, "utility": 0.9}
ORIGINAL = {"forgetting": 0.1, "naturalness": 1.0, "utility": 1.0}


@dataclass
class FormulaBed:
    """Forgetting is 0.9 minus how far log10 of the learning rate is from −3, plus 0.01 per seed.

    Naturalness and utility are the retrained model's at half of the steps, and 0.1 less per quarter
    of the steps away from it: the best step is the middle.
    """

    steps: int = 8
    learning_rates: tuple[float, float] = (1e-4, 1e-2)
    ratios: tuple[str, ...] = ("0.1", "0.2")
    has_retrained: bool = True
    refused: tuple[str, ...] = ()
    before: Callable[[Setting], None] = lambda _setting: None
    asked: list[tuple[Setting, Case]] = field(default_factory=list)

    name = "formula"

    def describe(self) -> dict[str, Any]:
        return {"testbed": self.name, "steps": self.steps}

    def refuses(self, method: str) -> str | None:
        return "it is refused" if method in self.refused else None

    def fixed(self, method: str) -> dict[str, Option]:
        return {}

    def references(self, case: Case) -> dict[str, Measured]:
        out = {"original": self._measured(0, ORIGINAL)}
        if self.has_retrained:
            out["retrained"] = self._measured(0, RETRAINED)
        return out

    def attempt(
        self, setting: Setting, case: Case, at: Sequence[int], report: Report
    ) -> tuple[Measured, ...]:
        self.asked.append((setting, case))
        self.before(setting)
        points = []
        for step in at:
            off = 0.4 * abs(step / self.steps - 0.5)
            points.append(
                self._measured(
                    step,
                    {
                        "forgetting": 0.9
                        - min(0.8, abs(math.log10(setting.learning_rate) + 3))
                        + 0.01 * case.seed,
                        "naturalness": 0.9 - off,
                        "utility": 0.9,
                    },
                )
            )
            report(points[-1])
        return tuple(points)

    def _measured(self, step: int, values: dict[str, float]) -> Measured:
        gaps, unscored = distance(values, RETRAINED if self.has_retrained else None)
        return Measured(step=step, values={**values, **gaps}, unscored=unscored)
