"""The page on the automatic choice: its command and code run, its table is the portfolio."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.auto.made import save_knowing, write_records
from tests.docs.test_examples import BLOCK, exit_code
from unbelief.auto.options import AutoOptions
from unbelief.auto.portfolio import PORTFOLIO

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "auto.md").read_text(encoding="utf-8")


def test_the_table_is_the_portfolio() -> None:
    rows = re.findall(r"^\| `([\w+-]+)` \| .* \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert [(n, float(w)) for n, w in rows] == [(e.name, e.forget_weight) for e in PORTFOLIO]
    given = re.findall(r"--set (\w+)(?:=|`)", PAGE)
    assert set(given) <= set(AutoOptions.model_fields)


def test_command_and_code_run(tmp_path, monkeypatch, capsys) -> None:
    from unbelief.cli.main import main

    save_knowing(tmp_path / "model")
    write_records(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, text in BLOCK.findall(PAGE):
        if kind == "python":
            exec(compile(text, "auto.md", "exec"), names)
            continue
        monkeypatch.setattr("sys.argv", shlex.split(text.strip()[2:]))
        assert exit_code(main) in (0, 3), capsys.readouterr().err
    details = json.loads((tmp_path / "unlearned" / "unbelief.json").read_text())
    assert details["auto"]["schema"] == "unbelief/auto" and len(details["auto"]["trials"]) <= 3
    assert "level to stop at" in capsys.readouterr().out
    assert names["result"].explanation  # type: ignore[attr-defined]
