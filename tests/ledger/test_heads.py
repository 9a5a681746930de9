"""What a writer remembers: trusted for the same bytes only, and never by `verify`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.ledger.made import made
from unbelief.errors import GuardError, RequestError
from unbelief.ledger import Ledger, book
from unbelief.ledger.heads import head_file


@pytest.fixture
def recomputed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the files whose whole chain was recomputed."""
    calls: list[int] = []
    real = book.verify_bytes

    def counted(data: bytes, *rest):
        calls.append(len(data))
        return real(data, *rest)

    monkeypatch.setattr(book, "verify_bytes", counted)
    return calls


def test_an_append_does_not_recompute_what_was_left_sound(
    tmp_path: Path, recomputed: list[int]
) -> None:
    ledger = made(tmp_path, 5)
    assert recomputed == [0]  # only the first, of the empty file
    note = json.loads(head_file(ledger.path).read_text())
    assert note["count"] == 5 and note["bytes"] == ledger.path.stat().st_size
    assert stat.S_IMODE(head_file(ledger.path).stat().st_mode) == 0o600
    found = ledger.verify()
    assert found.damage is None and found.head is not None and found.head.hash == note["head"]
    assert len(recomputed) == 2  # verify does the whole


@pytest.mark.parametrize("note", [None, "", "[]", "{}", '{"v": 1}', '{"v": 2, "count": 3}'])
def test_without_a_note_the_whole_chain_is_recomputed(
    tmp_path: Path, recomputed: list[int], note: str | None
) -> None:
    ledger = made(tmp_path, 3)
    if note is None:
        head_file(ledger.path).unlink()
    else:
        head_file(ledger.path).write_text(note)
    recomputed.clear()
    assert ledger.append("evaluated", "DR-1").seq == 3
    assert len(recomputed) == 1
    assert ledger.append("evaluated", "DR-1").seq == 4
    assert len(recomputed) == 1 and ledger.verify().damage is None


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_change_of_one_byte_anywhere_is_found_at_the_next_append(
    tmp_path: Path, line: int
) -> None:
    ledger = made(tmp_path, 3)
    lines = ledger.path.read_bytes().split(b"\n")
    lines[line] = lines[line].replace(b"privacy", b"pirates")
    ledger.path.write_bytes(b"\n".join(lines))
    with pytest.raises(GuardError, match=rf"ledger\.jsonl:{line + 1}: .*edited"):
        ledger.append("evaluated", "DR-1")


def test_a_cut_end_is_not_taken_for_what_was_left(tmp_path: Path, recomputed: list[int]) -> None:
    ledger = made(tmp_path, 4)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:2]))
    recomputed.clear()
    # The rest is a sound chain: only an anchor shows that something is missing.
    assert ledger.append("evaluated", "DR-1").seq == 2
    assert len(recomputed) == 1


def test_a_forged_note_deceives_no_verification(tmp_path: Path) -> None:
    from unbelief.ledger.heads import remember

    ledger = made(tmp_path, 3)
    damaged = ledger.path.read_bytes().replace(b"privacy", b"pirates", 1)
    ledger.path.write_bytes(damaged)
    note = json.loads(head_file(ledger.path).read_text())
    remember(ledger.path, damaged, note["count"], note["head"])
    ledger.append("evaluated", "DR-1")
    damage = ledger.verify().damage
    assert damage is not None and (damage.line, damage.kind) == (1, "edited")


def test_rules_between_entries_hold_without_reading_the_others(
    tmp_path: Path, recomputed: list[int]
) -> None:
    ledger = made(tmp_path)  # DR-1: entries 0 to 5, closed
    ledger.append("request_received", "DR-10")  # 6; its id begins like the other
    ledger.append("scoped", "DR-10", {"note": 'says "request_id":"DR-1" and "seq":0,'})
    recomputed.clear()
    with pytest.raises(RequestError, match="DR-1 is closed"):
        ledger.append("evaluated", "DR-1")
    with pytest.raises(RequestError, match="in the ledger already"):
        ledger.append("request_received", "DR-10")
    with pytest.raises(RequestError, match="knows no request DR-2"):
        ledger.append("evaluated", "DR-2")
    with pytest.raises(RequestError, match="belongs to another request"):
        ledger.append("scoped", "DR-10", {"corrects": 1})
    with pytest.raises(RequestError, match="no such entry"):
        ledger.append("scoped", "DR-10", {"corrects": 99})
    assert ledger.append("scoped", "DR-10", {"corrects": 7}).seq == 8
    with pytest.raises(RequestError, match="void already"):
        ledger.append("scoped", "DR-10", {"corrects": 7})
    assert recomputed == []
    assert ledger.verify().damage is None


def test_a_ledger_begun_anew_does_not_inherit_the_old_note(tmp_path: Path) -> None:
    ledger = made(tmp_path, 4)
    ledger.path.unlink()
    assert Ledger(ledger.path).append("request_received", "DR-1").seq == 0
    assert ledger.verify().damage is None
