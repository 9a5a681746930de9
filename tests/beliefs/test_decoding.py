from __future__ import annotations

import pytest

from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError


def test_the_default_cuts_nothing_off() -> None:
    d = Decoding()
    assert (d.temperature, d.top_k, d.top_p, d.num_beams) == (1.0, 0, 1.0, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_new_tokens": 0},
        {"num_beams": 0},
        {"num_beams": 4, "temperature": 0.7},
        {"num_beams": 4, "top_k": 5},
        {"num_beams": 4, "top_p": 0.9},
    ],
)
def test_values_out_of_range_or_without_effect_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        Decoding(**options)  # type: ignore[arg-type]


def test_temperature_zero_is_greedy_and_gives_one_answer() -> None:
    d = Decoding(temperature=0)
    assert d.is_greedy and not Decoding().is_greedy
    d.check_samples(1)
    with pytest.raises(RequestError, match="greedy"):
        d.check_samples(2)


def test_more_answers_than_beams_are_refused() -> None:
    Decoding(num_beams=3).check_samples(3)
    with pytest.raises(RequestError, match="num_beams=4"):
        Decoding(num_beams=3).check_samples(4)
    with pytest.raises(RequestError):
        Decoding().check_samples(0)


def test_row_keys_differ_by_seed_prompt_and_sample() -> None:
    keys = {
        Decoding(seed=seed).row_key(prompt, sample)
        for seed in (0, 1)
        for prompt in ("1", "2", "12")
        for sample in (0, 1, 2)
    }
    assert len(keys) == 18
    assert all(-(1 << 63) <= key < 1 << 63 for key in keys)


def test_a_decoding_survives_its_dictionary() -> None:
    d = Decoding(temperature=0.7, top_k=3, top_p=0.9, max_new_tokens=5, seed=9)
    assert Decoding.from_dict(d.to_dict()) == d
