"""Where a request stands, with corrections and tombstones."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests.ledger.made import STEPS, made
from unbelief.errors import RequestError
from unbelief.ledger import Ledger, RequestState, request_states


def state_of(ledger: Ledger, request_id: str = "DR-1") -> RequestState:
    return next(s for s in request_states(ledger.entries()) if s.request_id == request_id)


def test_every_step_has_its_state(tmp_path: Path) -> None:
    expected = ["received", "scoped", "running", "unlearned", "audited", "closed"]
    for steps, state in enumerate(expected, start=1):
        folder = tmp_path / str(steps)
        folder.mkdir()
        found = state_of(made(folder, steps))
        assert (found.state, found.is_open) == (state, state != "closed")
        assert found.entries == tuple(range(steps))


@pytest.mark.parametrize("decision", ["failed", "interrupted"])
def test_run_that_did_not_end_well_unlearned_nothing(tmp_path: Path, decision: str) -> None:
    ledger = made(tmp_path, 3)
    ledger.append("run_finished", "DR-1", {"decision": decision})
    assert state_of(ledger).state == f"run {decision}"


def test_deadline_counts_down_until_the_request_is_closed(tmp_path: Path) -> None:
    ledger = made(tmp_path, 4)
    assert state_of(ledger).days_left(date(2026, 12, 1)) == 20
    assert state_of(ledger).days_left(date(2026, 12, 24)) == -3
    for event, details in STEPS[4:]:
        ledger.append(event, "DR-1", details)
    assert state_of(ledger).days_left(date(2026, 12, 24)) is None


def test_correction_takes_the_place_of_what_it_corrects(tmp_path: Path) -> None:
    """The deadline of entry 0 is corrected after entry 3; the state stays that of entry 3."""
    ledger = made(tmp_path, 4)
    ledger.append("request_received", "DR-1", {"deadline": "2027-01-21", "corrects": 0})
    assert (state_of(ledger).state, state_of(ledger).deadline) == ("unlearned", "2027-01-21")
    ledger.append("request_received", "DR-1", {"deadline": "2027-01-11", "corrects": 4})
    assert (state_of(ledger).state, state_of(ledger).deadline) == ("unlearned", "2027-01-11")


def test_tombstone_takes_an_entry_away(tmp_path: Path) -> None:
    ledger = made(tmp_path, 5)
    ledger.append("withdrawn", "DR-1", {"corrects": 4, "note": "audit of another model"})
    assert state_of(ledger).state == "unlearned"
    ledger.append("withdrawn", "DR-1", {"corrects": 0})
    assert state_of(ledger).state == "withdrawn"
    with pytest.raises(RequestError, match="knows no request"):
        ledger.append("evaluated", "DR-1")
    ledger.append("request_received", "DR-1")  # it may come in again
    assert state_of(ledger).is_open


@pytest.mark.parametrize(
    ("event", "request_id", "details", "words"),
    [
        ("request_received", "DR-1", {}, "in the ledger already"),
        ("audited", "DR-2", {}, "knows no request DR-2"),
        ("withdrawn", "DR-1", {}, "needs the entry"),
        ("withdrawn", "DR-1", {"corrects": 9}, "no such entry"),
        ("withdrawn", "DR-2", {"corrects": 0}, "another request"),
        ("scoped", "DR-1", {"corrects": 0}, "so must its correction"),
        ("tail_recovered", "DR-1", {}, "about the ledger itself"),
    ],
)
def test_what_does_not_follow_is_refused(
    tmp_path: Path, event: str, request_id: str, details: dict[str, object], words: str
) -> None:
    ledger = made(tmp_path, 3)
    before = ledger.path.read_bytes()
    with pytest.raises(RequestError, match=words):
        ledger.append(event, request_id, details)
    assert ledger.path.read_bytes() == before


def test_void_entries_and_tombstones_are_final(tmp_path: Path) -> None:
    ledger = made(tmp_path, 3)
    ledger.append("withdrawn", "DR-1", {"corrects": 2})
    with pytest.raises(RequestError, match="void already"):
        ledger.append("run_started", "DR-1", {"corrects": 2})
    with pytest.raises(RequestError, match="a tombstone"):
        ledger.append("withdrawn", "DR-1", {"corrects": 3})


def test_closed_request_opens_again_only_by_a_relapse(tmp_path: Path) -> None:
    ledger = made(tmp_path)
    with pytest.raises(RequestError, match="is closed"):
        ledger.append("run_started", "DR-1")
    ledger.append("evidence_deleted", "DR-1")
    assert state_of(ledger).state == "closed"
    ledger.append("relapse_found", "DR-1")
    ledger.append("run_started", "DR-1")
    assert state_of(ledger).state == "running"


def test_requests_do_not_mix(tmp_path: Path) -> None:
    made(tmp_path, 2, "DR-1")
    ledger = made(tmp_path, 5, "DR-2")
    assert [(s.request_id, s.state) for s in request_states(ledger.entries())] == [
        ("DR-1", "scoped"),
        ("DR-2", "audited"),
    ]
