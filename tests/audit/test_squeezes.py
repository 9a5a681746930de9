"""Squeeze curves on the page of an audit: the run's own, or those that are named."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.audit.made import save_data, save_model
from tests.diagnose.test_page import document
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit
from unbelief.audit.squeezes import squeeze_of
from unbelief.errors import RequestError
from unbelief.hashing import weights_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squeezed")
    save_model(folder / "original", "original")
    save_model(folder / "unlearned", "rephrasing")
    save_data(folder)
    return folder


def request(world, **changes) -> AuditRequest:
    given = {
        "model": str(world / "unlearned"),
        "original": str(world / "original"),
        "forget": str(world / "forget.jsonl"),
        "attacks": (),
        "samples": 1,
        "device": "cpu",
    }
    return AuditRequest(**{**given, **changes})


def squeeze(folder, original: str):
    made = document()
    made["candidates"]["model_sha256"] = original
    folder.mkdir(parents=True)
    (folder / "squeeze.json").write_text(json.dumps(made))
    return folder


def test_curves_of_the_run_that_made_the_model_are_shown(world, tmp_path):
    shutil.copytree(world / "unlearned", tmp_path / "m")
    squeeze(tmp_path / "m.run" / "squeeze", weights_sha256(world / "original"))
    found = audit(request(world, model=str(tmp_path / "m")), tmp_path / "a")
    assert [c.name for c in found.curves] == ["squeeze_log_probability", "squeeze_probability"]
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "high band, likeliest 20 %" in page and "<svg" in page


def test_curves_of_another_original_are_left_out_or_refused(world, tmp_path):
    shutil.copytree(world / "unlearned", tmp_path / "m")
    own = squeeze(tmp_path / "m.run" / "squeeze", "e" * 64)
    assert squeeze_of(request(world, model=str(tmp_path / "m"))) == ()
    with pytest.raises(RequestError, match="another original model"):
        audit(request(world, squeeze=(str(own),)), tmp_path / "a")
    assert not (tmp_path / "a").exists() and not (tmp_path / "a.run").exists()


def test_named_diagnoses_are_shown_and_wrong_files_are_refused(world, tmp_path):
    folder = squeeze(tmp_path / "named", weights_sha256(world / "original"))
    named = (str(folder), str(folder / "squeeze.json"))
    assert len(squeeze_of(request(world, squeeze=named))) == 2
    (tmp_path / "other.json").write_text('{"schema_name": "unbelief.audit", "version": 99}')
    for wrong in ("missing.json", str(tmp_path / "other.json")):
        with pytest.raises(RequestError):
            squeeze_of(request(world, squeeze=(wrong,)))
