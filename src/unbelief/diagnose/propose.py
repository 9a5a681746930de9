"""Making candidates: the original model is searched, or asked many times."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from unbelief.beliefs.asking import unwrap
from unbelief.beliefs.bank import new_salt, prompts_hmac, tokenizer_digest
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.beliefs.sampler import sample_answers
from unbelief.diagnose.candidates import (
    Candidate,
    CandidateMeta,
    CandidateSet,
    ProposeOptions,
    ranked,
)
from unbelief.errors import RequestError
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

_ROOM = 16  # tokens a candidate may be longer than the longest target


def choose_records(records: Sequence[Record], n: int | None, seed: int = 0) -> list[Record]:
    """At most n records that can be asked about, whatever order they come in.

    Args:
        records: The forget records.
        n: How many; None takes all.
        seed: Decides which.

    Raises:
        RequestError: No record has a prompt, or two have the same id.
    """
    asked = [r for r in records if r.prompt is not None]
    if not asked:
        raise RequestError(
            "no record has a prompt, so the model cannot be asked for other answers",
            where="forget",
            remedy="name data with prompt and answer columns",
        )
    if len({r.id for r in asked}) < len(asked):
        raise RequestError("two records have the same id", where="forget", remedy="rename one")
    if n is not None and n < 1:
        raise RequestError(f"{n} prompts", where="prompts", remedy="give 1 or more")

    def draw(record: Record) -> bytes:
        return hashlib.blake2b(f"{seed}\0{record.id}".encode(), digest_size=16).digest()

    chosen = {r.id for r in sorted(asked, key=draw)[:n]}
    return [r for r in asked if r.id in chosen]


def propose_candidates(
    model: nn.Module,
    encoder: Encoder,
    records: Sequence[Record],
    options: ProposeOptions,
    *,
    model_sha256: str,
    progress: bool = False,
) -> CandidateSet:
    """Ask the original model for other answers to the prompts of some records.

    Args:
        model: The original model; left as it was.
        encoder: Records to tokens.
        records: With prompts and different ids, as from `choose_records`.
        options: How.
        model_sha256: Digest of the model's weights, for the record.
        progress: Show a bar on stderr when that is a terminal.

    Raises:
        RequestError: The model's context leaves no room for candidates that long.
    """
    encoded = [encoder.encode(r) for r in records]
    prompts = [e.prompt_ids for e in encoded]
    longest = options.max_new_tokens or max(len(e.answer_ids) for e in encoded) + _ROOM
    if options.max_new_tokens is None:
        longest = min(longest, _room(model, max(map(len, prompts))))
    keys = [r.id for r in records]
    found: list[list[Candidate]] = [[] for _ in records]
    for origin, decoding, n in _ways(options, longest):
        answers = sample_answers(
            model,
            encoder,
            prompts,
            decoding=decoding,
            samples=n,
            keys=[f"{key}@{origin}" for key in keys],
            progress=progress,
        )
        for key, own, its in zip(keys, found, answers, strict=True):
            own += [_candidate(key, encoder, one, origin) for one in its]
    parts = [
        ranked(own, encoder.decode(e.answer_ids), options.rank_by)
        for own, e in zip(found, encoded, strict=True)
    ]
    salt = new_salt()
    meta = CandidateMeta(
        record_ids=tuple(keys),
        model_sha256=model_sha256,
        tokenizer_sha256=tokenizer_digest(encoder),
        salt=salt,
        prompts_hmac=prompts_hmac(encoded, salt),
        options=options,
        generated=sum(map(len, found)),
        duplicates=sum(dropped for _, dropped, _ in parts),
        targets=sum(targets for _, _, targets in parts),
    )
    return CandidateSet(tuple(c for cut, _, _ in parts for c in cut), meta)


def _ways(options: ProposeOptions, longest: int) -> list[tuple[str, Decoding, int]]:
    """Name, decoding and number of answers of each pass over the prompts."""
    n = options.candidates
    if options.source == "beam":
        return [("beam", Decoding(num_beams=n, max_new_tokens=longest), n)]
    ways = []
    for i, temperature in enumerate(options.temperatures):
        parts = len(options.temperatures)
        share = n * (i + 1) // parts - n * i // parts
        decoding = Decoding(temperature=temperature, max_new_tokens=longest, seed=options.seed)
        if share:
            ways.append((f"sample T={temperature:g}", decoding, share))
    return ways


def _room(model: nn.Module, prompt: int) -> int:
    """Tokens the model's context leaves beside the longest prompt; at least one, for the check."""
    whole: Any = unwrap(model).config
    context = getattr(whole.get_text_config(decoder=True), "max_position_embeddings", None)
    return 10**9 if context is None else max(1, context - prompt)


def _candidate(record_id: str, encoder: Encoder, sampled: Sampled, origin: str) -> Candidate:
    return Candidate(
        record_id=record_id,
        rank=0,
        band="high",
        token_ids=sampled.token_ids,
        text=encoder.decode(sampled.token_ids),
        log_prob=sampled.log_prob,
        finished=sampled.finished,
        origin=origin,
    )
