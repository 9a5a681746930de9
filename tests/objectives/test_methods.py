"""Objectives from names and text: what is understood, and how the rest is refused."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from torch import Tensor

from unbelief import plugins
from unbelief.errors import RequestError
from unbelief.models.stats import AnswerStats
from unbelief.objectives import (
    BSS,
    BST,
    GA,
    KL,
    NLL,
    NPO,
    RMU,
    ForgetTerm,
    HiddenMatch,
    Objective,
    build_objective,
    methods,
    terms,
)
from unbelief.objectives.base import Level, Preset


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("ga", {}, Objective(GA())),
        ("graddiff", {}, Objective(GA(), NLL())),
        ("graddiff-control", {}, Objective(GA(), NLL(), forget_weight=0.8)),
        ("npo", {"beta": "0.2"}, Objective(NPO(beta=0.2), NLL())),
        ("bs-t", {"weight": 0.3, "top_k": "5"}, Objective(BST(weight=0.3, top_k=5), NLL())),
        ("bs-t", {"detach": "false"}, Objective(BST(detach=False), NLL())),
        ("bs-t", {"top_k": "1e2"}, Objective(BST(top_k=100), NLL())),
        ("bs-s", {"inner": "npo"}, Objective(BSS(inner=NPO()), NLL())),
        ("bs-s", {"inner": "npo", "inner.beta": "1"}, Objective(BSS(inner=NPO(beta=1.0)), NLL())),
        ("bs-s", {"inner.weight": "0.4"}, Objective(BSS(inner=BST(weight=0.4)), NLL())),
        ("bs-s-on-policy", {}, Objective(BSS(policy="on-policy"), NLL())),
        ("bs-s-on-policy", {"samples": 5}, Objective(BSS(policy="on-policy", samples=5), NLL())),
        ("ga", {"retain": "nll"}, Objective(GA(), NLL())),
        ("graddiff", {"retain": "none"}, Objective(GA())),
        ("graddiff", {"retain": "kl", "retain.direction": "reverse"},
         Objective(GA(), KL(direction="reverse"))),
        ("simnpo", {"forget_weight": "1"}, None),
        ("rmu", {"layer": 1}, Objective(RMU(layer=1), HiddenMatch(layer=1))),
        ("rmu", {"layer": 1, "retain.layer": 0}, Objective(RMU(layer=1), HiddenMatch(layer=0))),
        ("ga", {"reduction": "token_mean", "temperature": "2", "keep_fraction": 0.8,
                "keep": "lowest_prob"},
         Objective(GA(), reduction="token_mean", temperature=2.0, keep_fraction=0.8,
                   keep="lowest_prob")),
    ],
)  # fmt: skip
def test_options_reach_what_they_name(
    method: str, options: dict[str, Any], expected: Objective | None
) -> None:
    built = build_objective(method, options)
    if expected is None:
        assert built.forget_weight == 1.0 != methods()["simnpo"].preset.forget_weight
    else:
        assert built == expected


def test_without_retain_data_there_is_no_retain_term() -> None:
    assert build_objective("bs-t", has_retain=False) == Objective(BST())
    assert build_objective("bs-t", {"retain": "none"}, has_retain=False) == Objective(BST())


@pytest.mark.parametrize(
    ("method", "options", "message", "remedy"),
    [
        ("bst", {}, "unknown method 'bst'", "did you mean 'bs-t'? known: "),
        ("bs-t", {"lamda": 1}, "unknown option of bs-t: lamda", "known: average_decay, "),
        ("bs-t", {"topk": 1}, "unknown option of bs-t: topk", "did you mean top_k? "),
        ("bs-t", {"weight": "much"}, "weight='much' is not a number", "give weight as a number"),
        ("bs-t", {"weight": "nan"}, "weight='nan' is not a number", "give weight as a number"),
        ("npo", {"beta": "inf"}, "beta='inf' is not a number", "give beta as a number"),
        ("bs-t", {"weight": 1.5}, "weight must lie in [0, 1], not 1.5", None),
        ("bs-t", {"top_k": 2.5}, "top_k=2.5 is not a whole number", "give top_k as a whole"),
        ("bs-t", {"top_k": "inf"}, "top_k='inf' is not a whole number", "give top_k as a whole"),
        ("bs-t", {"detach": "maybe"}, "detach='maybe' is not true or false", "as true or false"),
        ("bs-t", {"beliefs_from": "me"}, "beliefs_from='me' is not one", "reference, average"),
        ("ga", {"inner": "npo"}, "unknown option of ga: inner", "known: "),
        ("ga", {"inner.beta": 1}, "unknown option of ga: inner.beta", "known: none"),
        ("bs-s", {"inner": "bs-s"}, "bs-s around bs-s has no meaning", None),
        ("bs-s", {"inner": "nll"}, "unknown inner term 'nll'", "known: bs-s, bs-t, bs-tw, "),
        ("bs-s", {"inner": "npo", "inner.bta": 1}, "unknown option of npo: inner.bta",
         "did you mean inner.beta? known: inner.beta"),
        ("bs-s", {"inner": "npo", "inner.beta": -1}, "beta must be positive, not -1.0", None),
        ("ga", {"retain": "kll"}, "unknown retain term 'kll'", "did you mean 'kl'? known: "),
        ("ga", {"retain": "ga"}, "unknown retain term 'ga'", "known: hidden-match, kl, nll"),
        ("bs-t", {"retain": "kl", "retain.dir": 1}, "unknown option of kl: retain.dir",
         "known: retain.direction"),
        ("bs-t", {"retain": "kl", "retain.direction": "up"}, "direction='up' is not one",
         "forward, reverse"),
        ("ga", {"retain.direction": "reverse"}, "unknown option (there is no retain term): ",
         "known: none"),
        ("ga", {"reduction": "mean"}, "reduction='mean' is not one", "sequence_mean, token_mean"),
        ("ga", {"temperature": "-1"}, "temperature must be positive, not -1.0", None),
        ("ga", {"keep_fraction": "0"}, "keep_fraction must lie in (0, 1], not 0.0", None),
        ("ga", {"forget_weight": "-2"}, "forget_weight must not be negative, not -2.0", None),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_met_are_explained(
    method: str, options: dict[str, Any], message: str, remedy: str | None
) -> None:
    with pytest.raises(RequestError) as caught:
        build_objective(method, options)
    assert message in caught.value.message
    assert caught.value.where
    assert remedy is None or remedy in (caught.value.remedy or "")


def test_a_retain_term_without_retain_data_is_refused() -> None:
    with pytest.raises(RequestError, match="retain=kl needs retain data") as caught:
        build_objective("bs-t", {"retain": "kl"}, has_retain=False)
    assert caught.value.remedy == "give --retain FILE"


# Discovery


@dataclass(frozen=True)
class Other(ForgetTerm):
    """A term of somebody else's package."""

    name: ClassVar[str] = "other"
    level: ClassVar[Level] = "token"
    source: ClassVar[str] = "here"

    def values(self, stats: AnswerStats) -> Tensor:
        return stats.logp


@dataclass(frozen=True)
class Impostor(Other):
    name: ClassVar[str] = "ga"


@dataclass(frozen=True)
class Squatter(Other):
    name: ClassVar[str] = "squatter"
    presets: ClassVar[dict[str, Preset]] = {"npo": Preset("not NPO at all")}


@dataclass(frozen=True)
class Levelless(Other):
    name: ClassVar[str] = "levelless"
    level: ClassVar[Any] = "word"


@dataclass(frozen=True)
class Misspelt(Other):
    name: ClassVar[str] = "misspelt"
    presets: ClassVar[dict[str, Preset]] = {"misspelt": Preset("", options=(("nope", 1),))}


@dataclass(frozen=True)
class Sourceless(Other):
    name: ClassVar[str] = "sourceless"
    source: ClassVar[str] = ""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that a package with an entry point is installed."""

    def install(*loaded: object) -> None:
        rest = {"value": "their.module:Term", "group": "unbelief.objectives", "dist": None}
        points = [
            SimpleNamespace(name=f"p{i}", load=lambda x=x: x, **rest) for i, x in enumerate(loaded)
        ]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)
        terms.cache_clear()
        methods.cache_clear()

    yield install
    monkeypatch.undo()
    terms.cache_clear()
    methods.cache_clear()


def test_installed_packages_add_terms(installed: Any) -> None:
    installed(Other)
    assert terms()["other"] is Other
    assert build_objective("other") == Objective(Other(), NLL())
    assert methods()["other"].preset.summary == "A term of somebody else's package."
    assert build_objective("bs-s", {"inner": "other"}).forget == BSS(inner=Other())


@pytest.mark.parametrize(
    ("loaded", "message"),
    [
        (Impostor, "Impostor and unbelief.objectives.forget.ga.GA are both called 'ga'"),
        (Squatter, "both offer a method called 'npo'"),
        (dict, "is no subclass of ForgetTerm or RetainTerm"),
        (Other(), "is no subclass of ForgetTerm or RetainTerm"),
        (Levelless, "has no level, one of token, sequence"),
        (Misspelt, "has a preset 'misspelt' with an unknown option 'nope'"),
        (Sourceless, "has no source, a text"),
    ],
)
def test_installed_packages_replace_nothing(installed: Any, loaded: Any, message: str) -> None:
    installed(loaded)
    with pytest.raises(RequestError, match=message) as caught:
        methods()
    assert caught.value.remedy


def test_every_method_names_a_term_and_a_retain_term_that_exist() -> None:
    assert list(methods()) == sorted(methods())
    for name, method in methods().items():
        assert method.name == name
        assert method.preset.retain in (None, *terms())
