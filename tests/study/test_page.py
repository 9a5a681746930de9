from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from unbelief.cli.main import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "study.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("unbelief study")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_one(line):
    commands: Any = typer.main.get_command(app)
    _, group, name, *arguments = shlex.split(line, comments=True)
    command = commands.commands[group].commands[name]
    with command.make_context(name, arguments) as context:
        assert context.params["output"] is not None


def test_the_page_has_commands():
    assert len(COMMANDS) >= 3
