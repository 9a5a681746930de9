"""Bytes of a ledger to its sound entries and the first damage, if any.

What a chain of plain hashes can show and what it cannot: a change to any line that is not followed
by rewriting every later line is found. Whoever may write the file can rewrite all of it, or cut
off its end, and the rest will be consistent; only an `Anchor` that was noted somewhere else (a
ticket, a signed tag, a letter) shows that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from unbelief.errors import RequestError
from unbelief.ledger.entries import FIRST, Entry, canonical, hash_of

Kind = Literal[
    "edited",  # the line is not what its own hash was made of
    "removed",  # entries before this line are missing
    "reordered",  # the entry that belongs here comes later
    "inserted",  # an entry, or a copy of one, that does not belong here
    "replaced",  # sound by itself, but its neighbour names another hash
    "torn",  # the last line has no end: a write, or the file, was cut short
    "truncated",  # the end that the anchor names is missing
    "rewritten",  # the chain is sound, but the anchor names another hash
    "unknown",  # sound, but not an entry this version knows
]
_ANCHOR = re.compile(r"(\d{1,15}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head of a ledger at some time: kept elsewhere, it pins everything up to there."""

    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read what `str(anchor)` wrote.

        Raises:
            RequestError: It is something else.
        """
        found = _ANCHOR.fullmatch(text.strip())
        if not found:
            raise RequestError(
                "an anchor is written SEQ:HASH, with 64 hexadecimal digits",
                where="anchor",
                remedy="copy it from the last line of `unbelief ledger verify`",
            )
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Damage:
    """The first thing that is wrong.

    Attributes:
        line: From 1.
        kind: What happened to it, as far as that can be told.
        message: The same in words.
    """

    line: int
    kind: Kind
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a ledger holds.

    Attributes:
        entries: Those before the first damage.
        damage: The first, or None.
        sound_bytes: Length of the sound part.
    """

    entries: tuple[Entry, ...]
    damage: Damage | None
    sound_bytes: int

    @property
    def head(self) -> Anchor | None:
        """The last sound entry; None when there is none."""
        return Anchor(self.entries[-1].seq, self.entries[-1].hash) if self.entries else None


def verify_bytes(data: bytes, anchor: Anchor | None = None) -> Verification:
    """Recompute the chain.

    Args:
        data: The whole file.
        anchor: A head noted earlier; without it a missing end cannot be seen.
    """
    *lines, rest = data.split(b"\n")
    entries: list[Entry] = []
    damage = None
    for i in range(len(lines)):
        found = _check(lines, i, entries[-1].hash if entries else FIRST)
        if isinstance(found, Damage):
            damage = found
            break
        entries.append(found)
    sound = sum(len(line) + 1 for line in lines[: len(entries)])
    if damage is None and rest:
        damage = Damage(len(lines) + 1, "torn", "the last line has no end; it was cut short")
    if anchor is not None:
        damage = _against(anchor, entries, damage)
    return Verification(tuple(entries), damage, sound)


def _check(lines: Sequence[bytes], i: int, prev_hash: str) -> Entry | Damage:
    """The entry of line `i`, which should have seq `i`, or what is wrong with it."""
    values = _sealed(lines[i])
    if isinstance(values, str):
        return Damage(i + 1, "edited", values)
    seq = values["seq"]
    if seq != i:
        return _misplaced(lines, i, seq)
    if values["prev_hash"] != prev_hash:
        before = "the first entry" if i == 0 else f"line {i}"
        return Damage(
            i + 1,
            "replaced",
            f"it names another hash than that of {before}: one of the two was replaced",
        )
    try:
        return Entry.model_validate(values)
    except ValidationError as error:
        field = error.errors()[0]["loc"][0]
        return Damage(i + 1, "unknown", f"not an entry this version knows: field {field}")


def _sealed(line: bytes) -> dict[str, Any] | str:
    """The values of a line whose bytes and hash are right, or what is wrong."""
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return "it is not JSON" if line else "it is empty"
    if not isinstance(values, dict) or not isinstance(values.get("seq"), int):
        return "it is not an entry"
    try:
        same = canonical(values) == line
    except ValueError:  # NaN, or half of a surrogate pair
        same = False
    if not same:
        return "its bytes are not those that were written"
    if values.get("hash") != hash_of(values):
        return "its content is not what its hash was made of"
    return values if isinstance(values.get("prev_hash"), str) else "it is not an entry"


def _misplaced(lines: Sequence[bytes], i: int, seq: int) -> Damage:
    if seq < i:
        same = lines[i] in lines[:i]
        what = f"a copy of line {seq + 1}" if same else f"another entry {seq}"
        return Damage(i + 1, "inserted", f"{what} where entry {i} belongs")
    later = (_sealed(line) for line in lines[i + 1 :])
    if any(isinstance(values, dict) and values["seq"] == i for values in later):
        return Damage(i + 1, "reordered", f"entry {seq} where entry {i} belongs, which comes later")
    missing = f"entry {i} is" if seq == i + 1 else f"entries {i} to {seq - 1} are"
    return Damage(i + 1, "removed", f"{missing} missing before entry {seq}")


def _against(anchor: Anchor, entries: Sequence[Entry], damage: Damage | None) -> Damage | None:
    if anchor.seq < len(entries):
        if entries[anchor.seq].hash == anchor.hash:
            return damage
        return Damage(
            anchor.seq + 1,
            "rewritten",
            "the chain is sound, but its hash is not the anchor's: "
            "this line or earlier ones were rewritten",
        )
    if damage is not None and damage.kind != "torn":
        return damage
    return Damage(
        len(entries) + 1,
        "truncated",
        f"the ledger ends after {len(entries)} entries, the anchor is entry {anchor.seq}",
    )
