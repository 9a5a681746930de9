"""Beliefs for training: sampled before it, or again while it goes on, by one process or several."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from unbelief import processes
from unbelief.beliefs.alternatives import asking_for_another, drawn_refusals
from unbelief.beliefs.bank import BeliefBank, prompts_hmac
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.fill import fill_bank
from unbelief.beliefs.transplant import Wanted, transplant, write_report
from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, AlternativeTerm, ForgetTerm
from unbelief.objectives.forget.transplant import Transplant
from unbelief.tokens import Encoder
from unbelief.train.plan import Beliefs
from unbelief.train.preparation import Prepared
from unbelief.types import Record


class BeliefSupply:
    """The beliefs in force at each step.

    Args:
        initial: Beliefs sampled before training, by record id; empty without BS-S.
        refresh_every: Steps between samplings (0: never again).
        sample: Samples anew for a generation number, from the current weights.
        restore: Reads the beliefs of a generation that an earlier start of this run wrote.
    """

    def __init__(
        self,
        initial: Beliefs,
        *,
        refresh_every: int = 0,
        sample: Callable[[int], Beliefs] | None = None,
        restore: Callable[[int], Beliefs] | None = None,
    ):
        self.beliefs, self.generation = initial, 0
        self._every, self._sample, self._restore = refresh_every, sample, restore

    def at(self, step: int) -> tuple[Beliefs, int]:
        """Beliefs for a step, sampled or restored when it is time."""
        if not self._every or self._sample is None or self._restore is None:
            return self.beliefs, 0
        wanted = step // self._every
        if wanted != self.generation:
            due_now = step % self._every == 0
            self.beliefs = self._sample(wanted) if due_now else self._restore(wanted)
            self.generation = wanted
        return self.beliefs, self.generation


def token_ids(bank: BeliefBank) -> Beliefs:
    """A bank as the rows of a plan want it."""
    return {name: [b.token_ids for b in bank.rows(name)] for name in bank.record_ids}


def asks_model(term: ForgetTerm) -> bool:
    """Whether a term needs answers of the model before training: beliefs or alternatives."""
    own = isinstance(term, AlternativeTerm) and term.alternatives == "model"
    return own or isinstance(term, BSS | Transplant)


def questions(term: ForgetTerm, records: Sequence[Record]) -> Sequence[Record]:
    """What the model is asked: the records' own prompts, or for another answer to them."""
    if isinstance(term, AlternativeTerm):
        return [asking_for_another(record) for record in records]
    return records


def alternatives_of(
    term: ForgetTerm,
    bank: BeliefBank | None,
    encoder: Encoder,
    records: Sequence[Record],
    seed: int,
) -> Beliefs:
    """The alternatives of every record; empty for terms that see none."""
    if not isinstance(term, AlternativeTerm | Transplant):
        return {}
    if bank is not None:
        return token_ids(bank)
    return drawn_refusals(encoder, records, term.samples, seed)


def decoding_of(
    term: BSS | AlternativeTerm | Transplant, seed: int, generation: int = 0
) -> Decoding:
    """How the model is asked; every generation has noise of its own."""
    return Decoding(
        temperature=term.sampling_temperature,
        top_k=term.sampling_top_k if isinstance(term, BSS) else 0,
        max_new_tokens=term.max_new_tokens,
        seed=seed + 1_000_003 * generation,
    )


def sample_bank(
    model: AnswerModel,
    encoder: Encoder,
    records: Sequence[Record],
    samples: int,
    decoding: Decoding,
    path: Path,
    *,
    model_sha256: str | None = None,
    progress: bool = False,
) -> BeliefBank:
    """N beliefs about every record, written to `path`; each process asks about its share.

    Noise belongs to the record, so the bank does not depend on the number of processes. An
    interrupted call is continued by the next one.

    Args:
        model: The model as it is now.
        encoder: Renders prompts.
        records: All records; there are at least as many as processes.
        samples: N.
        decoding: How to ask.
        path: Where the bank is to be kept.
        model_sha256: Digest of the weights; computed when None.
        progress: Show a bar.
    """
    rank, size = processes.world()
    finished = processes.on_main(lambda: BeliefBank.read(path) if path.exists() else None)
    if finished is not None and size > 1:
        return finished
    own = path if size == 1 else path.with_name(f"{path.stem}.{rank}-of-{size}.parquet")
    share = fill_bank(
        model.model,
        encoder,
        records[rank::size],
        samples,
        decoding,
        path=own,
        model_sha256=model_sha256,
        progress=progress and processes.is_main(),
    )
    if size == 1:
        return share
    shares = processes.gather(share)
    bank = processes.on_main(lambda: _merged(shares, encoder, records, path))
    own.unlink()
    return bank


def transplant_bank(
    term: Transplant, ready: Prepared, seed: int, path: Path, *, progress: bool = False
) -> BeliefBank:
    """The beliefs that are taught, about every record to forget.

    Written to `path`; beside it the raw answers (`asked-...`), which are asked for once however
    often the run is started again, and the report (`.json`).

    Args:
        term: What is wanted.
        ready: Model and data.
        seed: Of names and sampling.
        path: Where the bank is to be kept.
        progress: Show a bar.
    """
    wanted = Wanted(
        neighbours=term.neighbours,
        samples=term.samples,
        names=term.names,
        leaks=term.leaks,
        seed=seed,
    )

    def ask(records: Sequence[Record], draws: int) -> BeliefBank:
        return sample_bank(
            ready.model,
            ready.encoder,
            records,
            draws,
            decoding_of(term, seed),
            path.with_name(f"asked-{path.name}"),
            model_sha256=ready.loaded.weights_sha256,
            progress=progress,
        )

    bank, report = transplant(
        ask, ready.encoder, ready.forget_records, ready.retain_records, wanted
    )

    def write() -> None:
        bank.write(path)
        write_report(path.with_suffix(".json"), report)

    processes.on_main(write)
    return bank


def forget_bank(path: Path) -> None:
    """Remove a bank and whatever an interrupted sampling left of it."""
    stem = path.stem
    for entry in [path, *path.parent.glob(f".{stem}*.parts"), *path.parent.glob(f"{stem}.*-of-*")]:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def _merged(
    shares: Sequence[BeliefBank], encoder: Encoder, records: Sequence[Record], path: Path
) -> BeliefBank:
    meta = shares[0].meta
    encoded = [encoder.encode(record) for record in records]
    by_record = {name: share.rows(name) for share in shares for name in share.record_ids}
    bank = BeliefBank(
        tuple(belief for record in records for belief in by_record[record.id]),
        replace(meta, records=len(records), prompts_hmac=prompts_hmac(encoded, meta.salt)),
    )
    bank.write(path)
    return bank
