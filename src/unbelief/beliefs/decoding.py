"""How a model is asked: every choice that shapes a sampled answer, in one frozen record.

A library's silent defaults (top_k = 50, a checkpoint's own generation_config.json) are never part
of it: what is not written here does not happen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unbelief.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Decoding options. The default samples from the model's own distribution, nothing cut off.

    The order is temperature, then top_k, then top_p. No penalty of any kind exists.

    Attributes:
        temperature: Logits are divided by it; 0 is greedy decoding.
        top_k: Keep the k most probable tokens (ties with the k-th are kept); 0 keeps all.
        top_p: Keep the smallest set of most probable tokens with at least this mass; 1 keeps all.
        max_new_tokens: Longest answer, its end token included; what is cut there is unfinished.
        num_beams: Above 1: beam search, whose n best sequences by summed log-probability are the
            answers. Deterministic, so temperature, top_k and top_p must be left alone.
        seed: With the prompt's key and the sample's index it decides every random choice.

    Raises:
        RequestError: A value is out of range, or an option would be ignored.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 128
    num_beams: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.temperature < float("inf"), "temperature", "0 (greedy) or above")
        _require(self.top_k >= 0, "top_k", "0 (all tokens) or above")
        _require(0 < self.top_p <= 1, "top_p", "above 0 and at most 1")
        _require(self.max_new_tokens >= 1, "max_new_tokens", "1 or more")
        _require(self.num_beams >= 1, "num_beams", "1 (no beam search) or more")
        if self.num_beams > 1 and not self.cuts_nothing:
            raise RequestError(
                "beam search ranks by the model's own log-probabilities; temperature, top_k and "
                "top_p would be ignored",
                where="num_beams",
                remedy="leave them at their defaults, or set num_beams=1",
            )

    @property
    def is_greedy(self) -> bool:
        """Whether one deterministic answer, the most probable token at each step, is asked for."""
        return self.temperature == 0 and self.num_beams == 1

    @property
    def cuts_nothing(self) -> bool:
        """Whether answers are drawn from the model's own distribution as it is."""
        return self.temperature == 1 and self.top_k == 0 and self.top_p == 1

    def check_samples(self, samples: int) -> None:
        """Refuse a number of answers per prompt that these options cannot give.

        Raises:
            RequestError: Below 1, several greedy answers, or more answers than beams.
        """
        _require(samples >= 1, "samples", "1 or more")
        if self.is_greedy and samples > 1:
            raise RequestError(
                f"greedy decoding gives one answer, {samples} would be copies of it",
                where="samples",
                remedy="set samples=1, or a temperature above 0",
            )
        if self.num_beams > 1 and samples > self.num_beams:
            raise RequestError(
                f"{self.num_beams} beams cannot give {samples} answers",
                where="num_beams",
                remedy=f"set num_beams={samples} or more",
            )

    def row_key(self, prompt_key: str, sample: int) -> int:
        """64 bits (signed) from which all noise of one answer follows.

        They depend on the seed, the prompt's key and the sample's index alone: an answer is the
        same whatever else is asked in the same batch.
        """
        text = f"{self.seed}\0{prompt_key}\0{sample}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decoding:
        """Inverse of `to_dict`; unknown or missing names raise TypeError."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled answer.

    Attributes:
        token_ids: As sampled, the end token included when it was.
        log_prob: Summed log-probability (nats) under the model at temperature 1.
        finished: Whether it ended by itself; False when `max_new_tokens` cut it.
    """

    token_ids: tuple[int, ...]
    log_prob: float
    finished: bool


def _require(ok: bool, where: str, allowed: str) -> None:
    if not ok:
        raise RequestError(f"{where} is out of range", where=where, remedy=f"give {allowed}")
