"""Every change to a ledger is found, named and placed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.made import made
from unbelief.errors import RequestError
from unbelief.ledger.chain import Anchor, verify_bytes
from unbelief.ledger.entries import FIRST, canonical, hash_of


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("ledger")).path.read_bytes()


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def sealed_again(line: bytes, **changed: object) -> bytes:
    """A line with other values and a hash that fits them."""
    values = json.loads(line) | changed
    values["hash"] = hash_of(values)
    return canonical(values) + b"\n"


def test_hash_and_links_are_what_the_documentation_says(sound: bytes) -> None:
    """By hand with the standard library only: sorted keys, no blanks, SHA-256 without `hash`."""
    before = FIRST
    for seq, line in enumerate(lines_of(sound)):
        values = json.loads(line)
        claimed = values.pop("hash")
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert claimed == hashlib.sha256(text.encode()).hexdigest()
        assert (values["seq"], values["prev_hash"]) == (seq, before)
        before = claimed


def test_canonical_form_is_that_of_rfc_8785() -> None:
    """Section 3.2.3's string escapes, with sorted keys and UTF-8 as it is."""
    values = {"b": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\"/", "a": [56, True, None]}
    expected = '{"a":[56,true,null],"b":"€$\\u000f\\nA\'B\\"\\\\\\"/"}'
    assert canonical(values) == expected.encode()


def test_sound_ledger(sound: bytes) -> None:
    found = verify_bytes(sound)
    assert found.damage is None and len(found.entries) == 6
    assert found.sound_bytes == len(sound)
    assert verify_bytes(sound, found.head).damage is None
    assert verify_bytes(b"").entries == ()


@given(data=st.data())
def test_any_changed_byte_is_found(sound: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sound) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != sound[at]))
    found = verify_bytes(sound[:at] + bytes([byte]) + sound[at + 1 :])
    assert found.damage is not None
    assert found.damage.line == sound[:at].count(b"\n") + 1


@given(data=st.data())
def test_any_byte_added_or_taken_away_is_found(sound: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sound) - 1))
    assert verify_bytes(sound[:at] + sound[at + 1 :]).damage is not None
    byte = bytes([data.draw(st.integers(0, 255))])
    assert verify_bytes(sound[:at] + byte + sound[at:]).damage is not None


@pytest.mark.parametrize("i", range(6))
def test_edited_line_is_named(sound: bytes, i: int) -> None:
    lines = lines_of(sound)
    lines[i] = lines[i].replace(b"privacy-desk", b"somebody-els")
    damage = verify_bytes(b"".join(lines)).damage
    assert damage is not None and (damage.line, damage.kind) == (i + 1, "edited")


def test_same_values_written_otherwise_are_an_edit(sound: bytes) -> None:
    lines = lines_of(sound)
    lines[2] = json.dumps(json.loads(lines[2])).encode() + b"\n"
    damage = verify_bytes(b"".join(lines)).damage
    assert damage is not None and (damage.line, damage.kind) == (3, "edited")


def test_line_edited_and_hashed_again_breaks_the_link_after_it(sound: bytes) -> None:
    lines = lines_of(sound)
    lines[2] = sealed_again(lines[2], actor="somebody-else")
    damage = verify_bytes(b"".join(lines)).damage
    assert damage is not None and (damage.line, damage.kind) == (4, "replaced")
    assert "line 3" in damage.message


@pytest.mark.parametrize(("first", "last"), [(0, 0), (2, 2), (1, 3)])
def test_removed_lines_are_counted(sound: bytes, first: int, last: int) -> None:
    lines = lines_of(sound)
    damage = verify_bytes(b"".join(lines[:first] + lines[last + 1 :])).damage
    assert damage is not None and (damage.line, damage.kind) == (first + 1, "removed")
    assert f"before entry {last + 1}" in damage.message


@given(order=st.permutations(range(6)))
def test_reordered_lines_are_found(sound: bytes, order: list[int]) -> None:
    lines = lines_of(sound)
    damage = verify_bytes(b"".join(lines[i] for i in order)).damage
    wrong = next((i for i, j in enumerate(order) if i != j), None)
    if wrong is None:
        assert damage is None
    else:
        assert damage is not None and (damage.line, damage.kind) == (wrong + 1, "reordered")


def test_copied_and_foreign_lines_are_insertions(sound: bytes) -> None:
    lines = lines_of(sound)
    copied = verify_bytes(b"".join([*lines[:3], lines[1], *lines[3:]])).damage
    assert copied is not None and (copied.line, copied.kind) == (4, "inserted")
    assert "a copy of line 2" in copied.message
    foreign = sealed_again(lines[1], actor="somebody-else")
    damage = verify_bytes(b"".join([*lines[:3], foreign, *lines[3:]])).damage
    assert damage is not None and damage.kind == "inserted" and "another entry 1" in damage.message


def test_cut_end_is_found_only_with_an_anchor(sound: bytes) -> None:
    anchor = verify_bytes(sound).head
    cut = b"".join(lines_of(sound)[:4])
    assert verify_bytes(cut).damage is None  # nothing in the file itself can show it
    damage = verify_bytes(cut, anchor).damage
    assert damage is not None and (damage.line, damage.kind) == (5, "truncated")


def test_ledger_rewritten_as_a_whole_is_found_only_with_an_anchor(sound: bytes) -> None:
    anchor = verify_bytes(sound).head
    forged, before = [], FIRST
    for line in lines_of(sound):
        forged.append(sealed_again(line, actor="somebody-else", prev_hash=before))
        before = json.loads(forged[-1])["hash"]
    assert verify_bytes(b"".join(forged)).damage is None
    damage = verify_bytes(b"".join(forged), anchor).damage
    assert damage is not None and damage.kind == "rewritten"


def test_older_anchor_still_fits_a_longer_ledger(sound: bytes) -> None:
    older = verify_bytes(b"".join(lines_of(sound)[:3])).head
    assert older is not None and older.seq == 2
    assert verify_bytes(sound, older).damage is None
    assert Anchor.parse(f" {older}\n") == older


@pytest.mark.parametrize("text", ["", "5", "5:abc", "x:" + "0" * 64, "5:" + "G" * 64])
def test_malformed_anchor_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="SEQ:HASH"):
        Anchor.parse(text)


def test_end_without_newline_is_torn(sound: bytes) -> None:
    for cut in (1, 10, 200):
        damage = verify_bytes(sound[:-cut]).damage
        assert damage is not None and (damage.line, damage.kind) == (6, "torn")


def test_entry_of_a_later_version_is_not_called_tampering(sound: bytes) -> None:
    lines = lines_of(sound)
    later = sealed_again(lines[-1], v=2)
    damage = verify_bytes(b"".join([*lines[:-1], later])).damage
    assert damage is not None and (damage.line, damage.kind) == (6, "unknown")


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b"{}", b'{"seq":true}', b"\xff", b"[" * 9999]
)
def test_lines_that_are_no_entries(sound: bytes, line: bytes) -> None:
    damage = verify_bytes(sound + line + b"\n").damage
    assert damage is not None and damage.line == 7


def test_message_holds_nothing_of_the_line(tmp_path: Path) -> None:
    damage = verify_bytes(b'{"note":"Ada Lovelace"\n').damage
    assert damage is not None and "Ada" not in damage.message
