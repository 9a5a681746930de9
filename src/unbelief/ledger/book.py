"""The ledger's file: locked while it is read and appended to, flushed to the disk, never edited.

One exception to "never edited": when a crash left an unfinished last line, the next append cuts it
off and says so in an entry of its own, with the fragment's length and digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unbelief.errors import GuardError, RequestError
from unbelief.ledger.chain import Anchor, Verification, verify_bytes
from unbelief.ledger.entries import Details, Entry, Fragment
from unbelief.ledger.heads import Sound, recall, remember
from unbelief.ledger.states import check_next
from unbelief.provenance import utc_now

LOCK_SECONDS = 30.0
"""How long a writer waits for the others."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """An append-only file of hash-chained entries; it need not exist yet.

    Writers on one machine may be many: an advisory lock (`flock`) puts them in a row. Network file
    systems that do not pass the lock on are not a place for a ledger with several writers.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).expanduser())

    def append(
        self,
        event: str,
        request_id: str | None,
        details: Details | Mapping[str, Any] | None = None,
        *,
        actor: str | None = None,
    ) -> Entry:
        """Write one entry; when this returns, it is on the disk.

        Args:
            event: What happened, see `entries.Event`.
            request_id: Which request; a pseudonym.
            details: What is to be recorded about it.
            actor: Who says so: a role or a pseudonym.

        Raises:
            RequestError: The entry is malformed or does not follow from those before it.
            GuardError: The ledger is damaged; nothing is added to it.
        """
        given = details if isinstance(details, Details) else _details(details or {})
        with _locked(self.path, write=True) as handle:
            data = _read(handle)
            before = recall(self.path, data, request_id, given.corrects)
            if before is None:
                found = _contents(data, self.path)
                if found.damage is not None:
                    found = _recover(handle, found)
                    data = _read(handle)
                before = Sound.of(found)
            entry = _append(handle, before, event, request_id, given, actor)
            if entry.seq == 0:
                _sync_folder(self.path.parent)
            remember(self.path, data + entry.line(), entry.seq + 1, entry.hash)
            return entry

    def verify(self, anchor: Anchor | None = None) -> Verification:
        """Recompute the chain.

        Args:
            anchor: A head noted earlier and elsewhere; without one a missing end cannot be seen.

        Raises:
            RequestError: There is no such file.
        """
        with _locked(self.path, write=False) as handle:
            return verify_bytes(_read(handle), anchor)

    def entries(self) -> tuple[Entry, ...]:
        """All entries, after the chain was found sound. An unfinished last line is passed over.

        Raises:
            RequestError: There is no such file.
            GuardError: The ledger is damaged.
        """
        with _locked(self.path, write=False) as handle:
            return _contents(_read(handle), self.path).entries


def record_event(
    ledger: Ledger | Path | str,
    request_id: str,
    event: str,
    details: Details | Mapping[str, Any] | None = None,
    *,
    actor: str | None = None,
) -> Entry:
    """Append an entry about a request; see `Ledger.append`."""
    book = ledger if isinstance(ledger, Ledger) else Ledger(Path(ledger))
    return book.append(event, request_id, details, actor=actor)


def _details(values: Mapping[str, Any]) -> Details:
    try:
        return Details.model_validate(dict(values))
    except ValidationError as error:
        raise _plain(error) from None


def _plain(error: ValidationError) -> RequestError:
    """Our words, without the value: it may be what must not be written down."""
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    name = name if name.isidentifier() else "an unknown field"
    known = ", ".join(Details.model_fields)
    remedy = f"known: {known}" if first["type"] == "extra_forbidden" else "mend the value"
    if name == "request_id":
        remedy = "a ticket number or pseudonym of letters, digits, '.', '_', '-'; never a name"
    return RequestError(first["msg"], where=name or "entry", remedy=remedy)


@contextmanager
def _locked(path: Path, *, write: bool) -> Iterator[int]:
    """An open handle on the ledger, locked. A file that stays empty is taken away again."""
    limit = time.monotonic() + LOCK_SECONDS
    handle = _open(path, write)
    try:
        _lock(handle, path, write, limit)
        while not _is_at(handle, path):  # another writer took its empty file away meanwhile
            os.close(handle)
            handle = _open(path, write)
            _lock(handle, path, write, limit)
        yield handle
    finally:
        if write and _is_at(handle, path) and os.fstat(handle).st_size == 0:
            path.unlink()
        os.close(handle)  # releases the lock


def _open(path: Path, write: bool) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if write else os.O_RDONLY
    try:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RequestError(
            f"the ledger cannot be opened: {error.strerror}",
            where=str(path),
            remedy="check the path; `unbelief ledger add` starts a new ledger",
        ) from None
    return handle


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int, path: Path, write: bool, limit: float) -> None:
    kind = fcntl.LOCK_EX if write else fcntl.LOCK_SH
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > limit:
                raise RequestError(
                    f"other writers held the ledger for {LOCK_SECONDS:.0f} seconds",
                    where=str(path),
                    remedy="try again",
                ) from None
            time.sleep(0.005)


def _read(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    parts = []
    while part := os.read(handle, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _contents(data: bytes, path: Path) -> Verification:
    """The entries; an unfinished last line is for the caller to deal with."""
    found = verify_bytes(data)
    if found.damage is not None and found.damage.kind != "torn":
        raise GuardError(
            f"the ledger is damaged ({found.damage.kind}): {found.damage.message}",
            where=f"{path}:{found.damage.line}",
            remedy="restore it from a copy that `unbelief ledger verify` finds sound; "
            "nothing was added",
        )
    return found


def _recover(handle: int, before: Verification) -> Verification:
    """Deal with what a crash left: an entry without its end is ended, a part of one is cut off."""
    data = _read(handle)
    rest = data[before.sound_bytes :]
    whole = verify_bytes(data + b"\n")
    if whole.damage is None:
        _write(handle, b"\n")
        return whole
    os.ftruncate(handle, before.sound_bytes)
    fragment = Fragment(bytes=len(rest), sha256=hashlib.sha256(rest).hexdigest())
    sound = Sound.of(Verification(before.entries, None, before.sound_bytes))
    entry = _append(handle, sound, "tail_recovered", None, Details(fragment=fragment), None)
    return Verification((*before.entries, entry), None, before.sound_bytes + len(entry.line()))


def _append(
    handle: int,
    before: Sound,
    event: str,
    request_id: str | None,
    details: Details,
    actor: str | None,
) -> Entry:
    about_itself = event == "tail_recovered"
    if (request_id is None) != about_itself:
        raise RequestError(
            f"{event} is about {'the ledger itself' if about_itself else 'a request'}",
            where="request_id",
            remedy="leave the id out" if about_itself else "give the request's id",
        )
    try:
        entry = Entry.model_validate(
            {
                **details.model_dump(exclude_none=True),
                "seq": before.count,
                "prev_hash": before.head,
                "event": event,
                "time_utc": utc_now(),
                "actor": actor,
                "request_id": request_id,
            }
        )
    except ValidationError as error:
        raise _plain(error) from None
    entry = entry.sealed()
    check_next(before.entries, entry)
    _write(handle, entry.line(), before.size)
    return entry


def _write(handle: int, data: bytes, sound_bytes: int | None = None) -> None:
    """Write all of it and flush it; what could not be written whole is taken back."""
    try:
        done = 0
        while done < len(data):
            done += os.write(handle, data[done:])
        os.fsync(handle)
    except OSError as error:
        if sound_bytes is not None:
            os.ftruncate(handle, sound_bytes)
        raise RequestError(
            f"the entry could not be written: {error.strerror}",
            where="ledger",
            remedy="make room on the disk and try again; the ledger is as it was",
        ) from error
