"""The page on audits: its command runs, its gates are gates, its flags are all flags."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

from tests.audit.made import save_data, save_model
from unbelief.audit.attacks import STANDARD, parse_attacks
from unbelief.audit.gates import check_rules, parse_rule
from unbelief.audit.lines import JUDGED, UNDER_ATTACK, audit_measures
from unbelief.report.audit_document import Flag

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")


def test_the_command_runs(tmp_path, monkeypatch, capsys) -> None:
    from unbelief.cli.main import main

    for kind, name in (("rephrasing", "unlearned"), ("original",) * 2, ("retrained",) * 2):
        save_model(tmp_path / name, kind)
    save_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ (unbelief audit .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 1
    monkeypatch.setattr("sys.argv", shlex.split(commands[0]))
    main()
    assert capsys.readouterr().out.startswith("pass: ")
    assert {p.name for p in (tmp_path / "audit").iterdir()} == {
        "audit.json",
        "report.html",
        "measurements",
    }


def test_the_gates_of_the_page_can_be_decided() -> None:
    blocks = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    with_judge, plain = ([parse_rule(line) for line in lines(block)] for block in blocks)
    names = [m.line.name for m in audit_measures(8, 1.0)]
    check_rules(plain, names, {"relearn": UNDER_ATTACK})
    check_rules(with_judge, [*JUDGED], {"relearn": [*JUDGED]})
    assert (len(with_judge), len(plain)) == (2, 4)


def lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if not line.startswith("#")]


def test_every_flag_is_explained_and_standard_attacks_exist() -> None:
    flags = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(flags) == sorted(get_args(Flag))
    assert list(parse_attacks(STANDARD)) == list(STANDARD)
