"""`unbelief vision`: the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from unbelief.cli.main import main

SMALL = [
    "--relation", "all-matched", "--methods", "ft", "--set", "ft.epochs=1", "--epochs", "1",
    "--seeds", "1", "--workers", "1", "--quiet",
]  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["unbelief", "vision", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_run_and_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    assert run(monkeypatch, "run", "--output", str(folder), *SMALL, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in printed["rows"]] == ["original", "reference", "ft"]
    assert run(monkeypatch, "table", str(folder)) == 0
    assert "Retrained (reference)" in capsys.readouterr().out
    file = tmp_path / "table.csv"
    assert run(monkeypatch, "table", str(folder), "--format", "csv", "--output", str(file)) == 0
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in rows} == {"original", "reference", "ft"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "epochs=1"], "names no method"),
        (["--set", "ft.epoch=1"], "did you mean 'ft.epochs'"),
        (["--seeds", "0"], "--seeds is too small"),
        (["--data", "cifar10"], "cifar10 is read from a folder"),
        (["--relation", "mismatch"], "unknown relation"),
    ],
)
def test_wrong_requests_end_with_two_and_write_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "run", "--output", str(tmp_path / "out"), *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_table_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "table", str(tmp_path)) == 2
    assert "no result of a vision study" in capsys.readouterr().err
