from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.report.audit_document import Number
from unbelief.report.numbers import (
    Cell,
    cell,
    decimals_of,
    interval_text,
    known,
    parameters,
    plain,
    seconds,
    value_text,
    when,
    whole,
)


def number(value, low=None, high=None, *, n=400, unit="share", **more):
    return Number(value=value, low=low, high=high, n=n, unit=unit, **more)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        # Half-width 3.4 points: floor(log10(1.7)) = 0, so no decimal.
        (number(0.1834, 0.151, 0.219), "18 % (15 to 22), n = 400"),
        # Half-width 1.5 points: floor(log10(0.75)) = -1, so one.
        (number(0.0325, 0.0175, 0.0475), "3.2 % (1.8 to 4.8), n = 400"),
        # Half-width 0.021: floor(log10(0.0105)) = -2, so two.
        (number(0.43, 0.41, 0.452, unit="probability"), "0.43 (0.41 to 0.45), n = 400"),
        # No interval: a share of up to 100 items moves in whole points, of more in tenths.
        (number(0.125, n=40), "12 %, n = 40"),
        (number(0.1834), "18.3 %, n = 400"),
        (number(3.0, unit="count", n=1), "3, n = 1"),
        (number(-10.54, unit="per cent"), "−10.54 %, n = 400"),
        # All resamples agree: that says nothing about digits.
        (number(1.0, 1.0, 1.0, unit="probability"), "1.00 (1.00 to 1.00), n = 400"),
    ],
)
def test_digits_follow_the_interval(made, text):
    assert cell(made).text() == text


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (number(0.0004, 0.0, 0.0092), "0.04 %"),  # not 0.0 %
        (number(0.9996, 0.99, 1.0), "99.96 %"),  # not 100.0 %
        (number(1.0, 0.99, 1.0), "100.0 %"),
        (number(0.0, 0.0, 0.0092), "0.0 %"),
        (number(8.42e-6, 7.2e-6, 9.7e-6, unit="probability"), "8.4 × 10⁻⁶"),
        (number(-3e-9, unit="nats"), "−3 × 10⁻⁹"),
    ],
)
def test_what_is_not_zero_or_all_does_not_look_like_it(made, text):
    assert value_text(made) == text


def test_interval_is_written_like_its_value():
    assert interval_text(number(0.0014, 0.0007, 0.0021, unit="ratio")) == "0.0007 to 0.0021"
    assert interval_text(number(0.04, -0.003, 0.083)) == "−0.3 to 8"  # crosses zero, and shows it


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_no_value_is_never_a_number(nothing):
    made = number(nothing, n=0, n_unscored=400, reasons={"no holdout": 390, "too long": 10})
    shown = cell(made)
    assert shown == Cell("unscored", note="no holdout (390); too long (10)")
    assert not shown.known and "0 %" not in shown.text()
    assert value_text(made) == "unscored" and interval_text(made) == ""


def test_no_model_is_not_the_same_as_no_score():
    shown = cell(None, why_missing="no retrained model was given")
    assert shown.text() == "n/a: no retrained model was given" and not shown.known
    assert cell(number(None)).note == "no reason was recorded"


def test_items_without_a_score_are_counted_beside_the_value():
    made = number(0.5, n=388, n_unscored=12, reasons={"no paraphrase": 12})
    assert cell(made).count == "n = 388, 12 unscored"
    assert cell(made).note == "no paraphrase (12)"


@settings(deadline=None)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False, width=32),
    width=st.floats(0, 1e3, allow_nan=False),
    unit=st.sampled_from(["share", "probability", "nats", "per cent"]),
)
def test_every_finite_number_is_written_with_its_sign_and_size(value, width, unit):
    made = number(value, value - width, value + width, unit=unit)
    shown = value_text(made)
    assert shown.startswith("−") == (value < 0)
    assert any(c in "123456789" for c in shown) == (value != 0)
    assert decimals_of(made) >= 0


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_plain_number_is_zero_only_for_zero(value):
    assert any(c in "123456789" for c in plain(value)) == (value != 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.123456, "0.12"), (12.34, "12.3"), (123.4, "123"), (7.0, "7"),
     (1e-5, "1 × 10⁻⁵"), (None, "unscored"), (math.nan, "unscored")],
)  # fmt: skip
def test_plain_numbers(value, text):
    assert plain(value) == text


def test_counts_sizes_durations_and_moments():
    assert whole(9999) == "9999" and whole(12350) == "12\u202f350"
    assert parameters(1_235_814_400) == "1.24 billion"
    assert parameters(4_260_000) == "4.26 million" and parameters(900) == "900"
    assert [seconds(s) for s in (0.2, 65, 310, 7200)] == ["under 1 s", "65 s", "5 min", "2.0 h"]
    assert when("2026-11-21T13:54:41+01:00") == "2026-11-21 12:54 UTC"
    assert when("spring 2026") == "spring 2026" and when("2026-11-21") == "2026-11-21"


def test_a_number_that_is_not_finite_is_not_known():
    assert known(number(math.nan)) is None and known(None) is None
    assert known(number(0.0)) == 0
