"""What a study runs on: something that unlearns with given settings and says four numbers.

A testbed keeps two kinds of cases apart. `validation` is what a search sees, `test` what the table
is made of; no question, and where possible no model, belongs to both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from unbelief.study.spaces import Option

Split = Literal["validation", "test"]
SPLITS: tuple[Split, ...] = ("validation", "test")
HIGHER, LOWER = "higher", "lower"
QUANTITIES: dict[str, str] = {
    "forgetting": HIGHER,
    "naturalness": HIGHER,
    "utility": HIGHER,
    "distance": LOWER,
}
"""What a search may aim at, and which way is better."""
PARTS = ("excess_leak", "naturalness_gap", "utility_gap")
"""What the distance to the retrained model is the sum of."""
COLUMNS = {
    "mem": HIGHER,
    "util": HIGHER,
    "agg": HIGHER,
    "leak_rate": LOWER,
    "squeeze_index": LOWER,
}
"""What some testbeds measure besides, on test cases only; see `unbelief.study.columns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model after some steps.

    Attributes:
        step: Optimiser steps taken.
        values: By name: the quantities, the parts of the distance, and what else the testbed knows.
        unscored: Why a quantity has no value, by name.
    """

    step: int
    values: Mapping[str, float]
    unscored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a run is about.

    Attributes:
        split: Whether a search may look at it.
        seed: Of everything random.
        ratio: Share of the data that is to be forgotten, in the testbed's own words.
    """

    split: Split
    seed: int
    ratio: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A method with everything about it that a search may change.

    Attributes:
        method: As in `unbelief methods`.
        options: `learning_rate`, and options of the objective.
    """

    method: str
    options: Mapping[str, Option]

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        return float(self.options["learning_rate"])

    @property
    def objective_options(self) -> dict[str, Option]:
        """Everything else."""
        return {k: v for k, v in self.options.items() if k != "learning_rate"}


Report = Callable[[Measured], None]


class Testbed(Protocol):
    """Something to run methods on."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def ratios(self) -> tuple[str, ...]:
        """Forget ratios there are; the first is what a search uses."""
        ...

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Smallest and largest that make sense for its models."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps of every run; no run takes more."""
        ...

    def describe(self) -> dict[str, Any]:
        """Everything that decides its numbers, as plain data: results of two are not mixed."""
        ...

    def refuses(self, method: str) -> str | None:
        """Why a method cannot run here, or None."""
        ...

    def fixed(self, method: str) -> dict[str, Option]:
        """Options that follow from the testbed's models and are therefore not searched."""
        ...

    def references(self, case: Case) -> dict[str, Measured]:
        """The models every run of a case is compared with: `original`, `retrained` if there is."""
        ...

    def attempt(
        self, setting: Setting, case: Case, at: Sequence[int], report: Report
    ) -> tuple[Measured, ...]:
        """Unlearn and measure.

        Args:
            setting: Method and options.
            case: What about.
            at: Steps at which to measure, rising; the run ends after the last of them, under the
                learning rates of a run of all `steps`.
            report: Told each measurement; what it raises ends the run.

        Raises:
            GuardError: The run came to nothing.
        """
        ...


def distance(
    values: Mapping[str, float], retrained: Mapping[str, float] | None
) -> tuple[dict[str, float], dict[str, str]]:
    r"""Distance to the retrained model and its parts.

    .. math:: d = \max(0, L - L_r) + |N - N_r| + |U - U_r|

    with leak L = 1 − forgetting, naturalness N and utility U, all in [0, 1]. Leaking less than the
    retrained model is no merit and no fault here; what it usually costs is in N and U.

    Args:
        values: The three quantities of the model; one that is not there is unscored.
        retrained: The same of the retrained model, or None without one.

    Returns:
        Values by name (distance and `PARTS`), and reasons for those without.
    """
    names = ("distance", *PARTS)
    if retrained is None:
        return {}, dict.fromkeys(names, "there is no retrained model to compare with")
    missing = [n for n in ("forgetting", "naturalness", "utility") if n not in values]
    if missing:
        return {}, dict.fromkeys(names, f"{' and '.join(missing)} could not be measured")
    parts = {
        "excess_leak": max(0.0, retrained["forgetting"] - values["forgetting"]),
        "naturalness_gap": abs(values["naturalness"] - retrained["naturalness"]),
        "utility_gap": abs(values["utility"] - retrained["utility"]),
    }
    return {"distance": sum(parts.values()), **parts}, {}
