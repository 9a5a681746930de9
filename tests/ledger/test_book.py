"""The file: appended to by several processes, cut short by crashes, refused when damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.made import made
from unbelief.errors import GuardError, RequestError
from unbelief.ledger import Details, Ledger, record_event

WRITER = """
import sys
from unbelief.ledger import Ledger
ledger, name, count = Ledger(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
ledger.append("request_received", name)
for _ in range(count - 1):
    ledger.append("evaluated", name)
"""


def test_append_gives_what_is_on_disk(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first = ledger.append("request_received", "DR-1", {"deadline": "2026-12-21"}, actor="desk")
    second = record_event(ledger.path, "DR-1", "scoped", Details(note="two models"))
    assert ledger.entries() == (first, second)
    assert json.loads(ledger.path.read_text().splitlines()[0]) == first.model_dump(
        exclude_none=True
    )
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_several_processes_write_one_sound_chain(tmp_path: Path) -> None:
    path, writers, each = tmp_path / "ledger.jsonl", 3, 15
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, f"DR-{i}", str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(writers) as pool:  # communicate() also sends the starting newline
        done = list(pool.map(lambda p: p.communicate("\n", timeout=60), processes))
    assert [p.returncode for p in processes] == [0] * writers, done
    entries = Ledger(path).entries()
    assert [e.seq for e in entries] == list(range(writers * each))
    assert all(sum(e.request_id == f"DR-{i}" for e in entries) == each for i in range(writers))


def test_threads_write_one_sound_chain(tmp_path: Path) -> None:
    ledger = made(tmp_path, 1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ledger.append("evaluated", "DR-1"), range(20)))
    assert len(ledger.entries()) == 21


@settings(deadline=None)  # every example waits for the disk
@given(data=st.data())
def test_unfinished_last_line_is_set_aside_and_reported(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    ledger = made(tmp_path_factory.mktemp("torn"), 3)
    whole = ledger.path.read_bytes()
    sound = whole[: whole[:-1].rindex(b"\n") + 1]
    kept = data.draw(st.integers(1, len(whole) - len(sound) - 2))
    ledger.path.write_bytes(whole[: len(sound) + kept])
    damage = ledger.verify().damage
    assert damage is not None and (damage.line, damage.kind) == (3, "torn")
    assert len(ledger.entries()) == 2  # readers go on
    ledger.append("run_started", "DR-1")
    fragment = whole[len(sound) : len(sound) + kept]
    recovered, last = ledger.entries()[2:]
    assert (recovered.event, recovered.request_id) == ("tail_recovered", None)
    assert recovered.fragment is not None and recovered.fragment.bytes == kept
    assert recovered.fragment.sha256 == hashlib.sha256(fragment).hexdigest()
    assert last.event == "run_started" and ledger.path.read_bytes().startswith(sound)


def test_entry_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    ledger = made(tmp_path, 3)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-1])
    ledger.append("evaluated", "DR-1")
    assert [e.event for e in ledger.entries()] == [
        "request_received",
        "scoped",
        "run_started",
        "evaluated",
    ]


def test_damaged_ledger_takes_no_entries(tmp_path: Path) -> None:
    ledger = made(tmp_path, 3)
    damaged = ledger.path.read_bytes().replace(b"privacy", b"pirates", 1)
    ledger.path.write_bytes(damaged)
    for use in (lambda: ledger.append("evaluated", "DR-1"), ledger.entries):
        with pytest.raises(GuardError, match=r"ledger\.jsonl:1: the ledger is damaged \(edited\)"):
            use()
    assert ledger.path.read_bytes() == damaged


def test_full_disk_leaves_the_ledger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = made(tmp_path, 2)
    before, write = ledger.path.read_bytes(), os.write

    def some_of_it(handle: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:100])

    monkeypatch.setattr(os, "write", some_of_it)
    with pytest.raises(RequestError, match="No space left"):
        ledger.append("evaluated", "DR-1")
    assert ledger.path.read_bytes() == before


def test_wrong_first_entry_leaves_no_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(RequestError, match="knows no request DR-1"):
        ledger.append("audited", "DR-1")
    assert not ledger.path.exists()
    with pytest.raises(RequestError, match="No such file"):
        ledger.verify()


SECRET = "Ada Lovelace, born 1815"


@pytest.mark.parametrize(
    ("request_id", "details"),
    [
        ("ada@example.org", {}),
        (SECRET, {}),
        ("DR-1", {"text": SECRET}),
        ("DR-1", {"note": SECRET + "\n" + SECRET}),
        ("DR-1", {"note": SECRET * 20}),
        ("DR-1", {"note": "\ud800" + SECRET}),
        ("DR-1", {"forget_set": {"n": 1, "sha256": "0" * 64}}),
        ("DR-1", {"forget_set": {"n": -1}}),
        ("DR-1", {"forget_set": {"n": True}}),
        ("DR-1", {"result_digest": SECRET}),
        ("DR-1", {"gates": {"leak": 0.3}}),
        ("DR-1", {"gates": {SECRET: "pass"}}),
        ("DR-1", {"deadline": "21.12.2026"}),
        ("DR-1", {"deadline": "20261221"}),
        ("DR-1", {"decision": SECRET}),
        (None, {}),
    ],
)
def test_malformed_entries_are_refused_without_repeating_them(
    tmp_path: Path, request_id: str | None, details: dict[str, object]
) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with pytest.raises(RequestError) as caught:
        ledger.append("request_received", request_id, details)
    assert SECRET not in str(caught.value) and not ledger.path.exists()


def test_unknown_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="event"):
        Ledger(tmp_path / "ledger.jsonl").append("forgotten", "DR-1")


def test_writer_waits_for_the_others_and_then_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    ledger = made(tmp_path, 1)
    monkeypatch.setattr("unbelief.ledger.book.LOCK_SECONDS", 0.05)
    with ledger.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RequestError, match="other writers held the ledger"):
            ledger.append("evaluated", "DR-1")
