"""Answers sampled from a model, many at a time.

The decode loop is our own, since `model.generate` (a) draws from one global random state, so an
answer depends on what else is in its batch, (b) computes every row until the longest is done, and
(c) runs each prompt once per sample. Here a prompt is prefilled once for all its samples, noise
belongs to the row (`choose.py`), and finished rows make room for new ones (`pool.py`). Models whose
cache cannot be reindexed by rows, and beam search, go through `generate` (`generate.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unbelief.beliefs.asking import Stops, asking, check_prompts, stops_of, unwrap
from unbelief.beliefs.batches import Batch, BatchSize, Unit, halved, plan, resolve_batch_size
from unbelief.beliefs.cache import reindexable_cache
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.beliefs.generate import answers_by_generate, beams_by_generate
from unbelief.beliefs.pool import Pool

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder


# Prompts and drafts of one forward, padding included; beyond it a CPU gains nothing.
_TOKENS = {"cpu": 1024}
_TOKENS_DEVICE = 1 << 62  # what the rows of a pool were chosen for


def sample_answers(
    model: nn.Module,
    encoder: Encoder,
    prompts: Sequence[tuple[int, ...]],
    *,
    decoding: Decoding,
    samples: int = 1,
    keys: Sequence[str] | None = None,
    hidden: Sequence[tuple[int, ...]] | None = None,
    drafts: Sequence[tuple[int, ...]] | None = None,
    batch_size: BatchSize = "auto",
    progress: bool = False,
) -> list[list[Sampled]]:
    """Sample `samples` answers to every prompt.

    Args:
        model: A Transformers causal language model; DDP and LoRA wrappers are seen through. It is
            asked in eval mode and left as it was.
        encoder: Says which token ends an answer; the tokenizer's own eos ends it too.
        prompts: Token ids of each prompt, as from `Encoder.encode_prompt`.
        decoding: How to ask.
        samples: Answers per prompt.
        keys: A name per prompt from which its noise follows (default: its position). With record
            ids as keys a record's answers do not depend on the other records.
        hidden: Per prompt the positions that nothing may attend to (see `Encoded.hidden`). As in
            `generate`, what follows them does not count them in its position.
        drafts: Per prompt what its answers may begin with, such as the record's own answer: where
            they do, a forward is saved per token (`pool.py`). They change the speed only.
        batch_size: Answers decoded at once; `auto` fits them into the memory at hand. It changes
            the speed only: answers are the same up to rounding of the logits.
        progress: Show a bar on stderr when that is a terminal.

    Returns:
        Per prompt its answers, in the order of their sample index (beam search: best first).

    Raises:
        RequestError: A prompt is empty or leaves no room within the model's context, the model
            cannot be asked, or `samples` does not fit `decoding`.
    """
    decoding.check_samples(samples)
    names = [str(i) for i in range(len(prompts))] if keys is None else list(keys)
    if len(names) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(names)} keys")
    for name, given in (("hidden positions", hidden), ("drafts", drafts)):
        if given is not None and len(given) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts but {name} of {len(given)}")
    if not prompts:
        return []
    core = unwrap(model)
    check_prompts(core, prompts, decoding, stated=encoder.keeps_to_context)
    rows = resolve_batch_size(core, prompts, decoding, batch_size)
    if decoding.num_beams > 1:  # rows are beams, and a prompt's beams cannot be split
        rows = max(1, rows // decoding.num_beams) * samples
    found: dict[int, Sampled] = {}  # prompt p's sample j is number p * samples + j
    work = plan([len(p) for p in prompts], samples, rows)
    with asking(core), _bar(len(prompts) * samples, progress) as bar:
        run = _Run(core, stops_of(encoder), decoding, prompts, names, hidden, drafts, samples)
        for answers in run.all(work, rows):
            bar.update(len(answers.keys() - found.keys()))
            found |= answers
    return [[found[p * samples + j] for j in range(samples)] for p in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of `sample_answers`."""

    model: nn.Module
    stops: Stops
    decoding: Decoding
    prompts: Sequence[tuple[int, ...]]
    names: Sequence[str]
    hidden: Sequence[tuple[int, ...]] | None
    drafts: Sequence[tuple[int, ...]] | None
    samples: int

    def all(self, work: Sequence[list[Unit]], rows: int) -> Iterator[dict[int, Sampled]]:
        """Answers by number, as they are finished; `rows` are decoded at once."""
        penalised = self.decoding.is_greedy and self.stops.repetition_penalty != 1
        if self.decoding.num_beams > 1 or penalised or reindexable_cache(self.model) is None:
            return self._by_generate(work)
        return self._by_pool([unit for units in work for unit in units], rows)

    def _by_generate(self, work: Sequence[list[Unit]]) -> Iterator[dict[int, Sampled]]:
        """Run every batch; one that does not fit into the device's memory is halved."""
        beams = self.decoding.num_beams > 1
        generate = beams_by_generate if beams else answers_by_generate
        pending = list(reversed(work))
        while pending:
            units = pending.pop()
            try:
                answers = generate(self.model, self._batch(units), self.stops, self.decoding)
            except torch.OutOfMemoryError:
                halves = halved(units, by_sample=not beams)
                if not halves:
                    raise
                pending.extend(reversed(halves))
                continue
            yield dict(zip(self._places(units), answers, strict=True))

    def _by_pool(self, units: Sequence[Unit], rows: int) -> Iterator[dict[int, Sampled]]:
        """Keep a pool of at most `rows` answers filled; what does not fit is asked again."""
        pool, pending = Pool(self.model, self.stops, self.decoding), list(reversed(units))
        under_way: dict[Unit, set[int]] = {}
        while pending or len(pool):
            try:
                some = self._entering(pending, rows, pool)
                if some:
                    under_way |= {unit: set(self._places([unit])) for unit in some}
                    batch = self._batch(some)
                    places = torch.tensor(self._places(some), device=batch.keys.device)
                    answers = pool.enter(batch, places)
                else:
                    answers = pool.step()
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise
                pool.clear()
                rows //= 2
                again = [*under_way, *reversed(pending)]
                pending, under_way = list(reversed(_cut(again, rows))), {}
                continue
            under_way = {u: left for u, p in under_way.items() if (left := p - answers.keys())}
            yield answers

    def _entering(self, pending: list[Unit], rows: int, pool: Pool) -> list[Unit]:
        """Take off the list what may enter a pool of `rows` answers now.

        Prompts enter while the pool is at most half full: each entry costs a copy of the cache. On
        a CPU few tokens are run at a time, for the sake of memory.
        """
        under_way = len(pool)
        if under_way > (rows // 2 if pool.may_join else 0):
            return []
        device = next(self.model.parameters()).device
        most = _TOKENS.get(device.type, _TOKENS_DEVICE) if pool.may_join else _TOKENS_DEVICE
        some, width = list[Unit](), 0
        while pending and (not some or pending[-1].count == some[0].count):
            unit = pending[-1]
            under_way += unit.count
            width = max(width, self._tokens(unit))
            no_room = under_way > rows and (some or len(pool))
            if no_room or (some and (len(some) + 1) * width > most):
                break
            some.append(pending.pop())
        return some

    def _tokens(self, unit: Unit) -> int:
        draft = 0 if self.drafts is None else len(self.drafts[unit.prompt])
        return len(self.prompts[unit.prompt]) + min(draft, self.decoding.max_new_tokens - 1)

    def _places(self, units: Sequence[Unit]) -> list[int]:
        """Numbers of the units' answers."""
        return [u.prompt * self.samples + u.first + j for u in units for j in range(u.count)]

    def _batch(self, units: Sequence[Unit]) -> Batch:
        device = next(self.model.parameters()).device
        width = max(len(self.prompts[u.prompt]) for u in units)
        ids = torch.full((len(units), width), self.stops.pad_id)
        mask = torch.zeros((len(units), width), dtype=torch.long)
        for row, unit in enumerate(units):
            prompt = self.prompts[unit.prompt]
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
            if self.hidden is not None:
                mask[row, [width - len(prompt) + i for i in self.hidden[unit.prompt]]] = 0
        keys = [
            self.decoding.row_key(self.names[u.prompt], u.first + j)
            for u in units
            for j in range(u.count)
        ]
        noise = torch.tensor(keys, dtype=torch.long)
        return Batch(
            ids.to(device),
            mask.to(device),
            noise.to(device),
            units[0].count,
            self._drafts(units, device),
        )

    def _drafts(self, units: Sequence[Unit], device: torch.device) -> Tensor | None:
        """(P, D) tokens, -1 behind a draft's end; the last token asked for needs none."""
        most = self.decoding.max_new_tokens - 1
        drafts = [self.drafts[u.prompt][:most] for u in units] if self.drafts is not None else []
        longest = max(map(len, drafts), default=0)
        if longest == 0:
            return None
        filled = [draft + (-1,) * (longest - len(draft)) for draft in drafts]
        return torch.tensor(filled, device=device)


def _cut(units: Sequence[Unit], rows: int) -> list[Unit]:
    """Units of at most `rows` samples each."""
    return [
        Unit(u.prompt, u.first + j, min(rows, u.count - j))
        for u in units
        for j in range(0, u.count, rows)
    ]


def _bar(total: int, progress: bool) -> Any:
    from tqdm import tqdm

    # disable=None: silent when stderr is not a terminal.
    return tqdm(total=total, desc="sampling", unit="answer", disable=None if progress else True)
