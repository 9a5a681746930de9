r"""Which parts to exchange, from their single influences. Knows no model.

.. math:: s_l = rank_\downarrow(U_l) + rank_\downarrow(F_l)

with U_l the utility and F_l the forgetting of the original with part l from the unlearned model;
rank 1 is the highest, ties share the mean of their ranks. Parts are taken by ascending s, of equal
ones the shallower first.

Source: CRU (component-wise replacement unlearning), ICML 2025 workshop; the rank sum as its
reviewers quote it. Ties, order and the choice of k are ours: none was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One part and its score.

    Attributes:
        part: Label.
        utility_rank: 1 for the part that costs least.
        forgetting_rank: 1 for the part that forgets most.
        score: Their sum; the lowest is exchanged first.
    """

    part: str
    utility_rank: float
    forgetting_rank: float
    score: float


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of every value, 1 for the highest; equal values share the mean of their ranks."""
    above = [sum(other > value for other in values) for value in values]
    equal = [sum(other == value for other in values) for value in values]
    return [a + (e + 1) / 2 for a, e in zip(above, equal, strict=True)]


def by_score(
    parts: Sequence[str], utility: Sequence[float], forgetting: Sequence[float]
) -> tuple[Ranked, ...]:
    """Parts in the order in which they are exchanged.

    Args:
        parts: Labels, shallow to deep.
        utility: U of each.
        forgetting: F of each, higher for more forgotten.
    """
    found = [
        Ranked(part=part, utility_rank=u, forgetting_rank=f, score=u + f)
        for part, u, f in zip(parts, ranks(utility), ranks(forgetting), strict=True)
    ]
    return tuple(sorted(found, key=lambda one: one.score))  # stable: shallow before deep


def harmonic(utility: float, forgetting: float) -> float:
    """Harmonic mean of two shares, each first brought into [0, 1]; 0 when one of them is 0."""
    u, f = (min(max(share, 0.0), 1.0) for share in (utility, forgetting))
    return 0.0 if u + f == 0 else 2 * u * f / (u + f)


def best_k(means: Sequence[float]) -> int:
    """1 + the place of the highest mean; of equal ones the fewest parts."""
    return 1 + max(range(len(means)), key=lambda i: (means[i], -i))
