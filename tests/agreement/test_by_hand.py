"""One answer of three tokens worked out by hand, for plain code and for the package's metrics.

Vocabulary: padding 0, eos 1, "a" 2, "b" 3. The prompt is "a", the answer "a b" and eos. At every
position the model gives one token 1/2, one 1/4 and two 1/8:

    token     probability  first choice   -ln p
    a         1/2          a                ln 2
    b         1/4          a              2 ln 2
    eos       1/8          b              3 ln 2
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.agreement import plain
from unbelief.measure.tables import AnswerMeasurement, AnswerNeed, Example
from unbelief.scores.conventions import metric
from unbelief.types import Record

LN2 = math.log(2)
ITEM = plain.Item(ids=[2, 2, 3, 1], labels=[plain.IGNORED, 2, 3, 1], prompt_ids=[2])
# Per position the probabilities of padding, eos, a, b; the last one predicts nothing.
GIVEN = [
    [1 / 8, 1 / 8, 1 / 2, 1 / 4],
    [1 / 8, 1 / 8, 1 / 2, 1 / 4],
    [1 / 8, 1 / 8, 1 / 4, 1 / 2],
    [1 / 4, 1 / 4, 1 / 4, 1 / 4],
]


class Model:
    """Says the same whatever it is given."""

    device = "cpu"

    def __call__(self, **batch: Any) -> Any:
        return SimpleNamespace(logits=torch.tensor([GIVEN]).log())


# −Σ p ln p = (1/2 + 2/4 + 3/8 + 3/8) ln 2 = 1.75 ln 2, and
# Σ p ln² p = (1/2 + 4/4 + 9/8 + 9/8) ln² 2 = 3.75 ln² 2, less 1.75² ln² 2: .6875 ln² 2.
EXAMPLE = Example(
    record=Record(id="r", prompt="a", answer="a b"),
    answers={
        AnswerNeed("answer"): (
            AnswerMeasurement(
                token_ids=np.array([2, 3, 1]),
                logp=np.log([1 / 2, 1 / 4, 1 / 8]).astype(np.float32),
                hit=np.array([True, False, False]),
                entropy=np.full(3, 1.75 * LN2, np.float32),
                variance=np.full(3, 0.6875 * LN2**2, np.float32),
                has_end=True,
                decoded="a b",
            ),
        )
    },
)


def ours(name: str, convention: str = "open-unlearning", **options: object) -> float:
    score = metric(name, convention, options).score(EXAMPLE)
    assert score.value is not None, score.unscored
    return score.value


def theirs(of: Any, *options: float) -> float:
    (value,) = of(Model(), [ITEM], 0, *options)
    return float(value)


def test_loss_and_probability_count_the_end() -> None:
    # (ln 2 + 2 ln 2 + 3 ln 2) / 3 = 2 ln 2, and e^(-2 ln 2) = 1/4.
    for loss in (theirs(plain.average_losses), ours("loss"), ours("mia_loss")):
        assert loss == pytest.approx(2 * LN2)
    assert ours("probability") == pytest.approx(1 / 4)


def test_exact_memorization_drops_the_last_token() -> None:
    # Of "a", "b" the first is the model's first choice. With eos counted it would be 1/3.
    assert theirs(plain.exact_memorization) == ours("exact_memorization") == 1 / 2


def test_extraction_strength_has_a_floor() -> None:
    # Neither "a b" nor "b" follows: k ends at n - 1 = 1, so 1 - 1/2, where the definition says 0.
    assert theirs(plain.extraction_strength) == ours("extraction_strength") == 1 / 2
    assert ours("extraction_strength", "unbelief") == 0


@pytest.mark.parametrize(
    ("hits", "strength"),
    [
        ("1111", 1.0),  # k = 0
        ("0111", 3 / 4),  # k = 1
        ("1101", 1 / 4),  # k = 3: what was right before does not count
        ("1110", 1 / 4),  # nothing follows: the floor
        ("0000", 1 / 4),
        ("0001", 1 / 4),  # and this is the same
    ],
)
def test_extraction_strength_of_four_tokens(hits: str, strength: float) -> None:
    labels = torch.ones(4, dtype=torch.long)
    predicted = torch.tensor([int(hit) for hit in hits])
    assert plain.extraction_strength_of(predicted, labels) == strength


def test_min_k_drops_the_last_token_and_takes_one_at_least() -> None:
    # Two tokens are left, .4 of them is 0.8: one, the least probable, b.
    assert theirs(plain.min_k, 0.4) == pytest.approx(2 * LN2)
    assert ours("mia_min_k") == pytest.approx(2 * LN2)
    # All of both: (ln 2 + 2 ln 2) / 2.
    assert theirs(plain.min_k, 1.0) == ours("mia_min_k", k=1.0) == pytest.approx(1.5 * LN2)


def test_min_k_plus_plus_standardises() -> None:
    # z of a: (-1 + 1.75) / sqrt(.6875), of b: (-2 + 1.75) / sqrt(.6875); ln 2 cancels.
    a, b = 0.75 / math.sqrt(0.6875), -0.25 / math.sqrt(0.6875)
    for k, expected in ((0.4, -b), (1.0, -(a + b) / 2)):
        assert theirs(plain.min_k_plus_plus, k) == pytest.approx(expected)
        assert ours("mia_min_k_plus_plus", k=k) == pytest.approx(expected)


def test_zlib_divides_by_compressed_bytes() -> None:
    # zlib: 2 bytes of header, one block of fixed codes for 3 literals and its end
    # (3 + 3 · 8 + 7 bits, so 5 bytes), 4 bytes of checksum: 11.
    tokenizer = SimpleNamespace(decode=lambda ids, **_: "a b")
    found = plain.zlib_scores(tokenizer, np.array([2 * LN2]), [ITEM])
    assert found[0] == pytest.approx(2 * LN2 / 11)
    assert ours("mia_zlib") == pytest.approx(2 * LN2 / 11)


def test_an_answer_of_one_token_has_nothing_left() -> None:
    # What that project then gives, 0 or nothing, is no measurement: here it is unscored.
    short = plain.Item(ids=[2, 1], labels=[plain.IGNORED, 1], prompt_ids=[2])
    assert plain.extraction_strength(Model(), [short], 0).tolist() == [0]
    assert plain.min_k(Model(), [short], 0).tolist() == [0]
    assert np.isnan(plain.exact_memorization(Model(), [short], 0)).all()
