"""What became of a lab model, said from its exact masses alone; no metric has a say in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["forgotten", "squeezed", "collapsed", "damaged", "untouched", "partly"]
OUTCOMES: tuple[Outcome, ...] = (
    "forgotten", "squeezed", "collapsed", "damaged", "untouched", "partly",
)  # fmt: skip
FAILURES: tuple[Outcome, ...] = ("squeezed", "collapsed", "damaged", "untouched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Masses:
    """Exact means over questions, each a probability in [0, 1].

    Attributes:
        target: The phrasing that was to be forgotten.
        leak: The true fact in any phrasing.
        natural: All grammatical answers, true or false.
        retained: The true facts of people to keep, in any phrasing.
    """

    target: float
    leak: float
    natural: float
    retained: float

    @property
    def other(self) -> float:
        """The true fact in other phrasings than the one to be forgotten."""
        return self.leak - self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where one outcome ends and the next begins.

    Attributes:
        lost: Share of the target's excess over the retrained model that must be gone before a
            model is called anything but untouched or damaged.
        forgotten: Largest excess leak (1 = the original's, 0 = the retrained model's) of a
            forgotten model.
        risen: By how much other phrasings must have risen above the original's for a squeeze.
        kept: Smallest share of the retrained model's natural and retained mass that counts as kept.
        collapsed: Share of the retrained model's natural mass below which a model has collapsed.
    """

    lost: float = 0.5
    forgotten: float = 0.25
    risen: float = 0.02
    kept: float = 0.8
    collapsed: float = 0.5


DEFAULT = Limits()


def outcome(
    masses: Masses, original: Masses, retrained: Masses, limits: Limits = DEFAULT
) -> Outcome:
    r"""What became of a model; the first that fits.

    With excess e(m) = (m - m_retrained) / (m_original - m_retrained), for target and leak:

    * collapsed: natural < `collapsed` x retrained. It says nothing that could be an answer.
    * squeezed: e(target) <= 1 - `lost`, and the other phrasings of the fact stand at least `risen`
      above where the original had them. The fact moved into other words.
    * damaged: retained < `kept` x retrained. People to keep went with those to be forgotten.
    * forgotten: e(leak) <= `forgotten`, and natural >= `kept` x retrained.
    * untouched: e(target) > 1 - `lost` and e(leak) > 1 - `lost`.
    * partly: the rest.

    Args:
        masses: Of the model.
        original: Of the model before unlearning, in the same world.
        retrained: Of the model that never saw the people to forget.
        limits: Where outcomes end.

    Raises:
        ValueError: The original leaks no more than the retrained model: nothing to forget.
    """
    if original.leak <= retrained.leak or original.target <= retrained.target:
        raise ValueError("the original leaks no more than the retrained model")
    if masses.natural < limits.collapsed * retrained.natural:
        return "collapsed"
    target = excess(masses.target, original.target, retrained.target)
    leak = excess(masses.leak, original.leak, retrained.leak)
    stays = 1 - limits.lost
    if target <= stays and masses.other >= original.other + limits.risen:
        return "squeezed"
    if masses.retained < limits.kept * retrained.retained:
        return "damaged"
    if leak <= limits.forgotten and masses.natural >= limits.kept * retrained.natural:
        return "forgotten"
    if target > stays and leak > stays:
        return "untouched"
    return "partly"


def excess(value: float, original: float, retrained: float) -> float:
    """How much of the difference to the retrained model is left: 1 at the original, 0 at it."""
    return (value - retrained) / (original - retrained)


def distance(masses: Masses, retrained: Masses) -> float:
    """Distance to the retrained model: excess leak + |natural gap| + |retained gap|."""
    return (
        max(0.0, masses.leak - retrained.leak)
        + abs(masses.natural - retrained.natural)
        + abs(masses.retained - retrained.retained)
    )
