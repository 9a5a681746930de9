"""What a search may change about a method, as data: each range with where it is from.

Every method has its learning rate searched, and γ where it has a retain term. The rest belongs to
its forget term and stands in `OF_TERM`; a term that is not there may bring a `search` attribute of
its own (a tuple of `Range`), else it is searched in the two common ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from unbelief.errors import RequestError

Option = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where an option is searched.

    Attributes:
        name: Of the option, as for `--set`.
        low: Smallest value.
        high: Largest.
        log: Whether equal ratios count as equal steps.
        whole: Whole numbers only.
        choices: Instead of a range: the values to choose from.
        source: Why this range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Option, ...] = ()
    source: str

    def __post_init__(self) -> None:
        if not self.choices and not self.low < self.high:
            raise ValueError(f"{self.name} has no room between {self.low} and {self.high}")
        if self.log and not self.choices and self.low <= 0:
            raise ValueError(f"{self.name} cannot be searched in ratios from {self.low}")

    def holds(self, value: Option) -> bool:
        """Whether a value lies in the range."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def middle(self) -> Option:
        """The middle of the range (of the ratios where they count), or the first choice."""
        if self.choices:
            return self.choices[0]
        mean = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(mean) if self.whole else mean


_BELIEFS = "Li et al. 2026 (BS): the authors use"
_WEIGHT = Range(name="weight", low=0.05, high=0.95, source=f"{_BELIEFS} 0.2 (BS-T) and 0.5 (BS-S)")
_TOP_K = Range(
    name="top_k", low=1, high=50, log=True, whole=True, source=f"{_BELIEFS} 20; small k acts most"
)
_BETA = Range(
    name="beta",
    low=0.02,
    high=2.0,
    log=True,
    source="NPO uses 0.1; sweeps of 0.05 to 0.5 around it",
)
_TOKEN_BETA = Range(name="beta", low=0.1, high=10.0, log=True, source="G-effect uses 4 (TNPO)")
_ALPHA = Range(name="alpha", low=0.1, high=5.0, log=True, source="G-effect: 1 (WGA), 1.5 (WTNPO)")

OF_TERM: dict[str, tuple[Range, ...]] = {
    "ga": (),
    "ce-u": (),
    "po": (),
    "npo": (_BETA,),
    "npow": (_BETA,),
    "dpo": (_BETA,),
    "simnpo": (
        Range(name="beta", low=0.5, high=8.0, log=True, source="SimNPO sweeps 1.5 to 6"),
        Range(name="margin", low=0.0, high=2.0, source="SimNPO sweeps 0 to 2"),
    ),
    "wga": (_ALPHA,),
    "tnpo": (_TOKEN_BETA,),
    "wtnpo": (_TOKEN_BETA, _ALPHA),
    "satimp": (
        Range(name="beta1", low=1.0, high=8.0, source="SatImp uses 5"),
        Range(name="beta2", low=0.1, high=3.0, log=True, source="SatImp uses 1"),
    ),
    "undial": (
        Range(name="strength", low=1.0, high=30.0, log=True, source="UNDIAL uses 1 to 10"),
    ),
    "flat": (
        Range(
            name="divergence",
            choices=("total-variation", "kl", "reverse-kl"),
            source="FLAT compares f-divergences; total variation is its default",
        ),
    ),
    "rmu": (
        Range(name="steering", low=0.5, high=20.0, log=True, source="RMU sweeps 2 to 20"),
    ),
    "pdu": (
        Range(
            name="retain_weight", low=1.0, high=100.0, log=True,
            source="OpenUnlearning advises a first weight of 50 to 100",
        ),
    ),
    "transplant": (
        Range(
            name="sampling_temperature", low=0.7, high=1.5,
            source="as for the beliefs of BS-S; 1 is the model's own distribution",
        ),
    ),
    "bs-t": (_WEIGHT, _TOP_K),
    "bs-tw": (_WEIGHT, _TOP_K, _BETA),
    "bs-s": (
        _WEIGHT,
        Range(name="samples", low=1, high=5, whole=True, source=f"{_BELIEFS} 3, at most 5"),
        Range(
            name="sampling_temperature", low=0.7, high=1.5,
            source=f"{_BELIEFS} 1; the band analysis samples at 0.7 to 1.3",
        ),
    ),
}  # fmt: skip


def space_of(method: str, learning_rates: tuple[float, float]) -> tuple[Range, ...]:
    """Ranges of a method: the common ones and its own.

    Args:
        method: As in `unbelief methods`.
        learning_rates: Smallest and largest of the testbed, whose models decide about it.

    Raises:
        RequestError: There is no such method.
    """
    from unbelief.objectives.methods import build_objective, methods

    objective = build_objective(method)
    term = methods()[method].term
    rate = Range(
        name="learning_rate", low=learning_rates[0], high=learning_rates[1], log=True,
        source="of the testbed: depends on its models",
    )  # fmt: skip
    own = OF_TERM.get(term.name)
    if own is None:
        own = tuple(getattr(term, "search", ()))
    if objective.retain is None or any(r.name == "retain_weight" for r in own):
        return (rate, *own)
    gamma = objective.forget_weight
    weight = Range(
        name="forget_weight", low=gamma / 30, high=gamma * 3, log=True,
        source="around the method's own γ; smaller for models that forget quickly",
    )  # fmt: skip
    return (rate, weight, *own)


def first_guess(method: str, space: tuple[Range, ...]) -> dict[str, Option]:
    """The first trial: the method's defaults where they lie in their ranges, else the middle."""
    from unbelief.objectives.methods import build_objective

    objective = build_objective(method)
    term = objective.forget
    known: dict[str, Any] = {f.name: getattr(term, f.name) for f in fields(term)}
    known |= {"forget_weight": objective.forget_weight, "retain_weight": objective.retain_weight}
    return {
        r.name: known[r.name] if r.name in known and r.holds(known[r.name]) else r.middle
        for r in space
    }


def described(space: tuple[Range, ...]) -> list[dict[str, Any]]:
    """Ranges as plain data."""
    return [asdict(r) for r in space]


def check_inside(space: tuple[Range, ...], options: Mapping[str, Option], where: str) -> None:
    """Refuse settings that are not from a space (of another version, say).

    Raises:
        RequestError: A name is missing or a value outside.
    """
    for r in space:
        if r.name not in options or not r.holds(options[r.name]):
            raise RequestError(
                f"{r.name} is {options.get(r.name)!r}, which is outside the search space",
                where=where,
                remedy="tune again with this version",
            )
