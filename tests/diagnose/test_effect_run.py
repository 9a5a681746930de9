"""`unbelief diagnose g-effect`: over saved models, what is written, how wrong requests end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.common import Called, call
from tests.diagnose.test_cli import place
from tests.helpers import save_tiny
from unbelief.diagnose.effect_run import chosen_positions
from unbelief.errors import RequestError
from unbelief.report.g_effect import build_effect_report, effect_table
from unbelief.types import Record

__all__ = ["place"]  # the fixture: a folder with a model and data


def g_effect(*extra: object) -> Called:
    return call(
        "diagnose", "g-effect", "--forget", "forget.jsonl", "--retain", "retain.jsonl",
        "--device", "cpu", "--output", "out", *extra,
    )  # fmt: skip


@pytest.fixture
def document(place: Path) -> dict[str, Any]:
    save_tiny(place / "later", seed=1)
    said = g_effect("--original", "model", "--models", "end=later", "--method", "npo", "--json")
    assert said.code == 0, said.err
    short = json.loads(said.out)
    assert [p["label"] for p in short["points"]] == ["original", "end"]
    whole: dict[str, Any] = json.loads((place / "out" / "g_effect.json").read_text())
    assert short["points"][1]["effects"] == whole["points"][1]["effects"]
    return whole


def test_what_is_written(document: dict[str, Any], place: Path) -> None:
    first, last = document["points"]
    assert first["weights_sha256"] != last["weights_sha256"]
    assert (document["n_forget"], document["n_retain"]) == (6, 10)
    assert "positive" in document["sign"] and document["interval"].startswith("none")
    for point in document["points"]:
        norms = point["gradient_norms"]
        for term in ("forget_term", "retain_term", "step"):
            for risk in ("forget_risk", "retain_risk"):
                whole, slack = (
                    point["effects"][term][f"on_{risk}"],
                    1e-5 * norms[term] * norms[risk],
                )
                for sums in (point["parts"], point["stages"].values()):
                    assert abs(sum(p[term][f"on_{risk}"] for p in sums) - whole) <= slack
    # At the original, NPO is ascent; its reference is the original also at the other model.
    assert first["effects"]["forget_term"]["cosine_with_forget_risk"] == pytest.approx(-1, abs=0.1)
    means = last["pointwise"]["means"]["on_retain_risk"]
    assert means["n"] == 6 and means["low"] < means["value"] < means["high"]
    page = (place / "out" / "g_effect.html").read_text()
    assert page.count("<svg") == 3 and "://" not in page
    assert "Where does" not in page + json.dumps(document)  # no text of the records


def test_a_table_is_printed(place: Path) -> None:
    said = g_effect("--model", "model", "--points", 0, "--max-forget", 3, "--max-retain", 4)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("A step of ga raises the forget risk (−")
    assert "n = 3 to forget, 4 to keep" in said.out
    rows = [line for line in lines if line.startswith("model ")]
    assert [row.split("term")[0].split()[1] for row in rows[:2]] == ["forget", "retain"]
    assert lines[-1] == str(place / "out")
    assert call("diagnose", "g-effect", "--help").code == 0


def test_the_moving_average_is_named(place: Path) -> None:
    said = g_effect("--model", "model", "--estimator", "moving-average", "--method", "ga")
    assert said.code == 0, said.err
    document = json.loads((place / "out" / "g_effect.json").read_text())
    assert document["estimator"] == "moving-average"
    assert "order" in document["interval"]
    assert len(document["points"][0]["course"]) == 2  # six records in lots of four
    assert list(document["points"][0]["effects"]) == ["forget_term", "step"]
    assert len(effect_table(document).rows) == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "no model to compare"),
        (("--model", "nowhere"), "nowhere"),
        (("--model", "model", "--method", "gb"), "unknown method"),
        (("--model", "model", "--method", "bs-s-on-policy"), "sampled again"),
        (("--model", "model", "--estimator", "guess"), "not one of the choices"),
        (("--model", "model", "--points", -1), "0 or more"),
        (("--model", "model", "--retain", "none.jsonl"), "none.jsonl"),
    ],
)
def test_wrong_requests(place: Path, extra: tuple[object, ...], message: str) -> None:
    said = g_effect(*extra)
    assert (said.code, message in said.err) == (2, True), said.err
    assert not (place / "out").exists()


def test_a_run_is_tracked(place: Path) -> None:
    said = call(
        "unlearn", "--model", "model", "--forget", "forget.jsonl", "--retain", "retain.jsonl",
        "--method", "gru", "--output", "run", "--device", "cpu", "--max-steps", 1,
        "--track", "g-effect,every=1",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "g-effect: A step of ga" in said.out
    document = json.loads((place / "run.run" / "g-effect" / "g_effect.json").read_text())
    for point in document["points"]:
        assert point["effects"]["step"]["on_retain_risk"] > -1e-4
    assert document["objective"]["gradients"]["name"] == "rectified"


def test_a_choice_of_records_does_not_depend_on_their_order() -> None:
    records = [Record(id=f"f{i}", prompt="p", answer="a") for i in range(9)]
    chosen = {records[i].id for i in chosen_positions(records, 4, 0)}
    turned = records[::-1]
    assert {turned[i].id for i in chosen_positions(turned, 4, 0)} == chosen
    assert chosen_positions(records, 20, 0) == list(range(9))
    assert chosen_positions(records, 0, 0) == []
    assert len({tuple(chosen_positions(records, 4, seed)) for seed in range(5)}) > 1


def test_a_page_of_something_else_is_refused() -> None:
    with pytest.raises(RequestError, match="not a gradient-effect diagnosis"):
        build_effect_report({"schema": "unbelief.squeeze", "version": 1})
