"""Candidates: what the original model could have said instead of the target, cut into bands.

A candidate set holds text of the model about records that are to be forgotten. Its file is
readable by its owner alone (mode 0600) and belongs where the forget data is kept.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unbelief.beliefs.bank import prompts_hmac, tokenizer_digest, write_private
from unbelief.diagnose.bands import BANDS, Band, band_of_rank, spread_out
from unbelief.errors import RequestError
from unbelief.parquet import read_parquet
from unbelief.provenance import utc_now

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoded, Encoder

SCHEMA_VERSION = 1
_META_KEY = b"unbelief.candidates"
_AGAIN = "make new candidates, or name the file that was made with these"
_COLUMNS = ("record_id", "rank", "band", "token_ids", "text", "log_prob", "finished", "origin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeOptions:
    """How candidates are made and ranked.

    Attributes:
        source: `beam` takes the n best sequences of a beam search (the paper); `sample` samples at
            several temperatures (the authors' code).
        candidates: n per prompt: the number of beams, or of samples over all temperatures.
        temperatures: Of the sampling.
        rank_by: `sum` ranks by log π(y | x), the paper's conditional probability, which favours
            short answers; `mean` by log π(y | x) per token.
        max_new_tokens: Longest candidate; None takes the longest target plus 16.
        seed: Of the sampling.

    Raises:
        RequestError: A value is out of range.
    """

    source: Literal["beam", "sample"] = "beam"
    candidates: int = 20
    temperatures: tuple[float, ...] = (0.7, 1.0, 1.3)
    rank_by: Literal["sum", "mean"] = "sum"
    max_new_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("source", ("beam", "sample")), ("rank_by", ("sum", "mean"))):
            if getattr(self, name) not in allowed:
                raise RequestError(
                    f"{name}={getattr(self, name)!r} is not one of the choices",
                    where=name,
                    remedy=f"choose one of: {', '.join(allowed)}",
                )
        if self.candidates < 2:
            raise RequestError(
                f"{self.candidates} candidates cannot be cut into bands",
                where="candidates",
                remedy="give 2 or more; below 3 the mid band is empty",
            )
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise RequestError(
                f"max_new_tokens={self.max_new_tokens}",
                where="max_new_tokens",
                remedy="give 1 or more",
            )
        if self.source == "sample" and not all(t > 0 for t in self.temperatures or (0.0,)):
            raise RequestError(
                f"temperatures {list(self.temperatures)} cannot be sampled at",
                where="temperatures",
                remedy="give one or more above 0",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer other than the target.

    Attributes:
        record_id: The forget record whose prompt was asked.
        rank: 0 is the likeliest of its prompt.
        band: Where its rank falls.
        token_ids: As generated, the end token included when it came.
        text: The same without special tokens.
        log_prob: Σ log π (nats) under the original model, at temperature 1.
        finished: False when the length limit cut it.
        origin: `beam`, or `sample T=0.7`.
    """

    record_id: str
    rank: int
    band: Band
    token_ids: tuple[int, ...]
    text: str
    log_prob: float
    finished: bool
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateMeta:
    """What a set was made from.

    Attributes:
        record_ids: The records asked about, in order; one may have no candidates.
        model_sha256: Digest of the original model's weights.
        tokenizer_sha256: `tokenizer_digest` of the encoder.
        salt: Random; key of the next digest.
        prompts_hmac: HMAC-SHA-256(salt, ids, prompt and answer tokens of these records, in order).
        options: How candidates were made.
        generated: Sequences the search or the sampling gave.
        duplicates: Of these, equal to a likelier one after normalisation.
        targets: Of these, equal to the record's own answer, which is set apart.
        created: UTC time, ISO 8601.
    """

    record_ids: tuple[str, ...]
    model_sha256: str
    tokenizer_sha256: str
    salt: str
    prompts_hmac: str
    options: ProposeOptions
    generated: int
    duplicates: int
    targets: int
    created: str = field(default_factory=utc_now)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CandidateMeta:
        """Inverse of `dataclasses.asdict` after JSON; unknown or missing names raise TypeError."""
        options = dict(values["options"])
        options["temperatures"] = tuple(options["temperatures"])
        given = {**values, "record_ids": tuple(values["record_ids"])}
        return cls(**{**given, "options": ProposeOptions(**options)})


@dataclass(frozen=True)
class CandidateSet:
    """Candidates of some records, ranked and cut into bands."""

    candidates: tuple[Candidate, ...]
    meta: CandidateMeta

    @cached_property
    def _by_record(self) -> dict[str, tuple[Candidate, ...]]:
        groups: dict[str, list[Candidate]] = {name: [] for name in self.meta.record_ids}
        for candidate in self.candidates:
            groups[candidate.record_id].append(candidate)
        return {name: tuple(sorted(group, key=lambda c: c.rank)) for name, group in groups.items()}

    def of(self, record_id: str) -> tuple[Candidate, ...]:
        """The candidates of a record, the likeliest first; () when there are none."""
        return self._by_record[record_id]

    def thinned(self, per_band: int) -> CandidateSet:
        """At most so many candidates of each band of each record, evenly spaced within the band."""
        kept = []
        for name in self.meta.record_ids:
            for band in BANDS:
                own = [c for c in self.of(name) if c.band == band]
                kept += [own[i] for i in spread_out(len(own), per_band)]
        return CandidateSet(tuple(kept), self.meta)

    def check(self, *, model_sha256: str, encoder: Encoder, encoded: Mapping[str, Encoded]) -> None:
        """Refuse to use the set with another model, tokenizer or data than it was made with.

        Args:
            model_sha256: Digest of the original model.
            encoder: Of the records.
            encoded: The forget records by id; more than the set's are allowed.

        Raises:
            RequestError: Something differs; the message says what.
        """
        meta = self.meta
        absent = [name for name in meta.record_ids if name not in encoded]
        own = [encoded[name] for name in meta.record_ids if name in encoded]
        same = {
            "model": meta.model_sha256 == model_sha256,
            "tokenizer": meta.tokenizer_sha256 == tokenizer_digest(encoder),
            "records": not absent and meta.prompts_hmac == prompts_hmac(own, meta.salt),
        }
        if not all(same.values()):
            differing = " and ".join(name for name, fits in same.items() if not fits)
            raise RequestError(
                f"the candidates were made with another {differing}",
                where="candidates",
                remedy=_AGAIN,
            )

    def write(self, path: str | Path) -> Path:
        """Write one Parquet file, complete or not at all, readable by its owner alone."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        stored = {"schema_version": SCHEMA_VERSION, "meta": asdict(self.meta)}
        columns = {name: [getattr(c, name) for c in self.candidates] for name in _COLUMNS}
        types = {
            "rank": pa.int32(),
            "token_ids": pa.list_(pa.int32()),
            "log_prob": pa.float64(),
            "finished": pa.bool_(),
        }
        schema = pa.schema([(name, types.get(name, pa.string())) for name in _COLUMNS])
        metadata = {_META_KEY: json.dumps(stored).encode()}
        sink = pa.BufferOutputStream()
        table = pa.table(columns, schema=schema.with_metadata(metadata))
        pq.write_table(table, sink, compression="zstd")
        return write_private(path, sink.getvalue().to_pybytes())

    @classmethod
    def read(cls, path: str | Path) -> CandidateSet:
        """Read what `write` wrote.

        Raises:
            RequestError: The file is missing, something else, damaged, or of another version.
        """
        import pyarrow as pa

        try:
            table = read_parquet(path)
            stored = json.loads((table.schema.metadata or {})[_META_KEY])
            if stored["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"its version is {stored['schema_version']}, not {SCHEMA_VERSION}")
            meta = CandidateMeta.from_dict(stored["meta"])
            rows = table.select(list(_COLUMNS)).to_pylist()
            found = [Candidate(**{**r, "token_ids": tuple(r["token_ids"])}) for r in rows]
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            reason = "there is no such file" if not Path(path).exists() else _first_line(error)
            raise RequestError(
                f"cannot read candidates: {reason}",
                where=str(path),
                remedy="name a candidates.parquet that `unbelief diagnose squeeze` wrote",
            ) from error
        return cls(tuple(found), meta)


def ranked(
    found: Sequence[Candidate], target: str, rank_by: Literal["sum", "mean"]
) -> tuple[list[Candidate], int, int]:
    """Set the target apart, drop duplicates, rank and cut one prompt's candidates.

    Args:
        found: In any order; their ranks and bands are replaced.
        target: Text of the record's own answer.
        rank_by: See `ProposeOptions`.

    Returns:
        The candidates, the likeliest first; the number of duplicates; the number of targets.
    """
    own = normalised(target)

    def likelihood(c: Candidate) -> float:
        return c.log_prob if rank_by == "sum" else c.log_prob / len(c.token_ids)

    # Token ids decide between equals, so that the order of arrival never does.
    order = sorted(found, key=lambda c: (-likelihood(c), c.token_ids))
    kept: dict[str, Candidate] = {}
    targets = 0
    for candidate in order:
        text = normalised(candidate.text)
        if text == own:
            targets += 1
        else:
            kept.setdefault(text, candidate)
    bands = band_of_rank(len(kept))
    cut = [
        replace(c, rank=i, band=band)
        for i, (c, band) in enumerate(zip(kept.values(), bands, strict=True))
    ]
    return cut, len(found) - targets - len(kept), targets


def normalised(text: str) -> str:
    """Compatibility forms unified (NFKC), case folded, blanks collapsed, final stops dropped."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).rstrip(" .!?。")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
