"""Bounds fixed before an audit, and whether its numbers keep them.

A gate is one line of text, so that it can be agreed on, signed and put under version control:

    leak_rate <= 0.05
    leak_rate@relearn <= retrained + 0.05
    forget_probability >= 0.5 * retrained
    model_utility >= 0.95 * original

A gate passes when the whole 95 % interval keeps the bound, fails when the whole interval breaks it,
and is inconclusive in between or when the number does not exist. Where the bound is another
model's number, the interval is that of the difference, resampled together. A gate about an attack
that was made with several seeds is decided for each of them, and the worst outcome is the gate's.

Several gates. An audit passes only when all do, so that to pass wrongly is no likelier than at a
single gate (an intersection-union test, Berger 1982) and needs no correction. To fail at least one
of m gates by chance alone is up to m times as likely; a failure therefore says whether it survives
Bonferroni's correction, the interval at 1 - 0.05/m. It is a failure either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from unbelief.errors import RequestError
from unbelief.report.audit_document import Gate, Outcome
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import Side, clopper_pearson

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_RULE = re.compile(
    rf"""^\s*(?P<measure>[a-z][a-zA-Z0-9_]*)(?:@(?P<attack>[a-z][a-z0-9_:=.-]*[a-z0-9]))?
    \s*(?P<relation><=|>=)\s*
    (?:(?P<bound>-?{_NUMBER})
      |(?:(?P<factor>{_NUMBER})\s*\*\s*)?(?P<of>original|retrained)
       (?:\s*(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?)\s*$""",
    re.VERBOSE,
)
_LEVEL = 0.95
_WORST_FIRST: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
_SHAPE = (
    "NAME[@ATTACK] <= BOUND or >= BOUND; BOUND is a number or [FACTOR *] original|retrained [± x]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One gate: measure ⋈ factor · of + offset.

    Attributes:
        text: As written.
        measure: Name of a measure.
        attack: The attack it is read under; empty for none.
        relation: `<=` or `>=`.
        of: Whose number the bound is made of; None for a plain number.
        factor: Of that number.
        offset: Added; the bound itself when `of` is None.
    """

    text: str
    measure: str
    attack: str
    relation: Literal["<=", ">="]
    of: Literal["original", "retrained"] | None
    factor: float
    offset: float


Look = Callable[[str, str, str], Statistic | None]
"""(measure, attack, role) -> the statistic, or None when there is no such number."""


def parse_rule(text: str, where: str = "gates") -> Rule:
    """Read one gate.

    Args:
        text: For example `leak_rate@relearn <= retrained + 0.05`.
        where: For messages, for example `gates.txt:3`.

    Raises:
        RequestError: It has another shape.
    """
    found = _RULE.match(text)
    if found is None:
        raise RequestError(f"not a gate: {text.strip()!r}", where=where, remedy=f"write {_SHAPE}")
    of, bound = found["of"], found["bound"]
    offset = float(bound) if of is None else float(found["offset"] or 0)
    if of is not None and found["sign"] == "-":
        offset = -offset
    return Rule(
        text=" ".join(text.split()),
        measure=found["measure"],
        attack=found["attack"] or "",
        relation="<=" if found["relation"] == "<=" else ">=",
        of=of,  # type: ignore[arg-type]  # the pattern allows nothing else
        factor=float(found["factor"] or 1),
        offset=offset,
    )


def read_rules(source: str | Path) -> tuple[Rule, ...]:
    """Gates from a text file (one a line, `#` starts a comment) or from `a; b; c`.

    Raises:
        RequestError: With file and line, when a line is not a gate or there is none.
    """
    path = Path(source)
    if isinstance(source, Path) or not re.search("[<>]", source):
        if not path.is_file():
            raise RequestError(f"{path} does not exist", where="gates", remedy=f"write {_SHAPE}")
        lines = path.read_text(encoding="utf-8").splitlines()
        named = [(line, f"{path}:{i}") for i, line in enumerate(lines, 1)]
    else:
        named = [(line, "gates") for line in str(source).split(";")]
    rules = [parse_rule(text, at) for line, at in named if (text := line.partition("#")[0].strip())]
    if not rules:
        raise RequestError("there is no gate", where=str(source), remedy=f"write {_SHAPE}")
    return tuple(rules)


def check_rules(
    rules: Sequence[Rule],
    measures: Sequence[str],
    attacks: Mapping[str, Sequence[str]],
    absent: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse gates that this audit can never decide, before any work.

    Args:
        rules: The gates.
        measures: Names of what is measured without attack.
        attacks: By name of the attacks that will be run, the measures read under them.
        absent: By name of a measure, or of a model, that has no number here: the option it needs.

    Raises:
        RequestError: A gate names an unknown measure, an attack that is not run, or something for
            which records or a model are missing.
    """
    for rule in rules:
        if rule.attack and rule.attack not in attacks:
            raise RequestError(
                f"the gate {rule.text!r} is about an attack that is not run",
                where="gates",
                remedy=f"add {rule.attack} to --attacks, or drop the gate",
            )
        known = attacks[rule.attack] if rule.attack else measures
        if rule.measure not in known:
            raise RequestError(
                f"the gate {rule.text!r} names the unknown measure {rule.measure!r}",
                where="gates",
                remedy=f"choose one of {', '.join(sorted(known))}",
            )
        for name in filter(None, (rule.measure, rule.of)):
            if name in absent:
                raise RequestError(
                    f"the gate {rule.text!r} cannot be decided without --{absent[name]}",
                    where="gates",
                    remedy=f"give --{absent[name]}, or drop the gate",
                )


def decide_all(rules: Sequence[Rule], looks: Callable[[str], Sequence[Look]]) -> list[Gate]:
    """Decide every gate; one about several seeds by the worst of them.

    Args:
        rules: The gates.
        looks: By attack (empty for none), what finds statistics for each of its seeds.
    """
    gates = []
    for rule in rules:
        found = [decide(rule, look, gates=len(rules)) for look in looks(rule.attack)]
        worst = min(found, key=lambda gate: _WORST_FIRST.index(gate.outcome))
        if len(found) > 1:
            outcomes = ", ".join(gate.outcome for gate in found)
            note = f"{worst.because}; the worst of {len(found)} seeds ({outcomes})"
            worst = worst.model_copy(update={"because": note})
        gates.append(worst)
    return gates


def decide(rule: Rule, look: Look, *, gates: int = 1) -> Gate:
    """Whether the numbers keep a gate.

    Args:
        rule: The gate.
        look: Finds statistics by measure, attack and role.
        gates: How many gates the audit has.
    """
    name = f"{rule.measure}@{rule.attack}" if rule.attack else rule.measure
    own = look(rule.measure, rule.attack, "unlearned")
    if own is None or own.value is None:
        return _undecided(name, rule, f"{name} has no value{_why(own)}")
    other = None if rule.of is None else look(rule.measure, rule.attack, rule.of)
    if rule.of is not None and (other is None or other.value is None):
        missing = f"there is no {name} of the {rule.of} model{_why(other)}"
        return _undecided(name, rule, missing, own.value)
    bound = rule.offset if other is None else rule.factor * (other.value or 0.0) + rule.offset
    gate = _decided(name, rule, own.value, *_ends(own, other, rule, _LEVEL), bound)
    if gate.outcome != "fail" or gates == 1:
        return gate
    level = 1 - (1 - _LEVEL) / gates
    corrected = _decided(name, rule, own.value, *_ends(own, other, rule, level), bound)
    survives = "breaks it too" if corrected.outcome == "fail" else "does not, so chance may do it"
    note = f"{gate.because}; at {100 * level:.4g} % (Bonferroni, {gates} gates) it {survives}"
    return gate.model_copy(update={"because": note})


def _ends(own: Statistic, other: Statistic | None, rule: Rule, level: float) -> tuple[float, float]:
    if other is None:
        return _interval(own, level)
    return _interval_of_difference(own, other, rule, level)


def _decided(name: str, rule: Rule, value: float, low: float, high: float, bound: float) -> Gate:
    upper = rule.relation == "<="
    keeps = high <= bound if upper else low >= bound
    breaks = low > bound if upper else high < bound
    outcome: Outcome = "pass" if keeps else "fail" if breaks else "inconclusive"
    words = {"pass": "keeps", "fail": "breaks", "inconclusive": "straddles"}[outcome]
    because = f"the 95 % interval {low:.4g} to {high:.4g} {words} the bound {bound:.4g}"
    return Gate(
        name=name,
        rule=rule.text,
        value=value,
        low=low,
        high=high,
        outcome=outcome,
        because=because,
    )


def _undecided(name: str, rule: Rule, because: str, value: float | None = None) -> Gate:
    return Gate(name=name, rule=rule.text, value=value, outcome="inconclusive", because=because)


def _why(statistic: Statistic | None) -> str:
    if statistic is None or not statistic.reasons:
        return ""
    reasons = sorted(statistic.reasons, key=lambda r: -statistic.reasons[r])
    return f": {reasons[0]}"


def _interval(statistic: Statistic, level: float) -> tuple[float, float]:
    assert statistic.value is not None
    if statistic.bounds is not None:
        return _exact(statistic, level)
    draws = statistic.draws
    if draws is None or not np.isfinite(draws).any():
        return statistic.value, statistic.value  # a single cluster: the point decides
    return _percentiles(draws, level)


def _exact(statistic: Statistic, level: float) -> tuple[float, float]:
    """The exact interval; at another level than its own, where it is one of a binomial rate."""
    assert statistic.bounds is not None and statistic.value is not None
    if level == _LEVEL or not statistic.interval.startswith("exact binomial"):
        return statistic.bounds
    side: Side = "upper" if "upper bound" in statistic.interval else "two"
    hits = round(statistic.value * statistic.n)
    return clopper_pearson(hits, statistic.n, confidence=level, side=side)


def _percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    tail = 100 * (1 - level) / 2
    low, high = np.nanpercentile(draws, (tail, 100 - tail))
    return float(low), float(high)


def _interval_of_difference(
    own: Statistic, other: Statistic, rule: Rule, level: float
) -> tuple[float, float]:
    """Interval of own − factor · (other − its value): the bound's own noise is in it."""
    assert own.value is not None and other.value is not None
    low, high = _interval(own, level)
    if own.draws is None or other.draws is None or own.draws.shape != other.draws.shape:
        return low, high
    lows = _percentiles(own.draws - rule.factor * (other.draws - other.value), level)
    if own.bounds is not None:  # an exact interval is never made narrower
        return min(low, lows[0]), max(high, lows[1])
    return lows
