"""Likelihood bands: the likeliest answers besides the target, those below, and the rest.

Source: Li et al. 2026, LLM Unlearning with LLM Beliefs, Section 3: high = top 20 %, mid = 20-60 %,
low = 60-100 % of the candidates of a prompt, by conditional probability. The paper does not say
how it rounds; `band_sizes` does.
"""

from __future__ import annotations

from typing import Literal

Band = Literal["high", "mid", "low"]
BANDS: tuple[Band, ...] = ("high", "mid", "low")


def band_sizes(n: int) -> tuple[int, int, int]:
    """How many of n ranked candidates are high, mid and low.

    The cuts lie at 0.2 n and 0.6 n, rounded to whole candidates with halves upwards; the high band
    has at least one candidate. So one candidate is high, two are high and low, and from three on
    no band is empty.

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"{n} candidates")
    if n == 0:
        return 0, 0, 0
    first = max(1, (2 * n + 5) // 10)
    second = max(first, (6 * n + 5) // 10)
    return first, second - first, n - second


def band_of_rank(n: int) -> tuple[Band, ...]:
    """The band of each of n candidates, the likeliest first."""
    return tuple(band for band, size in zip(BANDS, band_sizes(n), strict=True) for _ in range(size))


def spread_out(n: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` of n positions, evenly spaced: the middles of equal parts.

    A mean over them stands for the mean over all n.
    """
    if wanted >= n:
        return tuple(range(n))
    return tuple(((2 * i + 1) * n - 1) // (2 * wanted) for i in range(wanted))
