"""Digests for the ledger, and the key that is kept apart from it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.ledger.entries import RecordSet
from unbelief.provenance import records_digest
from unbelief.types import Record

KEY_VARIABLE = "UNBELIEF_LEDGER_KEY"
_MAKE = "make one with: umask 077; python -c 'import secrets; print(secrets.token_hex(32))' > KEY"


def record_set(records: Sequence[Record], key: bytes | None = None) -> RecordSet:
    """Count of records and, given a key, a digest that only its holder can check.

    Raises:
        RequestError: The key is too short to protect anything.
    """
    made = records_digest(records, key)
    return RecordSet(n=made.n, keyed_digest=made.hmac_sha256, key_id=made.key_id)


def digest_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration or environment, as sorted JSON. Not for records."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_key(file: Path | None, ledger: Path) -> bytes | None:
    """The operator's key: hexadecimal digits in a file or in the environment.

    Args:
        file: Its file; None takes UNBELIEF_LEDGER_KEY, if that is set.
        ledger: The ledger it must be kept apart from: whoever gets one must not get the other.

    Returns:
        The key, or None when there is none.

    Raises:
        RequestError: It cannot be read, lies beside the ledger, is open to others, or is no key.
    """
    if file is None:
        text = os.environ.get(KEY_VARIABLE, "").strip()
        return _key(text, KEY_VARIABLE) if text else None
    path = file.expanduser().resolve()
    if path.parent == ledger.expanduser().resolve().parent:
        raise RequestError(
            "the key lies beside the ledger; whoever takes the folder has both",
            where=str(file),
            remedy="keep it in another place, one that is not backed up with the ledger",
        )
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not hexadecimal text"
        raise RequestError(
            f"the key cannot be read: {reason}", where=str(file), remedy=_MAKE
        ) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise RequestError(
            "the key can be read by others", where=str(file), remedy=f"chmod 600 {file}"
        )
    return _key(text, str(file))


def _key(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise RequestError(
            "the key is not made of hexadecimal digits", where=where, remedy=_MAKE
        ) from None
