"""Made-up candidates and series whose indices are known on paper, and a few records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.helpers import tiny_tokenizer
from unbelief.diagnose.candidates import Candidate, CandidateMeta, CandidateSet, ProposeOptions
from unbelief.diagnose.series import Series
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

NAMES = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Felix")
RECORDS = tuple(
    Record(id=f"f{i}", prompt=f"Where does {n} live?", answer=f"In {p}.", group=f"g{i // 2}")
    for i, (n, p) in enumerate(
        zip(NAMES, ("Rome", "Paris", "Oslo", "a small house", "Lima", "Kyoto"), strict=True)
    )
)


def encoder() -> Encoder:
    return Encoder(tiny_tokenizer())


def candidate(text: str = "a", log_prob: float = -1.0, **changed: Any) -> Candidate:
    values: dict[str, Any] = {
        "record_id": "f0",
        "rank": 0,
        "band": "high",
        "token_ids": tuple(ord(c) for c in text) or (2,),
        "text": text,
        "log_prob": log_prob,
        "finished": True,
        "origin": "beam",
    }
    return Candidate(**{**values, **changed})


def meta(record_ids: Sequence[str] = ("f0",), **changed: Any) -> CandidateMeta:
    values: dict[str, Any] = {
        "record_ids": tuple(record_ids),
        "model_sha256": "m",
        "tokenizer_sha256": "t",
        "salt": "00",
        "prompts_hmac": "p",
        "options": ProposeOptions(),
        "generated": 0,
        "duplicates": 0,
        "targets": 0,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return CandidateMeta(**{**values, **changed})


def candidate_set(candidates: Sequence[Candidate], record_ids: Sequence[str]) -> CandidateSet:
    return CandidateSet(tuple(candidates), meta(record_ids))


def series(
    target: Sequence[Sequence[float]],
    high: Sequence[Sequence[float]],
    groups: Sequence[str | None] | None = None,
    **changed: Any,
) -> Series:
    """Curves of P prompts; everything but target and high band is 0."""
    t, h = np.array(target, float), np.array(high, float)
    zeros = np.zeros_like(t)
    values: Mapping[str, Any] = {
        "record_ids": tuple(f"f{i}" for i in range(len(t))),
        "groups": tuple(groups) if groups is not None else (None,) * len(t),
        "steps": tuple(range(t.shape[1])),
        "labels": tuple(str(i) for i in range(t.shape[1])),
        "target": t,
        "target_mass": zeros,
        "bands": {"high": h, "mid": zeros, "low": zeros},
        "band_masses": {"high": zeros, "mid": zeros, "low": zeros},
        "own": {"high": h, "mid": zeros, "low": zeros},
        "shared": {"high": 0.0, "mid": 0.0, "low": 0.0},
        "responses": {},
        "belief_mass": zeros,
        "entropy": zeros,
    }
    return Series(**{**values, **changed})
