"""Ledgers for tests."""

from __future__ import annotations

from pathlib import Path

from unbelief.ledger import Ledger

STEPS = (
    ("request_received", {"deadline": "2026-12-21", "legal_basis": "GDPR Art. 17(1)(b)"}),
    ("scoped", {"forget_set": {"n": 3}}),
    ("run_started", {"method": "npo"}),
    ("run_finished", {"decision": "done"}),
    ("audited", {"gates": {"leak": "pass", "utility": "n/a"}, "decision": "pass"}),
    ("closed", {"note": "the person was told"}),
)


def made(folder: Path, steps: int = len(STEPS), request_id: str = "DR-1") -> Ledger:
    """A ledger with the first steps of one request."""
    ledger = Ledger(folder / "ledger.jsonl")
    for event, details in STEPS[:steps]:
        ledger.append(event, request_id, details, actor="privacy-desk")
    return ledger
