"""The methods that are tried, where each begins, and where its next trial goes.

Strength has two knobs, the learning rate and γ (the forget term's weight beside the retain term).
Each method is a chain of trials, and what became of the last one says which knob is turned: a run
that did not get to the level is made stronger, one that lost what was to stay is made gentler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from unbelief.errors import RequestError
from unbelief.study.spaces import Option, Range, space_of

Outcome = Literal["reached", "weak", "idle", "harmful", "diverged"]
LOWEST, HIGHEST = 1 / 16, 4.0
"""Learning rates are searched between these multiples of the first one."""
LEAST_GAIN = 0.1
"""A knob that was turned up while the cost fell by a smaller share gives way to the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A method of the portfolio.

    Attributes:
        name: What it is called here.
        method: As in `unbelief methods`.
        forget_weight: γ of its first trial.
        options: Further options, the same in every trial.
        source: Why it is there, and where its first γ is from.
    """

    name: str
    method: str
    forget_weight: float
    options: Mapping[str, Option] = field(default_factory=dict)
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The two knobs of a trial."""

    learning_rate: float
    forget_weight: float


Tried = tuple[Strength, Outcome, float]
"""A trial of a chain: its strength, what became of it, its cost."""
_TRANSPLANT: dict[str, Option] = {"neighbours": 4, "samples": 4, "per_step": 2}
PORTFOLIO: tuple[Entry, ...] = (
    Entry(
        name="transplant", method="transplant", forget_weight=0.5, options=_TRANSPLANT,
        source="nearest to the retrained model in the lab study; γ between those of its lab and "
        "TOFU runs; 4 neighbours were no worse than 16",
    ),
    Entry(
        name="transplant+wga", method="transplant", forget_weight=0.5,
        options={**_TRANSPLANT, "inner": "wga", "suppression": 0.3},
        source="acts on the true answer's continuation too, which transplant alone left on TOFU",
    ),
    Entry(
        name="wga", method="wga", forget_weight=0.15,
        source="forgets most among the token-wise methods of the lab study; γ of its TOFU run",
    ),
    Entry(
        name="tnpo", method="tnpo", forget_weight=0.15,
        source="nearest of the methods that only suppress, with WTNPO; γ of its TOFU run",
    ),
    Entry(
        name="bs-t", method="bs-t", forget_weight=0.06,
        source="the beliefs paper's token-level method; γ of its TOFU run",
    ),
)  # fmt: skip


def entries(names: str) -> tuple[Entry, ...]:
    """The entries of a list with commas; an empty one is the portfolio.

    Raises:
        RequestError: An unknown method, one without a retain term, or one named twice.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if len(set(wanted)) != len(wanted):
        raise RequestError("a method is named twice", where="--set methods", remedy="name it once")
    known = {entry.name: entry for entry in PORTFOLIO}
    return tuple(known.get(name) or _other(name) for name in wanted) or PORTFOLIO


def _other(name: str) -> Entry:
    from unbelief.objectives.methods import build_objective

    objective = build_objective(name)
    if objective.retain is None:
        raise RequestError(
            f"{name} has no retain term, so nothing holds what is to stay",
            where="--set methods",
            remedy=f"for example {', '.join(e.name for e in PORTFOLIO)}",
        )
    return Entry(
        name=name,
        method=name,
        forget_weight=objective.forget_weight / 10,
        source="named by the user; a tenth of its own γ, as small models needed",
    )


def first_rate(hidden: int, lora: bool) -> float:
    r"""Learning rate of the first trials.

    .. math:: \eta = \min(5 \cdot 10^{-4},\ \max(5 \cdot 10^{-6},\ 5 \cdot 10^{-4} (256 / d)^2))

    5e-4 is half of what was chosen by hand for a model of width 256, and d = 2048 gives 8e-6, near
    the field's 1e-5 for models of a billion parameters. Adapters take ten times that. It is a place
    to begin: chains turn it up and down.

    Args:
        hidden: d, width of the model.
        lora: Whether an adapter trains.
    """
    rate = min(5e-4, max(5e-6, 5e-4 * (256 / hidden) ** 2))
    return min(1e-3, 10 * rate) if lora else rate


def ranges(entry: Entry, rate: float) -> dict[str, Range]:
    """The two ranges of a chain: of the learning rate around the first, of γ as in the study."""
    space = space_of(entry.method, (rate * LOWEST, rate * HIGHEST))
    return {r.name: r for r in space if r.name in ("learning_rate", "forget_weight")}


def first(entry: Entry, rate: float) -> Strength:
    """The first trial of a chain."""
    return Strength(learning_rate=rate, forget_weight=entry.forget_weight)


def following(tried: Sequence[Tried], allowed: Mapping[str, Range]) -> Strength | None:
    """The next trial of a chain, or None when it has nowhere to go.

    =========  ====================================================================
    idle       little was forgotten and little lost: learning rate × 3, or γ × 3
    weak       the level was not reached: γ × 2, or learning rate × 2
    harmful    utility was lost before: learning rate / 2, every second time γ / 2
    diverged   learning rate / 4
    reached    around the chain's nearest such trial: γ / 2, rate / 2, γ × 2
    =========  ====================================================================

    Of two moves the first is made, the second where the first leads out of the ranges. After an
    idle or weak trial the second comes first if the last move turned the first one's knob up in
    vain: the cost fell by less than a tenth (`LEAST_GAIN`).

    A move to where a trial was already is halved (in ratios) once, then given up.

    Args:
        tried: Strength, outcome and cost of the chain's trials, in order.
        allowed: Ranges by knob.
    """
    done = {_key(strength) for strength, _, _ in tried}
    last = tried[-1][0]
    reached = [t for t in tried if t[1] == "reached"]
    if reached:
        best = min(reached, key=lambda t: t[2])[0]
        moves = [(best, 1.0, 0.5), (best, 0.5, 1.0), (best, 1.0, 2.0)]
    else:
        moves = [(last, *move) for move in _moves(tried)]
    for start, rate, weight in moves:
        for power in (1.0, 0.5):
            new = _moved(start, rate**power, weight**power, allowed)
            if new is not None and _key(new) not in done:
                return new
    return None


_MOVES: dict[Outcome, tuple[tuple[float, float], ...]] = {
    "idle": ((3.0, 1.0), (1.0, 3.0)),
    "weak": ((1.0, 2.0), (2.0, 1.0)),
    "harmful": ((0.5, 1.0), (1.0, 0.5)),
    "diverged": ((0.25, 1.0),),
    "reached": (),
}


def _moves(tried: Sequence[Tried]) -> tuple[tuple[float, float], ...]:
    """What the last trial's two knobs may be multiplied with, the likeliest to help first."""
    outcome = tried[-1][1]
    own = _MOVES[outcome]
    if outcome == "harmful":
        turn = sum(t[1] == outcome for t in tried) % 2 == 0
    else:
        turn = _in_vain(tried, "forget_weight" if outcome == "weak" else "learning_rate")
    return own[::-1] if turn else own


def _in_vain(tried: Sequence[Tried], knob: str) -> bool:
    """Whether the last move turned this knob up, and the cost hardly fell."""
    if len(tried) < 2:
        return False
    (before, _, cost), (after, _, now) = tried[-2:]
    return getattr(after, knob) > getattr(before, knob) and now > (1 - LEAST_GAIN) * cost


def _moved(
    start: Strength, rate: float, weight: float, allowed: Mapping[str, Range]
) -> Strength | None:
    values = {
        "learning_rate": start.learning_rate * rate,
        "forget_weight": start.forget_weight * weight,
    }
    for name, value in values.items():
        bounds = allowed.get(name)
        edge = 1e-9
        if bounds is None:
            if value != getattr(start, name):
                return None
        elif not bounds.low * (1 - edge) <= value <= bounds.high * (1 + edge):
            return None
    return Strength(**values)


def _key(strength: Strength) -> tuple[str, str]:
    return f"{strength.learning_rate:.3g}", f"{strength.forget_weight:.3g}"
