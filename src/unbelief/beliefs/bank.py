"""The belief bank: N answers of a model to every forget prompt, on disk, inspectable, reusable.

A bank holds model text about records that are to be forgotten. Its files are readable by their
owner alone (mode 0600) and belong where the forget data is kept, not beside a published model.
What ties it to its records is a digest under a random salt, over all of them together.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError
from unbelief.parquet import read_parquet
from unbelief.provenance import utc_now
from unbelief.types import Belief

if TYPE_CHECKING:
    import pyarrow as pa

    from unbelief.tokens.encode import Encoded, Encoder

SCHEMA_VERSION = 1
_META_KEY = b"unbelief.beliefs"
_AGAIN = "sample a new bank, or name the one that was made with these"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankMeta:
    """What a bank was made from.

    Attributes:
        model_sha256: Digest of the weights that were asked.
        tokenizer_sha256: `tokenizer_digest` of the encoder.
        salt: Random; key of the next digest.
        prompts_hmac: HMAC-SHA-256(salt, record ids, prompt and answer tokens, in order).
        decoding: How the model was asked, the seed included.
        samples: N, beliefs per record.
        records: Number of records.
        engine: `transformers` or `vllm`.
        created: UTC time, ISO 8601.
        unbelief: Version of this library.
    """

    model_sha256: str
    tokenizer_sha256: str
    salt: str
    prompts_hmac: str
    decoding: Decoding
    samples: int
    records: int
    engine: str = "transformers"
    created: str = field(default_factory=utc_now)
    unbelief: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BankMeta:
        """Inverse of `to_dict`; unknown or missing names raise TypeError."""
        return cls(**{**values, "decoding": Decoding.from_dict(values["decoding"])})


@dataclass(frozen=True, slots=True)
class BankStats:
    """A bank in numbers.

    Attributes:
        n: Number of beliefs.
        records: Number of records.
        mean_log_prob: Mean of the beliefs' summed log-probabilities, in nats.
        mean_tokens: Mean number of tokens, the end token included.
        finished: Share of beliefs that ended by themselves.
        targets: Number of beliefs equal to their record's own answer (suppressed twice).
        distinct: Mean over records of the share of different answers among its N.
    """

    n: int
    records: int
    mean_log_prob: float
    mean_tokens: float
    finished: float
    targets: int
    distinct: float


@dataclass(frozen=True)
class BeliefBank:
    """Exactly N beliefs about every record.

    Attributes:
        beliefs: Grouped by record, in record order, each group by index 0 .. N-1.
        meta: What they were made from.

    Raises:
        RequestError: A record has not exactly N beliefs.
    """

    beliefs: tuple[Belief, ...]
    meta: BankMeta

    def __post_init__(self) -> None:
        n = self.meta.samples
        for record_id, group in self._by_record.items():
            if [b.index for b in group] != list(range(n)):
                raise RequestError(
                    f"record {record_id!r} has {len(group)} beliefs (or not in order), not {n}",
                    remedy="sample the bank again",
                )
        if len(self._by_record) != self.meta.records:
            raise RequestError(
                f"{self.meta.records - len(self._by_record)} of {self.meta.records} records have "
                "no beliefs",
                remedy="sample the bank again; every forget prompt needs its own",
            )

    @cached_property
    def _by_record(self) -> dict[str, tuple[Belief, ...]]:
        groups: dict[str, list[Belief]] = {}
        for belief in self.beliefs:
            groups.setdefault(belief.record_id, []).append(belief)
        return {key: tuple(group) for key, group in groups.items()}

    @property
    def record_ids(self) -> tuple[str, ...]:
        """The records, in the bank's order."""
        return tuple(self._by_record)

    def rows(self, record_id: str) -> tuple[Belief, ...]:
        """Return the N beliefs about a record.

        Raises:
            RequestError: The bank knows no such record.
        """
        if record_id not in self._by_record:
            raise RequestError(f"the bank has no beliefs about record {record_id!r}", remedy=_AGAIN)
        return self._by_record[record_id]

    def stats(self) -> BankStats:
        """Summarise the bank."""
        n = len(self.beliefs)
        share = [len({b.token_ids for b in g}) / len(g) for g in self._by_record.values()]
        return BankStats(
            n=n,
            records=len(share),
            mean_log_prob=sum(b.log_prob for b in self.beliefs) / n,
            mean_tokens=sum(len(b.token_ids) for b in self.beliefs) / n,
            finished=sum(b.finished for b in self.beliefs) / n,
            targets=sum(b.is_target for b in self.beliefs),
            distinct=sum(share) / len(share),
        )

    def check(self, *, model_sha256: str, encoder: Encoder, encoded: Sequence[Encoded]) -> None:
        """Refuse to use the bank with another model, tokenizer or data than it was made with.

        Raises:
            RequestError: One of them differs; the message says which.
        """
        meta = self.meta
        now = {
            "model": (meta.model_sha256, model_sha256),
            "tokenizer": (meta.tokenizer_sha256, tokenizer_digest(encoder)),
            "records": (meta.prompts_hmac, prompts_hmac(encoded, meta.salt)),
        }
        differing = [name for name, (then, this) in now.items() if then != this]
        if differing:
            raise RequestError(
                f"the belief bank was made with another {' and '.join(differing)}", remedy=_AGAIN
            )

    def write(self, path: str | Path) -> Path:
        """Write one Parquet file, complete or not at all, readable by its owner alone."""
        return write_beliefs(path, self.beliefs, {"bank": self.meta.to_dict()})

    @classmethod
    def read(cls, path: str | Path) -> BeliefBank:
        """Read what `write` wrote.

        Raises:
            RequestError: The file is missing, no bank, damaged, or of another schema version.
        """
        beliefs, values = read_beliefs(path)
        if "bank" not in values:
            raise RequestError(
                "this is a part of an unfinished bank",
                where=str(path),
                remedy="run the command that was interrupted again; it continues",
            )
        try:
            meta = BankMeta.from_dict(values["bank"])
        except (TypeError, KeyError) as error:
            raise _damaged(path, f"its metadata does not fit ({error})") from error
        return cls(beliefs, meta)


def tokenizer_digest(encoder: Encoder) -> str:
    """SHA-256 over the vocabulary, special tokens, chat template and the encoder's choices."""
    tokenizer = encoder.tokenizer
    template = getattr(tokenizer, "chat_template", None)
    parts = [
        sorted(tokenizer.get_vocab().items()),
        sorted((k, str(v)) for k, v in tokenizer.special_tokens_map.items()),
        template if isinstance(template, str | None) else sorted(template.items()),
        encoder.describe(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prompts_hmac(encoded: Sequence[Encoded], salt: str) -> str:
    """HMAC-SHA-256 over ids, prompts and answers of all records, in order, under `salt`."""
    total = hmac.new(bytes.fromhex(salt), b"prompts", "sha256")
    for e in encoded:
        total.update(json.dumps([e.record_id, e.prompt_ids, e.answer_ids]).encode() + b"\n")
    return total.hexdigest()


def new_salt() -> str:
    """32 random hexadecimal digits."""
    return secrets.token_hex(16)


def write_beliefs(path: str | Path, beliefs: Sequence[Belief], values: Mapping[str, Any]) -> Path:
    """Write beliefs and metadata to Parquet by rename, mode 0600; missing parents are made 0700."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(b, name) for b in beliefs] for name in _schema().names}
    stored = {"schema_version": SCHEMA_VERSION, **values}
    metadata = {_META_KEY: json.dumps(stored).encode()}
    table = pa.table(columns, schema=_schema().with_metadata(metadata))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return write_private(path, sink.getvalue().to_pybytes())


def write_private(path: str | Path, content: bytes) -> Path:
    """Write a file by rename; from its first byte on only its owner can read it."""
    target = Path(path).expanduser().absolute()
    if target.is_dir():
        raise RequestError(f"{target} is a folder, not a file", remedy="name a file inside it")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_beliefs(path: str | Path) -> tuple[tuple[Belief, ...], dict[str, Any]]:
    """Read what `write_beliefs` wrote: the beliefs and the metadata."""
    import pyarrow as pa

    if not Path(path).is_file():
        raise RequestError("there is no such belief bank", where=str(path), remedy="check the path")
    try:
        table = read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, "it cannot be read as Parquet") from error
    raw = (table.schema.metadata or {}).get(_META_KEY)
    if raw is None:
        raise RequestError(
            "this Parquet file is no belief bank", where=str(path), remedy="check the path"
        )
    values: dict[str, Any] = json.loads(raw)
    if values.get("schema_version") != SCHEMA_VERSION:
        raise RequestError(
            f"the bank has schema version {values.get('schema_version')}, this program reads "
            f"{SCHEMA_VERSION}",
            where=str(path),
            remedy="sample the bank again with this version",
        )
    if not table.schema.equals(_schema()):
        raise _damaged(path, f"its columns are {table.schema.names}")
    beliefs = (Belief(**{**row, "token_ids": tuple(row["token_ids"])}) for row in table.to_pylist())
    return tuple(beliefs), values


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("record_id", pa.string(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("log_prob", pa.float64(), nullable=False),
            pa.field("finished", pa.bool_(), nullable=False),
            pa.field("is_target", pa.bool_(), nullable=False),
        ]
    )


def _damaged(path: str | Path, why: str) -> RequestError:
    return RequestError(
        f"the belief bank is damaged: {why}", where=str(path), remedy="delete it and sample again"
    )
