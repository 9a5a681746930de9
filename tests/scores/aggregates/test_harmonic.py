import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hmean

from tests.scores.made import scores
from unbelief.scores.aggregates.harmonic import harmonic_mean
from unbelief.scores.base import Statistic
from unbelief.scores.conventions import aggregate
from unbelief.scores.statistics import mean_statistic, missing

PARTS = {"model_utility": 9, "memorization": 4, "utility": 2, "agg": 2, "harmonic_mean": 3}


def number(value: float) -> Statistic:
    return Statistic(value=value, n=1, unit="share")


def of(name: str, *values: float) -> float | None:
    return aggregate(name).combine([number(v) for v in values], None).value


@given(st.lists(st.just(0.0) | st.floats(1e-9, 10), min_size=1, max_size=9))
def test_agrees_with_scipy(values):
    expected = 0.0 if 0 in values else float(hmean(values))
    assert float(harmonic_mean(np.array(values))) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.permutations([0.2, 0.4, 0.6, 0.9]))
def test_the_order_of_the_parts_does_not_matter(values):
    assert of("harmonic_mean", *values) == pytest.approx(float(hmean(values)))
    assert of("memorization", *values) == pytest.approx(float(hmean(1 - np.array(values))))


@pytest.mark.parametrize("name", PARTS)
def test_one_part_of_zero_is_zero_and_one_missing_part_is_no_number(name):
    n = PARTS[name]
    worst = 1.0 if name == "memorization" else 0.0
    assert of(name, *[0.5] * (n - 1), worst) == 0
    parts = [*(number(0.5) for _ in range(n - 1)), missing("it was not asked", unit="share")]
    result = aggregate(name).combine(parts, None)
    assert result.value is None
    assert list(result.reasons) == [f"input {n} of {n} has no value: it was not asked"]


@pytest.mark.parametrize("name", [n for n in PARTS if n != "harmonic_mean"])
def test_a_wrong_number_of_parts_is_a_bug(name):
    with pytest.raises(ValueError, match=f"not of {PARTS[name] - 1}"):
        of(name, *[0.5] * (PARTS[name] - 1))


def test_parts_outside_their_range_are_refused():
    result = aggregate("memorization").combine([number(v) for v in (0.1, 0.2, 0.3, 1.2)], None)
    assert result.value is None and list(result.reasons) == ["a part is above 1 (1.2)"]
    result = aggregate("harmonic_mean").combine([number(-0.1)], None)
    assert result.value is None and list(result.reasons) == ["a part is negative (-0.1)"]


def test_draws_are_combined_one_by_one():
    parts = [mean_statistic(scores([0.2, 0.8]), unit="share", stream=s) for s in "ab"]
    result = aggregate("agg").combine(parts, None)
    expected = 2 / (1 / parts[0].draws + 1 / parts[1].draws)
    np.testing.assert_allclose(result.draws, expected)
    estimate = result.estimate("unbelief")
    assert estimate.low < result.value < estimate.high
    assert result.n == 4


@pytest.mark.parametrize(
    ("strength", "exact", "paraphrase", "ratio", "expected"),
    [
        # Official logs of the 1B models, forget10; the beliefs paper prints .09, .09, .58.
        (0.70627, 0.97394, 0.10042, 0.68498, 0.0868),  # fine-tuned, prob_mean
        (0.70627, 0.97394, 0.10042, 0.47556, 0.0893),  # fine-tuned, closer_to_1
        (0.05896, 0.58489, 0.05341, 1 - 0.4329, 0.585),  # retrained, prob_mean
        (0.05896, 0.58489, 0.05341, 0.62746, 0.555),  # retrained, closer_to_1
        # An independent evaluation of the same models.
        (1 - 0.3208, 1 - 0.0319, 1 - 0.8952, 1 - 0.3178, 0.1033),
        (1 - 0.9410, 1 - 0.4099, 1 - 0.9449, 1 - 0.4329, 0.5822),
    ],
)
def test_published_memorization(strength, exact, paraphrase, ratio, expected):
    assert of("memorization", strength, exact, paraphrase, ratio) == pytest.approx(
        expected, abs=5e-4
    )


@pytest.mark.parametrize(
    ("model_utility", "fluency", "expected"),
    [
        (0.5992, 0.8728, 0.7105),
        (0.5911, 0.8995, 0.7134),
        (0.6009, 0.8728, 0.7118),
        (0.5905, 0.8995, 0.7130),
    ],
)
def test_published_utility(model_utility, fluency, expected):
    assert of("utility", model_utility, fluency) == pytest.approx(expected, abs=2e-4)


def test_published_model_utility():
    parts = (0.8545, 0.7724, 0.5117, 0.4297, 0.8195, 0.5522, 0.4310, 0.8308, 0.5963)
    assert of("model_utility", *parts) == pytest.approx(0.6009, abs=1e-4)


# Agg/Mem/Util of the beliefs paper, TOFU; columns 1B 3B 8B at 10 %, then at 5 %, then at 1 %.
TABLE = {
    "Original": ".16/.09/.71 .06/.03/.75 .02/.01/.73 .16/.09/.71 .06/.03/.75 .02/.01/.73 "
    ".13/.07/.72 .02/.01/.76 .02/.01/.74",
    "Retrain": ".64/.58/.71 .65/.57/.75 .65/.57/.75 .64/.58/.72 .61/.55/.69 .62/.57/.67 "
    ".61/.54/.71 .59/.54/.66 .62/.53/.74",
    "GradDiff": ".52/.49/.56 .49/.47/.52 .50/.45/.55 .52/.48/.57 .49/.42/.59 .49/.40/.62 "
    ".46/.34/.72 .43/.31/.71 .44/.32/.70",
    "NPO": ".58/.58/.58 .62/.58/.66 .63/.57/.70 .54/.53/.55 .57/.55/.60 .53/.49/.57 "
    ".53/.49/.57 .45/.32/.74 .44/.31/.74",
    "RMU": ".58/.59/.57 .55/.44/.74 .62/.55/.72 .55/.49/.63 .50/.38/.74 .54/.45/.68 "
    ".51/.42/.66 .25/.15/.76 .47/.35/.73",
    "SimNPO": ".47/.35/.70 .41/.28/.74 .29/.18/.72 .43/.31/.71 .40/.27/.75 .36/.24/.70 "
    ".45/.33/.70 .40/.28/.73 .39/.25/.71",
    "WGA": ".53/.47/.62 .51/.42/.66 .52/.41/.70 .53/.45/.64 .50/.39/.69 .49/.37/.74 "
    ".47/.35/.72 .44/.31/.76 .46/.34/.73",
    "BS-T": ".59/.56/.62 .62/.56/.68 .63/.57/.70 .55/.53/.57 .55/.53/.62 .58/.51/.67 "
    ".54/.49/.60 .46/.34/.70 .46/.34/.71",
    "BS-S": ".61/.59/.63 .63/.58/.70 .64/.58/.71 .58/.54/.63 .60/.55/.65 .60/.53/.70 "
    ".57/.52/.62 .50/.38/.72 .49/.37/.71",
}
MISPRINTS = {("BS-T", 4), ("SimNPO", 8)}  # HM(.53, .62) = .571 and HM(.25, .71) = .370
CELLS = [
    (method, column, *map(float, cell.split("/")))
    for method, row in TABLE.items()
    for column, cell in enumerate(row.split())
]


def test_the_published_table_is_whole():
    assert len(CELLS) == 81


@pytest.mark.parametrize(("method", "column", "agg", "mem", "util"), CELLS)
def test_published_aggregates(method, column, agg, mem, util):
    agrees = of("agg", mem, util) == pytest.approx(agg, abs=0.0151)
    assert agrees is ((method, column) not in MISPRINTS)
