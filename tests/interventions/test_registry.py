"""Attacks by name: found, built from text, added by packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar

import pytest

from tests.interventions.made import FORGET, context
from unbelief import plugins
from unbelief.errors import RequestError
from unbelief.interventions import Context, PromptIntervention, attacks, build_attack
from unbelief.interventions.prompts.noise import Noise
from unbelief.types import Record


@dataclass(frozen=True)
class Shout(PromptIntervention):
    """The question in capitals.

    Attributes:
        marks: Exclamation marks after it.
    """

    marks: int = 1

    name: ClassVar[str] = "shout"
    asks_for: ClassVar[str] = "prompts"
    cost: ClassVar[str] = "none"
    source: ClassVar[str] = "a test"

    def attacked(self, records: Sequence[Record], context: Context):
        from unbelief.interventions.turns import question_of, with_question

        return [(with_question(r, question_of(r).upper() + "!" * self.marks), "") for r in records]


@dataclass(frozen=True)
class OtherNoise(Shout):
    """An attack under a name that is taken."""

    name: ClassVar[str] = "noise"


@pytest.fixture
def installed(monkeypatch):
    """Install entry points; the list of attacks is made anew before and after."""

    def install(*values: str) -> None:
        points = [
            metadata.EntryPoint(f"p{i}", value, "unbelief.interventions")
            for i, value in enumerate(values)
        ]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)
        attacks.cache_clear()

    yield install
    attacks.cache_clear()


def test_the_attacks_of_this_package() -> None:
    assert {
        *("relearn", "probe", "quantise", "adapter-off"),
        *("jailbreak", "paraphrase", "multi-turn", "few-shot", "noise", "prefix"),
    } <= attacks().keys()
    assert list(attacks()) == sorted(attacks())


def test_options_are_read_from_text() -> None:
    assert build_attack("noise", {"rate": "0.5", "seed": "3"}) == Noise(rate=0.5, seed=3)
    assert build_attack("quantise", {"embeddings": "true"}).embeddings is True
    assert build_attack("relearn", {"scope": "full"}).scope == "full"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("noize", {}, "did you mean 'noise'"),
        ("noise", {"rat": "1"}, "did you mean 'rate'"),
        ("noise", {"rate": "much"}, "'much' is not a number"),
        ("noise", {"rate": "nan"}, "'nan' is not a number"),
        ("noise", {"seed": "1.5"}, "'1.5' is not a whole number"),
        ("noise", {"rate": "2"}, "rate must lie between 0 and 1"),
        ("quantise", {"bits": "5"}, "bits must be 8, 4, 3 or 2"),
        ("quantise", {"bits": "8", "levels": "normal"}, "levels=normal has 4 bits"),
        ("quantise", {"levels": "nf4"}, "choose one of: auto"),
        ("quantise", {"embeddings": "maybe"}, "'maybe' is not true or false"),
    ],
)
def test_wrong_requests_are_refused(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        build_attack(name, options)
    assert message in str(caught.value) and caught.value.remedy


def test_installed_packages_add_attacks(installed) -> None:
    installed("tests.interventions.test_registry:Shout")
    found = build_attack("shout", {"marks": "2"}).apply(FORGET[:1], context())
    assert found.records[0].prompt == "WHO WROTE THE RED BOOK?!!"


def test_two_attacks_of_one_name_are_refused(installed) -> None:
    installed("tests.interventions.test_registry:OtherNoise")
    with pytest.raises(RequestError, match="are both called 'noise'"):
        attacks()


@pytest.mark.parametrize("value", ["json:dumps", "unbelief.interventions.base:PromptIntervention"])
def test_entry_points_must_be_attacks(installed, value: str) -> None:
    installed(value)
    with pytest.raises(RequestError, match="is no ModelIntervention or PromptIntervention"):
        attacks()
