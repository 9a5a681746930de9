"""Which data that were not handed over are meant too: read off what forgetting did to them.

After ascent on the data handed over, what resembles them has lost most (TARF's "representation
gravity"). The functions take numbers per item and know neither images nor models; rows of text
with their groups do as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Identification:
    """How well the false-retaining set was found.

    Attributes:
        found: Items that were named.
        true: Items that really are meant though not handed over.
        hits: Items in both.
    """

    found: int
    true: int
    hits: int

    @property
    def precision(self) -> float | None:
        """Hits / found; None when nothing was named."""
        return self.hits / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Hits / true; None when there is nothing to find."""
        return self.hits / self.true if self.true else None


def compare(found: np.ndarray, true: np.ndarray) -> Identification:
    """Count items that were named, that should have been, and both."""
    hits = len(np.intersect1d(found, true))
    return Identification(found=len(found), true=len(true), hits=hits)


def by_class(
    groups: np.ndarray,
    hit_before: np.ndarray,
    hit_after: np.ndarray,
    loss_change: np.ndarray,
    beyond: int,
) -> np.ndarray:
    r"""Whole classes whose accuracy fell most.

    .. math:: drop_c = acc_c(\theta_o) - acc_c(\theta_{t_1})

    The `beyond` classes with the largest drop are taken. Equal drops (they are common when ascent
    was gentle) are ordered by the rise of the mean loss, so that exactly `beyond` are taken.

    Args:
        groups: (N,) class of each item of D_un.
        hit_before: (N,) whether θ_o has it right.
        hit_after: (N,) whether θ_t1 has.
        loss_change: (N,) ℓ(θ_t1) - ℓ(θ_o), nats.
        beyond: Number of classes that are meant too.

    Returns:
        (N,) True for items of the classes taken.

    Source: TARF, section on target identification; the number of classes is known there.
    """
    if not 0 <= beyond <= len(np.unique(groups)):
        raise ValueError(f"{beyond} of {len(np.unique(groups))} classes cannot be taken")
    ranked = []
    for name in np.unique(groups):
        own = groups == name
        drop = float(hit_before[own].mean()) - float(hit_after[own].mean())
        ranked.append((drop, float(loss_change[own].mean()), name))
    ranked.sort(key=lambda one: (-one[0], -one[1]))
    return np.isin(groups, [name for _, _, name in ranked[:beyond]])


def by_sample(change: np.ndarray, share: float) -> np.ndarray:
    r"""Single items whose loss moved most.

    .. math:: I_{con}(x, y) = |\ell(f_{\theta_o}(x), y) - \ell(f_{\theta_{t_1}}(x), y)| \ge \beta

    with β the (1 - share) quantile. Equality drops the item, as long as its loss moved at all.

    Args:
        change: (N,) loss change, nats; its sign does not count.
        share: Of items to take, in (0, 1).

    Source: TARF, Eq. 5.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share must lie in (0, 1), not {share}")
    size = np.abs(change)
    return (size >= np.quantile(size, 1 - share)) & (size > 0)
