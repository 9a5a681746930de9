"""Published numbers that need no model: what they must be if the definitions here are theirs."""

from __future__ import annotations

import math

import pytest

from unbelief.scores.aggregates.forget_quality import ks_lattice_log_p
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate

# Forget quality in OpenUnlearning's reproduction page, Llama-2-7B and Llama-3.2-1B, as printed:
# fine-tuned, retrained, GradAscent, GradDiff, IdkDPO, NPO, SimNPO, RMU; its leaderboard at the end.
PRINTED = {
    40: "1.27e-3 1 1.88e-4 3.02e-3 .1 .4 1.27e-3 .4 .01 1 .27 .77 .01 .92 .58 .16",
    200: "5.87e-14 1 1.94e-119 1.94e-119 4.02e-6 .09 1.06e-106 9.59e-10 "
    "1.33e-13 1 1.94e-119 1.94e-119 1.12e-5 .14 5.01e-100 4.87e-10",
    400: "4.35e-25 1 1.06e-239 1.80e-229 5.42e-13 .42 1.47e-198 6.92e-21 "
    "1.66e-21 1 1.06e-239 1.06e-239 4.64e-12 .02 2.47e-203 3.15e-15 3.91e-22",
}
CASES = [(n, text) for n, row in PRINTED.items() for text in row.split()]


def printed_as(p: float, text: str) -> str:
    """A p-value with as many digits as a text has."""
    mantissa, exponent, _ = text.partition("e")
    digits = len(mantissa.partition(".")[2])
    if not exponent:
        return f"{p:.{digits}f}".lstrip("0") if "." in text else f"{p:.0f}"
    found, _, power = f"{p:.{digits}e}".partition("e")
    return f"{found}e{int(power)}"


@pytest.mark.parametrize(("n", "text"), CASES, ids=lambda value: str(value))
def test_every_published_p_value_is_one_of_the_exact_test(n: int, text: str) -> None:
    """n D is a whole number, so p takes n + 1 values; three printed digits leave no choice."""
    values = {printed_as(math.exp(ks_lattice_log_p(n, h)), text) for h in range(n + 1)}
    assert text in values


@pytest.mark.parametrize(
    ("n", "other", "text"),
    [(40, 200, "1.27e-3"), (200, 40, "1.33e-13"), (400, 200, "3.91e-22"), (200, 400, "4.02e-6")],
)
def test_of_another_number_of_items_it_would_not_be(n: int, other: int, text: str) -> None:
    values = {printed_as(math.exp(ks_lattice_log_p(other, h)), text) for h in range(other + 1)}
    assert text not in values


@pytest.mark.parametrize(
    ("corpus", "retrained", "published"),
    [
        # 1 - AUC of the retrained models from MUSE's own code; PrivLeak of fine-tuned models,
        # GradAscent, GradDiff, NPO, SimNPO and RMU from OpenUnlearning's reproduction page.
        ("News", 0.4772, (-99.81, 52.11, 93.23, -86.00, -86.11, 56.36)),
        ("Books", 0.5393, (-57.26, -0.67, -37.79, -54.24, -54.26, -60.52)),
    ],
)
def test_published_privleak_is_possible(
    corpus: str, retrained: float, published: tuple[float, ...]
) -> None:
    """From AUC 1 (-100 %) to AUC 0 (100 (1 - a) / a % with a = 1 - AUC of the retrained model)."""

    def privleak(auc: float) -> float | None:
        own, reference = (
            Statistic(value=value, unit="probability", n=1) for value in (auc, 1 - retrained)
        )
        return aggregate("privleak", "open-unlearning").combine([own], [reference]).value

    assert privleak(1.0) == pytest.approx(-100)
    assert privleak(0.0) == pytest.approx(100 * (1 - retrained) / retrained)
    for value in published:
        auc = 1 - retrained * (1 + value / 100)
        assert 0 <= auc <= 1, corpus
        assert privleak(auc) == pytest.approx(value, abs=1e-6)
