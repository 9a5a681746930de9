"""The page on evaluation: its commands and code run, and it names what there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.data.test_tofu import small_tofu
from tests.docs.test_examples import BLOCK, exit_code, newcomer
from tests.helpers import save_tiny
from unbelief.scores.conventions import CONVENTIONS
from unbelief.suites.registry import suites

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
__all__ = ["newcomer"]  # the fixture: a folder with a model and data


def test_suites_and_conventions_are_all_in_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert {*suites(), *CONVENTIONS} - {"unbelief"} <= set(named)


def test_commands_and_code_run(newcomer: Path, monkeypatch, capsys) -> None:
    from unbelief.cli.main import main

    save_tiny(newcomer / "retrained", seed=1)
    rows = [{"question": f"where is {i}", "answer": f"in town {i}"} for i in range(20, 26)]
    (newcomer / "holdout.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    (newcomer / "tofu").mkdir()
    small_tofu(newcomer / "tofu")
    names: dict[str, object] = {}
    ran = 0
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, "evaluation.md", "exec"), names)
            ran += 1
            continue
        for line in text.splitlines():
            monkeypatch.setattr("sys.argv", shlex.split(line[2:]))
            assert exit_code(main) == 0, capsys.readouterr().err
            ran += 1
    assert ran == 11
    shown = capsys.readouterr().out
    assert "note: scored under the definitions of uwc" in shown
    compared = json.loads((newcomer / "compared.json").read_text())["lines"]
    again = json.loads((newcomer / "again.json").read_text())["lines"]
    assert compared == again
