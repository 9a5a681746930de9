"""Where every request stands, and what may come next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from unbelief.errors import RequestError
from unbelief.ledger.entries import Entry

# State after an event; events that are not here leave it as it is.
_AFTER = {
    "request_received": "received",
    "scoped": "scoped",
    "run_started": "running",
    "run_finished": "unlearned",
    "evaluated": "evaluated",
    "audited": "audited",
    "approved": "approved",
    "rejected": "rejected",
    "deployed": "deployed",
    "superseded": "superseded",
    "relapse_found": "reopened",
    "closed": "closed",
}
_AFTER_CLOSING = ("relapse_found", "evidence_deleted", "withdrawn")
_STOPPED = ("failed", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestState:
    """One request.

    Attributes:
        request_id: Which.
        state: `received`, `scoped`, `running`, `run failed`, `run interrupted`, `unlearned`,
            `evaluated`, `audited`, `approved`, `rejected`, `deployed`, `superseded`, `reopened`,
            `closed`, or `withdrawn` when the request itself was.
        received: When it came in.
        deadline: Day by which it must be dealt with.
        last_event: When something was last written down.
        entries: `seq` of all its entries, void ones included.
    """

    request_id: str
    state: str = "withdrawn"
    received: str | None = None
    deadline: str | None = None
    last_event: str
    entries: tuple[int, ...] = field(default=())

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state not in ("closed", "rejected", "withdrawn")

    def days_left(self, today: date) -> int | None:
        """Days to the deadline, negative when it has passed; None without one or when done."""
        if self.deadline is None or not self.is_open:
            return None
        return (date.fromisoformat(self.deadline) - today).days


def void(entries: Iterable[Entry]) -> frozenset[int]:
    """`seq` of the entries that later ones correct."""
    return frozenset(e.corrects for e in entries if e.corrects is not None)


def request_states(entries: Sequence[Entry]) -> tuple[RequestState, ...]:
    """Every request, in the order in which they came in. Void entries do not count."""
    voided = void(entries)
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.request_id is not None:
            found.setdefault(entry.request_id, []).append(entry)
    return tuple(_state(name, its, voided) for name, its in found.items())


def _state(request_id: str, its: Sequence[Entry], voided: frozenset[int]) -> RequestState:
    place: dict[int, int] = {}  # a correction stands where the entry it corrects stood
    for entry in its:
        corrected = entry.seq if entry.corrects is None else entry.corrects
        place[entry.seq] = place.get(corrected, corrected)
    standing = [e for e in its if e.seq not in voided and e.event != "withdrawn"]
    standing.sort(key=lambda e: place[e.seq])
    received = next((e for e in standing if e.event == "request_received"), None)
    state = "withdrawn"
    if received is not None:
        for entry in standing:
            state = _after(entry, state)
    return RequestState(
        request_id=request_id,
        state=state,
        received=None if received is None else received.time_utc,
        deadline=next((e.deadline for e in reversed(standing) if e.deadline), None),
        last_event=its[-1].time_utc,
        entries=tuple(e.seq for e in its),
    )


def _after(entry: Entry, state: str) -> str:
    if entry.event == "run_finished" and entry.decision in _STOPPED:
        return f"run {entry.decision}"
    return _AFTER.get(entry.event, state)


def check_next(entries: Sequence[Entry], entry: Entry) -> None:
    """Refuse an entry that does not follow from those before it.

    A request starts with `request_received`; a closed one can only be found to have relapsed, lose
    its evidence, or be corrected; a correction is of a standing entry of the same request and
    event, or a tombstone (`withdrawn`), which is final.

    Args:
        entries: Earlier ones, at least those of the same request and the corrected one.
        entry: The new one.

    Raises:
        RequestError: With what was expected.
    """
    if entry.request_id is None:
        return
    now = next((s for s in request_states(entries) if s.request_id == entry.request_id), None)
    if entry.corrects is not None:
        _check_correction(entries, entry, entry.corrects)
        return
    if entry.event == "withdrawn":
        raise RequestError(
            "withdrawn needs the entry it makes void", where="corrects", remedy="give its seq"
        )
    known = now is not None and now.state != "withdrawn"
    if entry.event == "request_received" and known:
        raise RequestError(
            f"the request {entry.request_id} is in the ledger already",
            where="request_id",
            remedy="choose another id, or correct the entry",
        )
    if entry.event != "request_received" and not known:
        raise RequestError(
            f"the ledger knows no request {entry.request_id}",
            where="request_id",
            remedy="add it with the event request_received first, or mend the id",
        )
    if now is not None and now.state == "closed" and entry.event not in _AFTER_CLOSING:
        raise RequestError(
            f"the request {entry.request_id} is closed",
            where="event",
            remedy="record relapse_found to open it again",
        )


def _check_correction(entries: Sequence[Entry], entry: Entry, corrects: int) -> None:
    old = next((e for e in entries if e.seq == corrects), None)
    wrong = None
    if old is None:
        wrong = "there is no such entry"
    elif old.request_id != entry.request_id:
        wrong = "it belongs to another request"
    elif old.seq in void(entries):
        wrong = "it is void already"
    elif old.event == "withdrawn":
        wrong = "it is a tombstone; record what happened anew"
    elif entry.event not in (old.event, "withdrawn"):
        wrong = f"it says {old.event}, and so must its correction; or it is withdrawn"
    if wrong:
        raise RequestError(
            f"entry {corrects} cannot be corrected: {wrong}",
            where="corrects",
            remedy="give the seq of a standing entry of this request, see `unbelief ledger show`",
        )
