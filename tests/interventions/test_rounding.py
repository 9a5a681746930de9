"""Rounded weights against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbelief.interventions.rounding import nf4_levels, round_blocks, round_nf4, round_rows

# As published with QLoRA (Dettmers et al. 2023, appendix E).
PUBLISHED_NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)


def test_nf4_levels_are_the_published_ones() -> None:
    assert nf4_levels() == pytest.approx(PUBLISHED_NF4, abs=1e-6)


def test_int8_rows() -> None:
    # Row 1: s = 127 / 127 = 1: 0.4 -> 0, 0.6 -> 1, ties to even: 1.5 -> 2, 2.5 -> 2.
    # Row 2: s = 2.54 / 127 = 0.02: 0.033 / 0.02 = 1.65 -> 2 -> 0.04; -2.54 -> -127 -> -2.54.
    weight = torch.tensor([[127.0, 0.4, 0.6, 1.5, 2.5], [-2.54, 0.033, 0.0, 0.01, 1.0], [0.0] * 5])
    expected = [[127.0, 0.0, 1.0, 2.0, 2.0], [-2.54, 0.04, 0.0, 0.0, 1.0], [0.0] * 5]
    torch.testing.assert_close(round_rows(weight, 8), torch.tensor(expected))


def test_int4_blocks_run_across_rows_and_the_last_is_shorter() -> None:
    # Blocks of 4 of 6 weights in row-major order: [7, 1.2, -3.6, 0.4] with s = 7 / 7 = 1, and
    # [0.7, -0.16] with s = 0.1: -1.6 -> -2 -> -0.2. By rows of 3 the scales would be others.
    weight = torch.tensor([[7.0, 1.2, -3.6], [0.4, 0.7, -0.16]])
    expected = torch.tensor([[7.0, 1.0, -4.0], [0.0, 0.7, -0.2]])
    torch.testing.assert_close(round_blocks(weight, 4, block=4), expected)


def test_int2_has_three_values() -> None:
    # m = 1: s = 2; 1.2 / 2 = 0.6 -> 1, 0.8 / 2 = 0.4 -> 0.
    weight = torch.tensor([[2.0, 1.2, 0.8, -1.2]])
    assert round_blocks(weight, 2).tolist() == [[2.0, 2.0, 0.0, -2.0]]


def test_nf4_takes_the_nearest_level() -> None:
    # s = 2. 0.5 / 2 = 0.25 lies nearest 0.2461; -0.1 / 2 = -0.05 is nearer to -0.0911 than to 0
    # (midpoint -0.0455); -1.5 / 2 = -0.75 lies nearest -0.6962 (midpoint to -1: -0.848).
    weight = torch.tensor([[2.0, 0.5, -0.1, -1.5, 0.0]])
    level = PUBLISHED_NF4
    expected = [[2.0, 2 * level[10], 2 * level[6], 2 * level[1], 0.0]]
    torch.testing.assert_close(round_nf4(weight), torch.tensor(expected))


def test_blocks_of_zeros_stay() -> None:
    zeros = torch.zeros(2, 3)
    for rounded in (round_rows(zeros, 8), round_blocks(zeros, 4), round_nf4(zeros)):
        assert torch.equal(rounded, zeros)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtype_and_shape_stay(dtype: torch.dtype) -> None:
    weight = torch.randn(5, 13, generator=torch.Generator().manual_seed(0)).to(dtype)
    for rounded in (round_rows(weight, 8), round_blocks(weight, 4, 8), round_nf4(weight, 8)):
        assert rounded.dtype == dtype and rounded.shape == weight.shape


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 70))
def test_errors_are_at_most_half_a_step(seed: int, bits: int, block: int) -> None:
    weight = torch.randn(4, 33, generator=torch.Generator().manual_seed(seed))
    rounded = round_blocks(weight, bits, block).reshape(-1)
    for start in range(0, weight.numel(), block):
        part = weight.reshape(-1)[start : start + block]
        step = float(part.abs().max()) / (2 ** (bits - 1) - 1)
        error = float((rounded[start : start + block] - part).abs().max())
        assert error <= step / 2 + 1e-5
        assert len(set((rounded[start : start + block] / step).round().tolist())) <= 2**bits - 1


@given(st.integers(0, 10_000))
def test_rounding_twice_changes_nothing_more(seed: int) -> None:
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed))
    for call in (round_nf4, lambda w: round_blocks(w, 4), lambda w: round_rows(w, 8)):
        once = call(weight)
        torch.testing.assert_close(call(once), once)


def test_the_largest_weight_of_a_block_is_exact() -> None:
    weight = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    largest = weight.abs().argmax(dim=1)
    rounded = round_nf4(weight).abs().amax(dim=1)
    # −1 and 1 are both levels, so the largest magnitude of a block of 64 survives.
    assert rounded.tolist() == pytest.approx(
        [abs(float(weight[i, j])) for i, j in enumerate(largest)]
    )
    assert math.isclose(nf4_levels()[0], -1) and nf4_levels()[-1] == 1
