from __future__ import annotations

import pytest

from unbelief.auto.options import AutoOptions, auto_options, check_not_searched
from unbelief.errors import RequestError


def test_values_of_set_are_parsed_and_the_budget_has_its_own_flag() -> None:
    found = auto_options({"trials": "3", "keep": "0.9"}, budget=2.5)
    assert (found.trials, found.keep, found.budget) == (3, 0.9, 2.5)
    assert found.scores == ("extraction_strength", "probability")
    assert auto_options({"score": "probability"}).scores == ("probability",)


@pytest.mark.parametrize(
    ("given", "says", "remedy"),
    [
        ({"beta": "0.1"}, "beta is no option of --method auto", "name a --method"),
        ({"trails": "3"}, "trails is no option", "did you mean 'trials'?"),
        ({"keep": "1.5"}, "keep='1.5'", "share of the original's utility"),
        ({"budget": "0"}, "budget='0'", "minutes of wall time"),
        ({"score": "rouge"}, "score='rouge'", "what the leak is measured by"),
        ({"leak_level": "0.1"}, "the level of one score", "--set score=probability"),
    ],
)
def test_wrong_ones_are_refused_with_a_remedy(given, says: str, remedy: str) -> None:
    with pytest.raises(RequestError) as caught:
        auto_options(given)
    assert says in caught.value.message
    assert remedy in (caught.value.remedy or "")


def test_the_budget_is_given_once() -> None:
    with pytest.raises(RequestError, match="given twice"):
        auto_options({"budget": "3"}, budget=4)


def test_what_is_searched_cannot_be_given() -> None:
    check_not_searched({"seed", "per_device_train_batch_size"})
    with pytest.raises(RequestError, match="max_steps cannot be given"):
        check_not_searched({"seed", "max_steps"})


def test_every_option_is_described() -> None:
    assert all(one.description for one in AutoOptions.model_fields.values())
