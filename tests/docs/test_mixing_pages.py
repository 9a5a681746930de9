"""The pages on calibration and patching: their commands and code run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.docs.test_examples import BLOCK, exit_code
from tests.patch.made import save_planted

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_page(name: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> tuple[int, dict]:
    from unbelief.cli.main import main

    names: dict[str, object] = {}
    ran = 0
    for kind, text in BLOCK.findall((DOCS / name).read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, name, "exec"), names)
            ran += 1
            continue
        for line in text.splitlines():
            if line.startswith("$ unbelief "):
                monkeypatch.setattr("sys.argv", shlex.split(line[2:]))
                assert exit_code(main) == 0, capsys.readouterr().err
                ran += 1
    return ran, names


@pytest.fixture
def pair(tmp_path, monkeypatch) -> Path:
    """A folder with the models and data under the names the pages use."""
    save_planted(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_calibration(pair, capsys, monkeypatch) -> None:
    ran, names = run_page("calibrate.md", capsys, monkeypatch)
    assert ran == 4
    document = json.loads((pair / "calibrated" / "calibration.json").read_text())
    assert document["keep"] == 0.95 and 0 < document["alpha"] < 1
    # Less is asked for in the second example, so at least as much is mixed in.
    assert names["made"].search.alpha >= document["alpha"]
    assert (pair / "calibrated-90" / "model.safetensors").exists()


def test_patching(pair, capsys, monkeypatch) -> None:
    ran, names = run_page("patch.md", capsys, monkeypatch)
    assert ran == 2
    document = json.loads((pair / "patched" / "patch.json").read_text())
    assert document["choice"]["parts"] == ["layers.1"]
    assert [row["attack"] for row in document["attacks"]["under"]] == ["relearn", "paraphrase"]
    assert len(names["made"].document["candidates"]) == 6
