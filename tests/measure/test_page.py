"""The example of docs/measurements.md runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers import save_tiny

PAGE = Path(__file__).resolve().parents[2] / "docs" / "measurements.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny(tmp_path / "model")
    for name in ("forget", "retain"):
        row = {"question": f"Where is {name}?", "answer": "In Rome."}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(block, str(PAGE), "exec"), {})
    assert "the record has no paraphrases" in capsys.readouterr().out
    assert (tmp_path / "said" / "meta.json").exists()
