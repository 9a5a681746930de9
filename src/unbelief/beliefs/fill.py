"""Filling a belief bank, so that an interrupted run continues where it was.

While a bank is being filled its finished parts lie in `.NAME.parts/` beside its place: one Parquet
file per batch, each written by rename, and `bank.json`, which says what is being filled. Noise
belongs to the record, and the batches are cut from the list of records alone, so a run that was
killed and continued gives the same bank as one that was not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unbelief.beliefs.bank import (
    BankMeta,
    BeliefBank,
    new_salt,
    prompts_hmac,
    read_beliefs,
    tokenizer_digest,
    write_beliefs,
    write_private,
)
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.errors import RequestError
from unbelief.types import Belief, Record

if TYPE_CHECKING:
    from torch import nn

    from unbelief.beliefs.batches import BatchSize
    from unbelief.tokens.encode import Encoded, Encoder


class Sampler(Protocol):
    """Asks a model: `samples` answers to each prompt; noise follows from the prompt's key."""

    def __call__(
        self, prompts: Sequence[tuple[int, ...]], keys: Sequence[str]
    ) -> list[list[Sampled]]:
        """Return the answers, per prompt in the order of their sample index."""
        ...


def fill_bank(
    model: nn.Module,
    encoder: Encoder,
    records: Sequence[Record],
    samples: int,
    decoding: Decoding,
    *,
    path: str | Path | None = None,
    model_sha256: str | None = None,
    batch_size: BatchSize = "auto",
    progress: bool = False,
) -> BeliefBank:
    """Ask the model for N beliefs about every record.

    Args:
        model: As for `sample_answers`.
        encoder: Renders prompts; its end token ends an answer.
        records: Each needs its own id.
        samples: N.
        decoding: How to ask.
        path: Where the bank is to be kept. A finished bank of the same model, data and decoding
            there is read and returned; an unfinished one is continued.
        model_sha256: Digest of the weights; `tensor_sha256` of the model when None.
        batch_size: Answers decoded at once.
        progress: Show a bar on stderr when that is a terminal.

    Returns:
        The bank, also written to `path` when that is given.

    Raises:
        RequestError: Two records share an id, or what lies at `path` was made with another model,
            other data or other options.
    """
    from unbelief.beliefs.asking import unwrap
    from unbelief.beliefs.batches import resolve_batch_size
    from unbelief.beliefs.sampler import sample_answers
    from unbelief.provenance import tensor_sha256

    decoding.check_samples(samples)
    encoded = encode_all(encoder, records)
    digest = model_sha256 or tensor_sha256(unwrap(model).state_dict())
    meta = describe(digest, encoder, encoded, samples, decoding, "transformers")
    rows = resolve_batch_size(model, [e.prompt_ids for e in encoded], decoding, batch_size)
    own = {e.record_id: e.answer_ids for e in encoded}  # which the model may know by heart

    def ask(prompts: Sequence[tuple[int, ...]], keys: Sequence[str]) -> list[list[Sampled]]:
        return sample_answers(
            model,
            encoder,
            prompts,
            decoding=decoding,
            samples=samples,
            keys=keys,
            drafts=[own[key] for key in keys],
            batch_size=rows,
            progress=progress,
        )

    per_part = max(1, rows // max(samples, decoding.num_beams))
    return fill(ask, encoder, encoded, meta, path=path, records_per_part=per_part)


def fill(
    ask: Sampler,
    encoder: Encoder,
    encoded: Sequence[Encoded],
    meta: BankMeta,
    *,
    path: str | Path | None,
    records_per_part: int,
) -> BeliefBank:
    """Fill a bank with any engine; `fill_bank` says what `path` does.

    Args:
        ask: The engine.
        encoder: Decodes the answers.
        encoded: The records.
        meta: What the bank is made from.
        path: Where to keep it, or None.
        records_per_part: Records asked at once and then kept for good.
    """
    if path is None:
        return _assemble(encoded, meta, [_part(ask, encoder, encoded, meta)])
    target = Path(path).expanduser().absolute()
    if target.exists():
        bank = BeliefBank.read(target)
        _same(bank.meta, meta, encoded, target)
        return bank
    journal = _Journal(target, encoded, meta, records_per_part)
    parts = [
        journal.load(i) or journal.keep(i, _part(ask, encoder, chunk, meta))
        for i, chunk in enumerate(journal.chunks)
    ]
    bank = _assemble(encoded, journal.meta, parts)
    bank.write(target)
    journal.remove()
    return bank


class _Journal:
    """The parts of an unfinished bank on disk."""

    def __init__(
        self, target: Path, encoded: Sequence[Encoded], meta: BankMeta, records_per_part: int
    ):
        self.folder = target.with_name(f".{target.name}.parts")
        self.meta, size = meta, records_per_part
        head = self.folder / "bank.json"
        if head.exists():
            stored = json.loads(head.read_bytes())
            self.meta, size = BankMeta.from_dict(stored["bank"]), stored["records_per_part"]
            _same(self.meta, meta, encoded, self.folder)
        else:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            values = {"bank": meta.to_dict(), "records_per_part": size}
            write_private(head, json.dumps(values).encode())
        order = sorted(range(len(encoded)), key=lambda i: (-len(encoded[i].prompt_ids), i))
        self.chunks = [
            [encoded[i] for i in order[start : start + size]]
            for start in range(0, len(order), size)
        ]

    def _file(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.parquet"

    def load(self, part: int) -> list[Belief] | None:
        if not self._file(part).exists():
            return None
        return list(read_beliefs(self._file(part))[0])

    def keep(self, part: int, beliefs: list[Belief]) -> list[Belief]:
        write_beliefs(self._file(part), beliefs, {"part": part})
        return beliefs

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def _part(
    ask: Sampler, encoder: Encoder, encoded: Sequence[Encoded], meta: BankMeta
) -> list[Belief]:
    answers = ask([e.prompt_ids for e in encoded], [e.record_id for e in encoded])
    return [
        Belief(
            record_id=e.record_id,
            index=index,
            token_ids=sampled.token_ids,
            text=encoder.decode(sampled.token_ids),
            log_prob=sampled.log_prob,
            finished=sampled.finished,
            is_target=is_target(sampled, e, end_token=encoder.end_token),
        )
        for e, its in zip(encoded, answers, strict=True)
        for index, sampled in enumerate(its)
    ]


def is_target(sampled: Sampled, encoded: Encoded, *, end_token: bool) -> bool:
    """Whether an answer is the record's own, token by token.

    Where the encoder leaves the end token out of answers, it is left out of the comparison.
    """
    ids = sampled.token_ids
    if sampled.finished and not end_token:
        ids = ids[:-1]
    return ids == encoded.answer_ids


def _assemble(
    encoded: Sequence[Encoded], meta: BankMeta, parts: Sequence[list[Belief]]
) -> BeliefBank:
    place = {e.record_id: i for i, e in enumerate(encoded)}
    beliefs = [b for part in parts for b in part]
    return BeliefBank(tuple(sorted(beliefs, key=lambda b: (place[b.record_id], b.index))), meta)


def encode_all(encoder: Encoder, records: Sequence[Record]) -> list[Encoded]:
    """Encode records whose ids differ."""
    if not records:
        raise RequestError("there are no records to ask about", remedy="give at least one")
    seen: dict[str, Record] = {}
    for record in records:
        if record.id in seen:
            raise RequestError(
                f"two records have the id {record.id!r}",
                where=record.source or None,
                remedy=f"rename one; the other is {seen[record.id].source or 'before it'}",
            )
        seen[record.id] = record
    return [encoder.encode(record) for record in records]


def describe(
    model_sha256: str,
    encoder: Encoder,
    encoded: Sequence[Encoded],
    samples: int,
    decoding: Decoding,
    engine: str,
) -> BankMeta:
    """Say what a bank is about to be made from."""
    from unbelief import __version__

    salt = new_salt()
    return BankMeta(
        model_sha256=model_sha256,
        tokenizer_sha256=tokenizer_digest(encoder),
        salt=salt,
        prompts_hmac=prompts_hmac(encoded, salt),
        decoding=decoding,
        samples=samples,
        records=len(encoded),
        engine=engine,
        unbelief=__version__,
    )


def _same(stored: BankMeta, wanted: BankMeta, encoded: Sequence[Encoded], where: Path) -> None:
    """Refuse to continue or reuse what was made from something else."""
    comparable = replace(
        wanted,
        salt=stored.salt,
        prompts_hmac=prompts_hmac(encoded, stored.salt),
        created=stored.created,
    )
    then: dict[str, Any] = stored.to_dict()
    now: dict[str, Any] = comparable.to_dict()
    differing = [name for name in then if then[name] != now[name]]
    if differing:
        raise RequestError(
            f"a belief bank is there already, and it differs in {', '.join(differing)}",
            where=str(where),
            remedy="choose another path, or delete that bank",
        )
