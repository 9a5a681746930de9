"""A squeeze diagnosis on the page of an audit, and as a report of its own."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli.common import call
from tests.diagnose.test_page import document
from tests.report.evaluated import save
from tests.report.made import audit
from unbelief.errors import RequestError
from unbelief.report import build_audit_report
from unbelief.report.squeeze_curves import squeeze_curves, with_squeezes
from unbelief.report.squeeze_exports import squeeze_csv, squeeze_latex, squeeze_markdown


def test_curves_hold_the_numbers_of_the_diagnosis():
    made = document()
    levels, masses = squeeze_curves(made)
    assert [p.x for p in levels.points] == [p["step"] for p in made["points"]]
    assert levels.x_title == "optimiser steps of the run"
    for t, point in enumerate(levels.points):
        assert point.series["target"].value == made["curves"]["target"][t]["value"]
        high = point.series["high band, likeliest 20 %"]
        assert (high.value, high.low, high.n) == tuple(
            made["curves"]["high"][t][k] for k in ("value", "low", "n")
        )
    assert masses.points[-1].series["high band"].unit == "probability"
    assert "Squeeze index" in levels.note


def test_models_are_named_on_the_axis_and_in_the_table():
    made = document("models")
    labels = ["original", "GradDiff", "NPO"]
    for point, label in zip(made["points"], labels, strict=True):
        point["label"] = label
    levels, _ = squeeze_curves(made)
    assert [p.label for p in levels.points] == labels
    assert [p.x for p in levels.points] == list(range(len(labels)))
    page = build_audit_report(with_squeezes(audit(2), [made]))
    assert f">{labels[1]}</text>" in page and "Squeeze: the target" in page


def test_another_original_model_is_named():
    made = document()
    sha = made["candidates"]["model_sha256"]
    assert "another original" not in squeeze_curves(made, original_sha256=sha)[0].note
    assert "another original" in squeeze_curves(made, original_sha256="e" * 64)[0].note


def test_what_is_no_diagnosis_is_refused():
    for wrong in ({}, {"schema": "unbelief.squeeze", "version": 99}):
        with pytest.raises(RequestError, match="not a squeeze diagnosis"):
            squeeze_curves(wrong)


def test_exports_hold_every_number():
    made = document()
    rows = list(csv.DictReader(io.StringIO(squeeze_csv(made))))
    steps = len(made["points"])
    curves = [r for r in rows if r["what"] == "curve"]
    assert len(curves) == steps * len(made["curves"])
    target = [float(r["value"]) for r in curves if r["name"] == "target"]
    assert target == [e["value"] for e in made["curves"]["target"]]
    assert [r["name"] for r in rows if r["what"] == "index"] == [
        "index",
        "own_index",
        "probability_index",
    ]
    assert squeeze_markdown(made).count("\n| ") >= 3 + steps
    assert squeeze_latex(made).count(r"\begin{longtable}") == 2


@pytest.mark.parametrize("ending", ["html", "md", "tex", "csv"])
def test_a_diagnosis_in_every_format(tmp_path, ending):
    folder = save(tmp_path / "squeeze" / "squeeze.json", document()).parent
    output = tmp_path / f"out.{ending}"
    assert call("report", folder, "--output", output).code == 0
    assert output.stat().st_size > 200


@pytest.mark.parametrize("ending", ["html", "md", "csv"])
def test_an_audit_shows_the_diagnosis_named_beside_it(tmp_path, ending):
    run = save(tmp_path / "run" / "audit.json", json.loads(audit(2).model_dump_json())).parent
    squeeze = save(tmp_path / "squeeze" / "squeeze.json", document()).parent
    output = tmp_path / f"out.{ending}"
    for order in ((run, squeeze), (squeeze, run)):
        assert call("report", *order, "--output", output, "--overwrite").code == 0
        text = output.read_text(encoding="utf-8")
        assert "high band, likeliest 20 %" in text and "relearning" in text.lower()


def test_mixtures_that_make_no_report_are_refused(tmp_path):
    files = [save(tmp_path / f"{i}.json", document()) for i in (1, 2)]
    audits = [save(tmp_path / f"a{i}.json", json.loads(audit(1).model_dump_json())) for i in (1, 2)]
    both = call("report", *files, "--output", tmp_path / "x.html")
    assert both.code == 2 and "name one run" in both.err
    mixed = call("report", *audits, files[0], "--output", tmp_path / "x.html")
    assert mixed.code == 2 and "different kinds" in mixed.err
    assert not (tmp_path / "x.html").exists()
