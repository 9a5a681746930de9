"""What was asked to be forgotten and what was done about it: append-only, hash-chained, no text.

Entries (`entries`) are fields, a canonical form and a hash; `chain` turns the bytes of a ledger
into its sound entries and the first damage; `states` says where every request stands; `digests`
counts records and digests them under a key; `book` is the file, locked, appended to and flushed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Anchor": "unbelief.ledger.chain",
    "Damage": "unbelief.ledger.chain",
    "Details": "unbelief.ledger.entries",
    "Entry": "unbelief.ledger.entries",
    "Ledger": "unbelief.ledger.book",
    "RequestState": "unbelief.ledger.states",
    "Verification": "unbelief.ledger.chain",
    "record_event": "unbelief.ledger.book",
    "record_set": "unbelief.ledger.digests",
    "recorded_run": "unbelief.ledger.runs",
    "recording": "unbelief.ledger.runs",
    "request_states": "unbelief.ledger.states",
    "run_details": "unbelief.ledger.runs",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import public names on first use."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'unbelief.ledger' has no attribute {name!r}")


if TYPE_CHECKING:
    from unbelief.ledger.book import Ledger, record_event
    from unbelief.ledger.chain import Anchor, Damage, Verification
    from unbelief.ledger.digests import record_set
    from unbelief.ledger.entries import Details, Entry
    from unbelief.ledger.runs import recorded_run, recording, run_details
    from unbelief.ledger.states import RequestState, request_states
