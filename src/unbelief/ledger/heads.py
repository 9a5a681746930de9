"""What a writer remembers of a ledger it left sound, so that the next need not recompute it.

Beside `ledger.jsonl` stands `ledger.jsonl.head`: length and SHA-256 of the file, number of entries,
hash of the last one. An append that finds the file byte for byte as it was left takes the chain as
sound; a file that differs in any byte, or a note that is missing or cannot be read, means that the
whole chain is recomputed. The note proves nothing to anybody: `verify` never reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from unbelief.ledger.chain import Verification
from unbelief.ledger.entries import FIRST, Entry

_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A ledger that was found sound.

    Attributes:
        count: Number of entries.
        head: Hash of the last one.
        size: Length in bytes.
        entries: All of them, or all on which an entry about one request can depend.
    """

    count: int
    head: str
    size: int
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, found: Verification) -> Sound:
        """From a whole verification."""
        return cls(
            count=len(found.entries),
            head=FIRST if found.head is None else found.head.hash,
            size=found.sound_bytes,
            entries=found.entries,
        )


def head_file(ledger: Path) -> Path:
    """Where the note about a ledger is."""
    return ledger.with_name(ledger.name + ".head")


def remember(ledger: Path, data: bytes, count: int, head: str) -> None:
    """Note that these bytes are a sound ledger. A note that cannot be written is none."""
    note = {
        "v": _VERSION,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "count": count,
        "head": head,
    }
    file = head_file(ledger)
    partial = file.with_name(file.name + ".new")  # one at a time: the ledger is locked
    try:
        # Not flushed to the disk: after a crash the note does not fit, and the chain is recomputed.
        partial.write_text(json.dumps(note) + "\n", encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(file)
    except OSError:
        file.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def recall(ledger: Path, data: bytes, request_id: str | None, corrects: int | None) -> Sound | None:
    """The ledger as the last writer left it, if these are its bytes.

    Args:
        ledger: Its file.
        data: What is in it.
        request_id: The request a new entry is about: its entries are read.
        corrects: `seq` of an entry that the new one corrects; it is read too.

    Returns:
        None when the whole chain has to be recomputed.
    """
    try:
        note = json.loads(head_file(ledger).read_text(encoding="utf-8"))
        count, size, digest, head = (note[k] for k in ("count", "bytes", "sha256", "head"))
        known = note["v"] == _VERSION and isinstance(count, int) and _DIGEST.fullmatch(head)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not known or size != len(data) or digest != hashlib.sha256(data).hexdigest():
        return None
    try:
        lines = sorted(set(_lines_of(data, request_id, corrects)))
        entries = tuple(Entry.model_validate_json(data[start:stop]) for start, stop in lines)
    except ValidationError:
        return None
    return Sound(count=count, head=head, size=size, entries=entries)


def _lines_of(
    data: bytes, request_id: str | None, corrects: int | None
) -> Iterator[tuple[int, int]]:
    """Where the lines about a request, and the corrected one, begin and end.

    Lines are canonical JSON, in which a quotation mark inside of a text is escaped: the pattern
    cannot occur there.
    """
    patterns = []
    if request_id is not None:
        patterns.append(b'"request_id":' + json.dumps(request_id).encode())
    if corrects is not None:
        patterns.append(b'"seq":%d,' % corrects)
    for pattern in patterns:
        at = data.find(pattern)
        while at >= 0:
            start, stop = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            yield start, stop
            at = data.find(pattern, stop)
