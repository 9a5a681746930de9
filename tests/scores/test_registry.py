from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from typing import ClassVar

import pytest

from unbelief import plugins
from unbelief.errors import RequestError
from unbelief.measure.tables import Example, Need
from unbelief.scores import registry
from unbelief.scores.base import Metric
from unbelief.scores.metrics.probability import Probability


@dataclass(frozen=True)
class Length(Metric):
    """Number of characters of the answer."""

    name: ClassVar[str] = "length"
    summary: ClassVar[str] = "characters"
    unit: ClassVar[str] = "count"
    source: ClassVar[str] = "a test"

    @property
    def needs(self) -> tuple[Need, ...]:
        return ()

    def value(self, example: Example) -> float:
        return len(example.record.answer)


class Unfinished(Metric):
    """Has neither a name nor a value."""


def with_entry_point(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def found(*, group: str) -> EntryPoints:
        points = [EntryPoint("third", value, group)] if group == "unbelief.metrics" else []
        return EntryPoints(points)

    monkeypatch.setattr(plugins, "entry_points", found)
    registry.metrics.cache_clear()


@pytest.fixture(autouse=True)
def forget_what_was_found():
    yield
    registry.metrics.cache_clear()


def test_modules_are_found_and_shared_bases_are_not():
    found = registry.metrics()
    assert found["probability"] is Probability
    assert list(found) == sorted(found)
    assert all(kind.name == name for name, kind in found.items())
    assert not any(kind.__name__.startswith("_") for kind in found.values())
    assert {"forget_quality", "model_utility", "agg"} <= registry.aggregates().keys()


def test_other_packages_add_metrics(monkeypatch):
    with_entry_point(monkeypatch, f"{__name__}:Length")
    assert registry.metrics()["length"] is Length
    assert "length" not in registry.aggregates()


@pytest.mark.parametrize("value", ["math:pi", f"{__name__}:Unfinished"])
def test_an_entry_point_must_be_a_metric(monkeypatch, value):
    with_entry_point(monkeypatch, value)
    with pytest.raises(RequestError, match="is not a Metric with a name"):
        registry.metrics()


class Unsaid(Length):
    name: ClassVar[str] = "unsaid"
    summary: ClassVar[str] = " "


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"{__name__}:Unsaid", "has no summary, a text"),
        (f"{__name__}:Absent", "cannot be loaded: AttributeError"),
        ("no_such_package.here:Metric", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_defective_package_is_named(monkeypatch, value, message):
    with_entry_point(monkeypatch, value)
    with pytest.raises(RequestError, match=message) as error:
        registry.metrics()
    assert error.value.where == "unbelief.metrics: third" and value in error.value.message


def test_two_metrics_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(Length, "name", "probability")
    with_entry_point(monkeypatch, f"{__name__}:Length")
    with pytest.raises(RequestError, match="both called 'probability'"):
        registry.metrics()
