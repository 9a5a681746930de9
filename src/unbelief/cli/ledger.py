"""`unbelief ledger`: deletion requests and what became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbelief.errors import GuardError, RequestError

if TYPE_CHECKING:
    from unbelief.ledger import Entry, RequestState

app = typer.Typer(
    no_args_is_help=True,
    help="Deletion requests: an append-only, hash-chained record that never holds their text.",
)

Book = Annotated[
    Path | None,
    typer.Option("--ledger", envvar="UNBELIEF_LEDGER", help="The ledger's file (JSON lines)."),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="Key for digests of records, kept apart from the ledger (or UNBELIEF_LEDGER_KEY).",
    ),
]
Actor = Annotated[
    str | None,
    typer.Option("--actor", envvar="UNBELIEF_ACTOR", help="Who says so: a role or pseudonym."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def add(
    event: Annotated[str, typer.Argument(help="For example request_received.")],
    request_id: Annotated[str, typer.Option("--request-id", help="Ticket number or pseudonym.")],
    ledger: Book = None,
    actor: Actor = None,
    deadline: Annotated[str | None, typer.Option(help="YYYY-MM-DD.")] = None,
    legal_basis: Annotated[str | None, typer.Option(help="One line.")] = None,
    note: Annotated[str | None, typer.Option(help="One line, no personal data.")] = None,
    decision: Annotated[str | None, typer.Option(help="How the event ended.")] = None,
    gate: Annotated[list[str] | None, typer.Option(help="NAME=pass, fail or n/a.")] = None,
    forget: Annotated[str | None, typer.Option(help="Records to count and digest.")] = None,
    retain: Annotated[str | None, typer.Option(help="Likewise, to keep.")] = None,
    key_file: Key = None,
    result: Annotated[Path | None, typer.Option(help="Results file to digest.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder made by unlearn, calibrate or patch.")
    ] = None,
    corrects: Annotated[int | None, typer.Option(help="Entry that is void from now on.")] = None,
    as_json: Json = False,
) -> None:
    """Append one entry. Corrections are entries too (`--corrects`); a tombstone is `withdrawn`."""
    from unbelief.ledger import Ledger
    from unbelief.ledger.digests import read_key
    from unbelief.ledger.runs import details_of
    from unbelief.provenance import file_sha256

    path = _path(ledger)
    details = {} if run is None else details_of(run).model_dump(exclude_none=True)
    given = {
        "deadline": deadline,
        "legal_basis": legal_basis,
        "note": note,
        "decision": decision,
        "gates": _gates(gate),
        "corrects": corrects,
        "result_digest": None if result is None else file_sha256(_file(result)),
    }
    key = read_key(key_file, path)
    given |= {"forget_set": _set(forget, key), "retain_set": _set(retain, key)}
    details |= {name: value for name, value in given.items() if value is not None}
    entry = Ledger(path).append(event, request_id, details, actor=actor)
    print(json.dumps(_plain(entry)) if as_json else _line(entry))


@app.command("list")
def list_requests(
    ledger: Book = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only what is to be done.")] = False,
    as_json: Json = False,
) -> None:
    """Every request, its state and its deadline."""
    from datetime import UTC, datetime

    from unbelief.ledger import Ledger, request_states

    today = datetime.now(UTC).date()
    states = request_states(Ledger(_path(ledger)).entries())
    shown = [state for state in states if state.is_open or not open_only]
    if as_json:
        rows = [_fields(state) | {"days_left": state.days_left(today)} for state in shown]
        print(json.dumps({"requests": rows}))
        return
    width = max((len(state.request_id) for state in shown), default=0)
    for state in shown:
        due = "" if state.deadline is None else f"  due {state.deadline}"
        left = state.days_left(today)
        if left is not None:
            due += f" ({left} days left)" if left >= 0 else f" ({-left} days overdue)"
        day = (state.received or "")[:10]
        print(f"{state.request_id:<{width}}  {state.state:<15}  {day:<10}{due}")


@app.command()
def show(
    request_id: Annotated[str, typer.Argument(help="Which request.")],
    ledger: Book = None,
    forget: Annotated[
        str | None, typer.Option(help="Check that these are the records that were digested.")
    ] = None,
    key_file: Key = None,
    as_json: Json = False,
) -> None:
    """All entries of a request, void ones included."""
    from unbelief.ledger import Ledger, request_states
    from unbelief.ledger.digests import read_key
    from unbelief.ledger.states import void

    path = _path(ledger)
    entries = Ledger(path).entries()
    state = next((s for s in request_states(entries) if s.request_id == request_id), None)
    if state is None:
        raise RequestError(
            f"the ledger knows no request {request_id}",
            where=str(path),
            remedy="see `unbelief ledger list`",
        )
    its = [entries[seq] for seq in state.entries]
    matches = None if forget is None else _matches(its, forget, read_key(key_file, path))
    if as_json:
        rows = [_plain(e) | {"void": e.seq in void(entries)} for e in its]
        print(json.dumps({**_fields(state), "log": rows, "forget_matches": matches}))
    else:
        print(f"{request_id}: {state.state}")
        for entry in its:
            print(_line(entry) + ("  (void)" if entry.seq in void(entries) else ""))
            for name, value in sorted(_plain(entry).items()):
                if name not in _IN_LINE:
                    print(f"      {name}: {json.dumps(value, ensure_ascii=False)}")
        if matches is not None:
            print(f"digested records: {json.dumps(matches)} are these" if matches else "")
    if matches == []:
        raise GuardError(
            "no entry of this request was made of these records under this key",
            where=forget,
            remedy="check the file and the key",
        )


@app.command()
def verify(
    ledger: Book = None,
    anchor: Annotated[
        str | None, typer.Option(help="SEQ:HASH noted earlier, or a file that holds it.")
    ] = None,
    write_anchor: Annotated[
        Path | None, typer.Option(help="File for the head; keep it away from the ledger.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute the chain; the first broken line ends with exit code 3.

    Without an anchor, entries missing at the end, or a ledger rewritten as a whole, cannot be seen.
    """
    from dataclasses import asdict

    from unbelief.ledger import Anchor, Ledger
    from unbelief.outputs import atomic_write

    path = _path(ledger)
    noted = None
    if anchor is not None:
        file = Path(anchor)
        noted = Anchor.parse(
            file.read_text("utf-8") if ":" not in anchor and file.is_file() else anchor
        )
    found = Ledger(path).verify(noted)
    if found.damage is not None:
        raise GuardError(
            f"{found.damage.kind}: {found.damage.message}",
            where=f"{path}:{found.damage.line}",
            remedy=_REMEDY.get(found.damage.kind, "restore the ledger from a sound copy"),
        )
    head = found.head
    if write_anchor is not None and head is not None:
        atomic_write(write_anchor, f"{head}\n")
    if as_json:
        shown = None if head is None else asdict(head)
        print(json.dumps({"entries": len(found.entries), "head": shown, "anchored": bool(noted)}))
    else:
        print(f"{len(found.entries)} entries, all sound" + ("" if noted else " (no anchor given)"))
        if head is not None:
            print(head)


_REMEDY = {
    "torn": "the next `unbelief ledger add` sets the unfinished line aside and says so",
    "unknown": "use the version of unbelief that wrote it, or a newer one",
}
_IN_LINE = ("seq", "event", "time_utc", "actor", "request_id", "hash", "prev_hash", "v")


def _path(ledger: Path | None) -> Path:
    if ledger is None:
        raise RequestError(
            "--ledger is missing", remedy="name the ledger's file, or set UNBELIEF_LEDGER"
        )
    return ledger


def _file(path: Path) -> Path:
    if not path.is_file():
        raise RequestError("there is no such file", where=str(path), remedy="check the path")
    return path


def _gates(given: list[str] | None) -> dict[str, str] | None:
    pairs = [item.partition("=") for item in given or []]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise RequestError(f"--gate {wrong[0]} has no outcome", remedy="write NAME=pass")
    return {name: outcome for name, _, outcome in pairs} or None


def _set(source: str | None, key: bytes | None) -> dict[str, Any] | None:
    if source is None:
        return None
    from unbelief.data import read_records
    from unbelief.ledger import record_set

    return record_set(read_records(source), key).model_dump(exclude_none=True)


def _matches(entries: list[Entry], source: str, key: bytes | None) -> list[int]:
    if key is None:
        raise RequestError(
            "records can only be checked with the key their digest was made with",
            remedy="give --key-file or set UNBELIEF_LEDGER_KEY",
        )
    digest = (_set(source, key) or {})["keyed_digest"]
    sets = [(e.seq, e.forget_set) for e in entries]
    return [seq for seq, its in sets if its is not None and its.keyed_digest == digest]


def _plain(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(exclude_none=True)


def _fields(state: RequestState) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(state)


def _line(entry: Entry) -> str:
    who = f"  {entry.actor}" if entry.actor else ""
    about = entry.request_id or "(the ledger)"
    return f"{entry.seq:>5}  {entry.time_utc[:19]}  {about}  {entry.event}{who}"
