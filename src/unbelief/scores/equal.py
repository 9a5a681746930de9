"""An interval for means of scores that are all equal."""

from __future__ import annotations

import math
from dataclasses import replace

from unbelief.scores.base import Statistic
from unbelief.scores.resampling import cluster_index

_TAIL = 0.025


def of_equal_values(found: Statistic, limits: tuple[float, float]) -> Statistic:
    r"""An interval where all items have one value c, which resampling would call certain.

    Whatever another cluster may have lies within the limits [a, b], and with n of n clusters at c
    no more than a share u = 1 - 0.025^{1/n} of all clusters has something else (the exact binomial
    bound). So the mean lies in

    .. math:: [\, c - u (c - a),\ c + u (b - c) \,]

    Where a limit is infinite there is no such interval, and the one of the resamples is left out.
    """
    known = [s for s in found.scores if s.value is not None]
    if found.draws is None or len({s.value for s in known}) > 1:
        return found
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high)):
        return replace(found, draws=None, interval="none (all values are equal)")
    share = 1 - (_TAIL ** (1 / len(cluster_index(known)[0])))
    c = known[0].value
    assert c is not None
    bounds = (c - share * (c - low), c + share * (high - c))
    return replace(found, interval="exact 95 % of equal values over clusters", bounds=bounds)
