"""One line of the ledger: its fields, its canonical form and its hash.

The canonical form is RFC 8785 for what occurs here: keys sorted, no white space, UTF-8 without
needless escapes, and no fractional numbers, so that every JSON library agrees on the bytes. The
hash of an entry is

    hash = SHA-256(canonical form of the entry without `hash`)

and the entry holds the hash of the one before it (`prev_hash`; 64 zeros in the first).

No field is made for the text of a record, and no plain hash of one is ever made: a short personal
text can be guessed, which makes its hash a lookup table. Records are a count and a digest under a
key kept elsewhere. Free text is one short line, and people are trusted to keep names out of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

FIRST = "0" * 64
"""`prev_hash` of the first entry."""

Event = Literal[
    "request_received",
    "scoped",
    "run_started",
    "run_finished",
    "evaluated",
    "audited",
    "approved",
    "rejected",
    "deployed",
    "superseded",
    "relapse_found",
    "evidence_deleted",
    "closed",
    "withdrawn",  # a tombstone: the entry it corrects is void and nothing takes its place
    "tail_recovered",  # about the ledger itself: an unfinished last line was set aside
]
GateOutcome = Literal["pass", "fail", "n/a"]
Decision = Literal["done", "failed", "interrupted", "pass", "fail", "inconclusive"]

MOST_TEXT = 200


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MOST_TEXT:
        raise ValueError(f"one printable line of at most {MOST_TEXT} characters is expected")
    return text


def _a_date(text: str) -> str:
    from datetime import date

    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("a date is written YYYY-MM-DD")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Date = Annotated[str, AfterValidator(_a_date)]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A ticket number or another pseudonym. `@` and blanks are refused: no addresses, no names."""
GateName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Part(BaseModel):
    """Strict, frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelName(Part):
    """A model that came in."""

    id: Line
    revision: Line | None = None
    weights_sha256: Digest | None = None


class OutputModel(Part):
    """A model that went out; `adapter` is true when the base weights are as they were."""

    weights_sha256: Digest
    dtype: Line | None = None
    adapter: bool | None = None


class RecordSet(Part):
    """Records as a count and, under a key, a digest; see `unbelief.provenance`."""

    n: Count
    keyed_digest: Digest | None = None
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None


class Code(Part):
    """The software that ran."""

    version: Line
    commit: Line | None = None
    dirty: bool | None = None


class Fragment(Part):
    """An unfinished line that was set aside; its digest shows later which bytes those were."""

    bytes: Count
    sha256: Digest


class Details(Part):
    """What may be said about an event; everything is optional.

    Attributes:
        legal_basis: For example `GDPR Art. 17(1)(b)`.
        deadline: Day by which the request must be dealt with.
        base_model: The model that came in.
        mixed_with: The unlearned model whose weights were mixed or put into it.
        forget_set: The records to forget.
        retain_set: The records to keep.
        method: As in `unbelief methods`.
        config_digest: SHA-256 of the resolved configuration.
        code: The software that ran.
        env_digest: SHA-256 of what `provenance.environment` says.
        output_model: The model that went out.
        result_digest: SHA-256 of a results file.
        gates: What was demanded beforehand, and whether it was met.
        decision: How the event ended.
        note: One line; no personal data.
        corrects: `seq` of an earlier entry that is void; this one stands in its place.
        fragment: Of `tail_recovered`.
    """

    legal_basis: Line | None = None
    deadline: Date | None = None
    base_model: ModelName | None = None
    mixed_with: ModelName | None = None
    forget_set: RecordSet | None = None
    retain_set: RecordSet | None = None
    method: Line | None = None
    config_digest: Digest | None = None
    code: Code | None = None
    env_digest: Digest | None = None
    output_model: OutputModel | None = None
    result_digest: Digest | None = None
    gates: dict[GateName, GateOutcome] | None = None
    decision: Decision | None = None
    note: Line | None = None
    corrects: Count | None = None
    fragment: Fragment | None = None


class Entry(Details):
    """One line of the ledger.

    Attributes:
        v: Version of these fields.
        seq: Position, from 0.
        prev_hash: Hash of the entry before.
        event: What happened.
        time_utc: When it was written down, ISO 8601.
        actor: Who says so: a role or a pseudonym.
        request_id: Which request; None for entries about the ledger itself.
        hash: Of everything above.
    """

    v: Literal[1] = 1
    seq: Count
    prev_hash: Digest
    event: Event
    time_utc: Line
    actor: Line | None = None
    request_id: RequestId | None = None
    hash: Digest = FIRST

    def sealed(self) -> Entry:
        """The same with its hash."""
        return self.model_copy(update={"hash": hash_of(self.model_dump(exclude_none=True))})

    def line(self) -> bytes:
        """The line as it stands in the file, with its end."""
        return canonical(self.model_dump(exclude_none=True)) + b"\n"


def canonical(values: Mapping[str, Any]) -> bytes:
    """RFC 8785 form of values without fractional numbers."""
    return json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def hash_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of an entry's canonical form without its `hash`."""
    rest = {name: value for name, value in values.items() if name != "hash"}
    return hashlib.sha256(canonical(rest)).hexdigest()
