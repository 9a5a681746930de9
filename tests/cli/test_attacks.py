"""`unbelief attacks`: a table, one attack in full, JSON, and a suggestion for a misspelt name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from unbelief.cli.main import main
from unbelief.interventions import attacks


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["unbelief", "attacks", *arguments])
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table_has_a_line_for_each(monkeypatch, capsys) -> None:
    code, out, _ = run(monkeypatch, capsys)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(n, a.kind) for n, a in attacks().items()]


def test_one_in_full(monkeypatch, capsys) -> None:
    code, out, _ = run(monkeypatch, capsys, "noise")
    assert code == 0
    assert "max(1, round(rate · n))" in out and "Source: Wang" in out
    assert "  rate=0.05\n  seed=0" in out
    assert "template=own-turn  (of own-turn, system" in run(monkeypatch, capsys, "jailbreak")[1]
    assert "Options: none" in run(monkeypatch, capsys, "adapter-off")[1]


def test_json(monkeypatch, capsys) -> None:
    rows = json.loads(run(monkeypatch, capsys, "--json")[1])
    assert [row["name"] for row in rows] == list(attacks())
    (row,) = json.loads(run(monkeypatch, capsys, "quantise", "--json")[1])
    assert row["options"] == {"bits": 4, "levels": "auto", "block": 64, "embeddings": False}
    assert row["choices"] == {"levels": ["auto", "normal", "integer"]}
    assert row["kind"] == "model" and row["cost"] and row["source"] and row["documentation"]


def test_a_misspelt_name(monkeypatch, capsys) -> None:
    code, out, err = run(monkeypatch, capsys, "relarn")
    assert code == 2 and out == "" and "did you mean 'relearn'" in err


@pytest.mark.parametrize("arguments", [[], ["probe"]])
def test_no_heavy_package_is_loaded(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["unbelief", "attacks", *{arguments!r}]
from unbelief.cli.main import main
main()
loaded = {{"torch", "transformers", "peft", "scipy", "pyarrow"}} & sys.modules.keys()
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
