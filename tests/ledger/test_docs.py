"""The commands and code of docs/ledger.md run, in order."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.common import call
from tests.docs.test_examples import BLOCK, ROOT
from tests.helpers import save_tiny
from unbelief.ledger import Ledger, request_states
from unbelief.ledger.entries import Entry


def test_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path / "model")
    for name, start in (("forget", 0), ("retain", 10)):
        rows = [
            {"question": f"where is {i}", "answer": f"in town {i}"} for i in range(start, start + 4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    key = tmp_path / "keys" / "ledger.key"
    key.parent.mkdir()
    key.write_text("ef" * 32)
    key.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, text in BLOCK.findall((ROOT / "docs/ledger.md").read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, "docs/ledger.md", "exec"), names)
            continue
        for line in text.splitlines():
            called = call(*shlex.split(line.removeprefix("$ unbelief ")))
            assert called.code == 0, called.err
    entries = Ledger(Path("ledger.jsonl")).entries()
    assert [e.event for e in entries] == [
        "request_received",
        "scoped",
        "run_started",
        "run_finished",
        "audited",
    ]
    assert request_states(entries)[0].state == "audited"
    assert Path("anchors/2026-12.txt").read_text().strip() == f"3:{entries[3].hash}"


def test_page_names_every_field_and_event() -> None:
    page = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    events = Entry.model_json_schema()["properties"]["event"]["enum"]
    fields = set(Entry.model_fields) - {"fragment"}  # shown in words, under tail_recovered
    assert [name for name in {*events, *fields} if f"`{name}`" not in page] == []
