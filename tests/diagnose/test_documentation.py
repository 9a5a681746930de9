"""The page on diagnosis: its commands and code run, and its tables are what the code does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_examples import BLOCK, exit_code, newcomer
from unbelief.diagnose.bands import band_sizes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diagnose.md"
__all__ = ["newcomer"]  # the fixture: a folder with a model and data


def test_commands_and_code_run(
    newcomer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unbelief.cli.main import main

    names: dict[str, Any] = {}
    ran = 0
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, "diagnose.md", "exec"), names)
            ran += 1
            continue
        for line in text.splitlines():
            if not line.startswith("$ unbelief "):
                continue
            monkeypatch.setattr("sys.argv", shlex.split(line[2:]))
            assert exit_code(main) == 0, capsys.readouterr().err
            ran += 1
    assert ran == 7
    assert "squeeze: The likeliest" in capsys.readouterr().out  # of the tracked run
    assert (newcomer / "squeeze" / "squeeze.html").exists()
    assert (newcomer / "tracked.run" / "squeeze" / "squeeze.html").exists()
    for made in ("g-effect", "projected.run/g-effect"):
        effects = json.loads((newcomer / made / "g_effect.json").read_text())
        assert effects["points"][-1]["effects"]["forget_term"]["on_forget_risk"] < 0
    assert [p["step"] for p in effects["points"]] == [0, 2, 4]
    assert names["tracker"].series().steps == (0, 2, 4)
    assert json.loads((newcomer / "akg.json").read_text())["error_order"] == pytest.approx(
        2, abs=0.1
    )


def test_table_of_bands_is_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for i, band in enumerate(("high", "mid", "low")):
        row = next(line for line in text.splitlines() if line.startswith(f"| {band} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert [int(c) for c in cells[2:]] == [band_sizes(n)[i] for n in (20, 9, 5)]
