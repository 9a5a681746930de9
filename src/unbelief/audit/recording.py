"""An audit in the words of the ledger: digests and outcomes, no text of any record."""

from __future__ import annotations

import os
import re
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.hashing import file_sha256
from unbelief.ledger.book import Ledger, record_event
from unbelief.ledger.entries import Details, ModelName, OutputModel, RecordSet
from unbelief.ledger.runs import ACTOR_VARIABLE
from unbelief.ledger.states import request_states
from unbelief.report.audit_document import AuditDocument, ModelFacts


def check_ledger(ledger: Path, request_id: str) -> None:
    """Refuse, before any work, a ledger that could not take the audit.

    Raises:
        RequestError: There is no such ledger or request, or the request is closed.
    """
    states = {state.request_id: state for state in request_states(Ledger(ledger).entries())}
    if request_id not in states:
        raise RequestError(
            f"the ledger knows no request {request_id!r}",
            where=str(ledger),
            remedy="record it first: unbelief ledger add",
        )
    if states[request_id].state == "closed":
        raise RequestError(
            f"the request {request_id!r} is closed",
            where=str(ledger),
            remedy="record a relapse first, or audit under another request",
        )


def record_audit(ledger: Path, document: AuditDocument, output: Path) -> None:
    """Append an `audited` entry.

    Args:
        ledger: The ledger's file.
        document: What was found; its request id says for whom.
        output: The audit's folder, whose `audit.json` is digested.

    Raises:
        RequestError: The ledger refuses the entry.
    """
    assert document.request_id is not None
    by_role = {m.role: m for m in document.models}
    own = by_role["unlearned"]
    outcome = document.verdict.outcome
    details = Details(
        base_model=_name(by_role["original"]),
        output_model=OutputModel(
            weights_sha256=own.weights_sha256, dtype=own.dtype, adapter=own.adapter
        ),
        forget_set=RecordSet(n=len(document.prompts)),
        result_digest=file_sha256(output / "audit.json"),
        gates={
            f"{i}.{re.sub('[^A-Za-z0-9_.-]', '-', gate.name)}"[:64]: (
                "n/a" if gate.outcome == "inconclusive" else gate.outcome
            )
            for i, gate in enumerate(document.verdict.gates, 1)
        }
        or None,
        decision="done" if outcome == "no gates" else outcome,
        note=f"claim: {document.verdict.claim_class}",
    )
    actor = os.environ.get(ACTOR_VARIABLE) or None
    record_event(ledger, document.request_id, "audited", details, actor=actor)


def _name(facts: ModelFacts) -> ModelName:
    return ModelName(id=facts.source, weights_sha256=facts.weights_sha256)
