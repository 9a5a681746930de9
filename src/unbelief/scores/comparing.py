"""Two models on the same items: what may be compared, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unbelief.scores.base import Statistic

NO_REFERENCE = "there is no retrained model to compare with"
NO_ORIGINAL = "the original model was not measured"


def expect(inputs: Sequence[Statistic], n: int, name: str) -> Sequence[Statistic]:
    """The inputs, if they are as many as an aggregate takes.

    Raises:
        ValueError: They are not; the suite's line is wrong.
    """
    if len(inputs) != n:
        raise ValueError(f"{name} is made of {n} numbers, not of {len(inputs)}")
    return inputs


def scored_for_both(one: Statistic, two: Statistic) -> tuple[np.ndarray, str]:
    """Scores of the items that have one for both models.

    Returns:
        (N, 2) scores and an empty reason; or nothing, and the reason why they cannot be compared.
    """
    nothing = np.empty((0, 2))
    if not one.scores or not two.scores:
        return nothing, "there are no item scores to compare"
    left = {s.example_id: s.value for s in one.scores}
    right = {s.example_id: s.value for s in two.scores}
    if len(left) < len(one.scores) or len(right) < len(two.scores):
        return nothing, "item ids are not unique"
    if left.keys() != right.keys():
        shared = len(left.keys() & right.keys())
        return nothing, (
            f"the item sets differ: {len(left)} items here, {len(right)} of the other model, "
            f"{shared} in both"
        )
    pairs = [(a, right[name]) for name, a in left.items() if a is not None]
    kept = [(a, b) for a, b in pairs if b is not None]
    if not kept:
        return nothing, "no item was scored for both models"
    return np.array(kept, float), ""
