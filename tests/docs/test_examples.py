"""The documentation's commands and Python blocks run, in order, on a tiny model made here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import save_tiny

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = ["docs/unlearn.md", "docs/transplant.md"]


def exit_code(command: Callable[[], None]) -> int:
    """What a shell would see."""
    try:
        command()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """A folder with a model and data under the names the pages use."""
    save_tiny(tmp_path / "model")
    for name, start in (("forget", 0), ("retain", 10)):
        rows = [
            {"question": f"where is {i}", "answer": f"in town {i}"} for i in range(start, start + 8)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_code_of_a_page_run(page, newcomer, monkeypatch, capsys):
    from unbelief.cli.main import main

    names: dict[str, object] = {}
    ran = 0
    for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, page, "exec"), names)
            ran += 1
            continue
        for line in text.splitlines():
            if not line.startswith("$ unbelief "):
                continue
            monkeypatch.setattr("sys.argv", shlex.split(line[2:]))
            assert exit_code(main) == 0, capsys.readouterr().err
            ran += 1
    assert ran >= 3
    assert (newcomer / "unlearned" / "model.safetensors").exists()
    if page == "docs/unlearn.md":
        assert names["result"].steps == 4
