"""The page on attacks: its table is complete, its commands and code run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.docs.test_examples import BLOCK, exit_code, newcomer
from unbelief.interventions import attacks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
__all__ = ["newcomer"]  # the fixture: a folder with a model and data


def test_every_attack_is_in_the_table_with_its_kind() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {n: a.kind for n, a in attacks().items()}


def test_commands_and_code_run(newcomer, monkeypatch, capsys) -> None:
    from unbelief.cli.main import main

    names: dict[str, object] = {}
    ran = 0
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, "attacks.md", "exec"), names)
            ran += 1
            continue
        for line in text.splitlines():
            monkeypatch.setattr("sys.argv", shlex.split(line[2:]))
            assert exit_code(main) == 0, capsys.readouterr().err
            ran += 1
    assert ran == 7
    assert "Ordinary fine-tuning" in capsys.readouterr().out
