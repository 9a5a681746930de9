"""What one model, or one moment of a run, says about targets, candidates and responses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unbelief.beliefs.bank import write_private
from unbelief.errors import RequestError
from unbelief.parquet import read_parquet

Role = Literal["target", "candidate", "response"]
_META_KEY = b"unbelief.squeeze-point"
_TEXTS = ("record_id", "role", "name")
_WHOLE = ("tokens", "own_tokens")
_NUMBERS = ("log_prob", "own_log_prob", "mass", "entropy")
_COLUMNS = (*_TEXTS, *_WHOLE, *_NUMBERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One answer under one model.

    Attributes:
        record_id: Whose prompt.
        role: What the answer is.
        name: Rank of a candidate, name of a response, `target` for the target.
        log_prob: Σ log π(y_i | x, y_<i), nats. NaN where the model gave NaN.
        tokens: Number of its tokens, the end token included.
        own_log_prob: The part of `log_prob` from the first token on in which the answer differs
            from the target, given what they share: log π of leaving the target and going on.
            None for targets, and where it ends before it differs.
        own_tokens: Number of these tokens; likewise.
        mass: Mean over the target's tokens of S_k, the probability of the model's own top k
            tokens; None for other roles.
        entropy: Mean over the target's tokens of the entropy of π(· | x, y_<i), nats; likewise.
    """

    record_id: str
    role: Role
    name: str
    log_prob: float
    tokens: int
    own_log_prob: float | None = None
    own_tokens: int | None = None
    mass: float | None = None
    entropy: float | None = None

    @property
    def per_token(self) -> float:
        """Mean log-probability of its tokens, nats."""
        return self.log_prob / self.tokens

    @property
    def own_per_token(self) -> float | None:
        """The same of its own part, or None."""
        if self.own_log_prob is None or not self.own_tokens:
            return None
        return self.own_log_prob / self.own_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """All readings of one model, or of one moment of a run.

    Attributes:
        step: Place along the series; the original is 0.
        label: How it is called.
        readings: One per answer.
        weights_sha256: Digest of the weights, where they were read from files.
    """

    step: int
    label: str
    readings: tuple[Reading, ...]
    weights_sha256: str | None = None

    def write(self, folder: Path) -> Path:
        """Write one Parquet file into a folder, complete or not at all, for its owner alone."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {"step": self.step, "label": self.label, "weights_sha256": self.weights_sha256}
        schema = pa.schema(
            [
                *((name, pa.string()) for name in _TEXTS),
                *((name, pa.int32()) for name in _WHOLE),
                *((name, pa.float64()) for name in _NUMBERS),
            ],
            metadata={_META_KEY: json.dumps(about).encode()},
        )
        columns = {name: [getattr(r, name) for r in self.readings] for name in _COLUMNS}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
        return write_private(point_file(folder, self.step), sink.getvalue().to_pybytes())

    @classmethod
    def read(cls, path: Path) -> Point:
        """Read what `write` wrote.

        Raises:
            RequestError: The file is something else, or damaged.
        """
        import pyarrow as pa

        try:
            table = read_parquet(path)
            about = json.loads((table.schema.metadata or {})[_META_KEY])
            readings = tuple(Reading(**row) for row in table.select(list(_COLUMNS)).to_pylist())
            return cls(readings=readings, **about)
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise RequestError(
                "this is no point of a squeeze diagnosis, or it is damaged",
                where=str(path),
                remedy="remove it and run the command again; it measures what is missing",
            ) from error


def point_file(folder: Path, step: int) -> Path:
    """Where a point is kept."""
    return folder / f"point-{step:06d}.parquet"


def read_points(folder: Path) -> list[Point]:
    """All points of a folder, by step."""
    return [Point.read(path) for path in sorted(folder.glob("point-*.parquet"))]


def check_steps(points: Sequence[Point]) -> None:
    """Refuse a series without its start.

    Raises:
        RequestError: There is no point 0, with which everything is compared.
    """
    if not points or points[0].step != 0:
        raise RequestError(
            "the original model was not measured, so nothing can be compared with it",
            where="step 0",
            remedy="start the run anew with --restart",
        )
