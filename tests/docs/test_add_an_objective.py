"""The page on adding an objective is carried out: its file, its test, its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import unbelief.objectives.forget as forget_package
from tests.objectives.contract import CHECKS, Check
from unbelief.objectives import BSS, NLL, Objective, Term, build_objective, methods, terms

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add_an_objective.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
MODULE = "unbelief.objectives.forget.clipped_ga"
CONFTEST = """
import sys
import unbelief.objectives.forget as package
package.__path__.append({folder!r})
"""


def blocks(language: str) -> list[str]:
    return [
        text for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if kind == language
    ]


def file_block(name: str) -> str:
    """The block whose first line is a comment with this file's path."""
    (found,) = [b for b in blocks("python") if b.splitlines()[0].endswith(f"/{name}")]
    return found


@dataclass(frozen=True)
class Added:
    """The page's term, found like any other, and the folder its file lies in."""

    term: Term
    folder: Path


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Added]:
    folder = tmp_path_factory.mktemp("forget")
    (folder / "clipped_ga.py").write_text(file_block("clipped_ga.py"), encoding="utf-8")
    forget_package.__path__.append(str(folder))
    forget_rediscovery()
    yield Added(terms()["clipped-ga"](), folder)
    forget_package.__path__.remove(str(folder))
    sys.modules.pop(MODULE, None)
    vars(forget_package).pop("clipped_ga", None)
    forget_rediscovery()


def forget_rediscovery() -> None:
    terms.cache_clear()
    methods.cache_clear()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_its_term_keeps_the_contract(added: Added, check: Check) -> None:
    check(added.term)


def test_its_term_is_a_method_with_options(added: Added) -> None:
    term = type(added.term)
    assert build_objective("clipped-ga", {"floor": "0.01"}) == Objective(term(floor=0.01), NLL())
    assert build_objective("bs-s", {"inner": "clipped-ga"}).forget == BSS(inner=term())


def test_its_test_passes(added: Added, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.format(folder=str(added.folder)))
    (tmp_path / "test_clipped_ga.py").write_text(file_block("test_clipped_ga.py"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "."], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_its_python_example_runs(added: Added) -> None:
    (example,) = [b for b in blocks("python") if not b.startswith("# ")]
    exec(compile(example, str(PAGE), "exec"), {})


def test_its_commands_are_understood(added: Added, capsys: pytest.CaptureFixture[str]) -> None:
    from unbelief.cli.commands import methods as show

    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("unbelief")]
    assert [c[1] for c in commands] == ["methods", "unlearn", "unlearn"]
    show(commands[0][2], False)
    assert r"L = \max\big(\log\pi(y^i), \log\epsilon\big)" in capsys.readouterr().out
    for command in commands[1:]:
        pairs = dict(zip(command[2::2], command[3::2], strict=True))
        build_objective(pairs["--method"], dict([pairs["--set"].split("=")]))


def test_its_entry_point_is_one_that_is_looked_for(added: Added) -> None:
    (toml,) = blocks("toml")
    ((name, value),) = tomllib.loads(toml)["project"]["entry-points"]["unbelief.objectives"].items()
    point = EntryPoint(
        name, value.replace("your_package.clipped_ga", MODULE), "unbelief.objectives"
    )
    assert point.load() is type(added.term)


def test_its_table_names_what_there_is() -> None:
    from dataclasses import fields

    from unbelief.models.stats import AnswerStats, Needs

    table = re.findall(r"^\| (.*?) \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    asked = {n for row, _ in table for n in re.findall(r"(\w+)=", row)}
    assert asked == {f.name for f in fields(Needs)}
    named = {n for _, row in table[1:] for n in re.findall(r"`(\w+)`", row)}
    assert named - {"AnswerStats"} <= {f.name for f in fields(AnswerStats)}
