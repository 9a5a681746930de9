"""The commands and code of docs/judge.md run, in order, against a server on this machine."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.common import call
from tests.docs.test_examples import BLOCK, ROOT
from tests.judge.made import ITEMS
from tests.judge.server import running
from unbelief.judge.controls import EXPECTED

PAGE = (ROOT / "docs/judge.md").read_text(encoding="utf-8")


def test_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": i.id, "prompt": i.prompt, "answer": i.answer, "response": i.response} for i in ITEMS
    ]
    (tmp_path / "responses.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "people.csv").write_text("id,naturalness,similarity\nleaks,5,1\ndiffers,5,5\n")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with running() as server:
        monkeypatch.setenv("UNBELIEF_JUDGE_URL", server.url)
        for kind, text in BLOCK.findall(PAGE):
            if kind == "python":
                exec(compile(text, "docs/judge.md", "exec"), names)
                continue
            for line in text.splitlines():
                called = call(*shlex.split(line.removeprefix("$ unbelief ")))
                assert called.code == 0, called.err
    assert json.loads(Path("judged.json").read_text())["valid"] is True
    assert Path("judged.answers.jsonl").exists() and "judgement" in names


def test_table_of_controls_is_that_of_the_code() -> None:
    def shown(bounds: tuple[int, int]) -> str:
        return "any" if bounds == (0, 5) else f"{bounds[0]}-{bounds[1]}"

    rows = re.findall(r"^\| (\w+) \| [^|]+ \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert {kind: (n, s) for kind, n, s in rows[1:]} == {
        kind: (shown(n), shown(s)) for kind, (n, s) in EXPECTED.items()
    }
