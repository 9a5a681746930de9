"""Answers sampled from a model, many at a time.

The decode loop is our own, since `model.generate` (a) draws from one global random state, so an
answer depends on what else is in its batch, (b) computes every row until the longest is done, and
(c) runs each prompt once per sample. Here a prompt is prefilled once for all its samples, noise
belongs to the row (`choose.py`), and finished rows leave the batch and the cache. Models whose
cache cannot be reindexed by rows, and beam search, go through `generate` (`generate.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unbelief.beliefs.asking import Stops, asking, check_prompts, next_logits, stops_of, unwrap
from unbelief.beliefs.batches import Batch, BatchSize, Unit, halved, plan, resolve_batch_size
from unbelief.beliefs.cache import reindexable_cache
from unbelief.beliefs.choose import choose
from unbelief.beliefs.decoding import Decoding, Sampled
from unbelief.beliefs.generate import answers_by_generate, beams_by_generate

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

_COMPACT_SHARE = 8  # rows leave once an eighth of the batch is finished: copying costs one step


def sample_answers(
    model: nn.Module,
    encoder: Encoder,
    prompts: Sequence[tuple[int, ...]],
    *,
    decoding: Decoding,
    samples: int = 1,
    keys: Sequence[str] | None = None,
    hidden: Sequence[tuple[int, ...]] | None = None,
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
    if hidden is not None and len(hidden) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but hidden positions of {len(hidden)}")
    if not prompts:
        return []
    core = unwrap(model)
    check_prompts(core, prompts, decoding)
    rows = resolve_batch_size(core, prompts, decoding, batch_size)
    if decoding.num_beams > 1:  # rows are beams, and a prompt's beams cannot be split
        rows = max(1, rows // decoding.num_beams) * samples
    found: dict[tuple[int, int], Sampled] = {}
    work = plan([len(p) for p in prompts], samples, rows)
    with asking(core), _bar(len(prompts) * samples, progress) as bar:
        run = _Run(core, stops_of(encoder), decoding, prompts, names, hidden)
        for units, answers in run.all(work):
            for unit, its in zip(units, answers, strict=True):
                found.update({(unit.prompt, unit.first + j): s for j, s in enumerate(its)})
                bar.update(len(its))
    return [[found[p, j] for j in range(samples)] for p in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of `sample_answers`."""

    model: nn.Module
    stops: Stops
    decoding: Decoding
    prompts: Sequence[tuple[int, ...]]
    names: Sequence[str]
    hidden: Sequence[tuple[int, ...]] | None

    def all(self, work: Sequence[list[Unit]]) -> Iterator[tuple[list[Unit], list[list[Sampled]]]]:
        """Run every batch; one that does not fit into the device's memory is halved."""
        pending = list(reversed(work))
        while pending:
            units = pending.pop()
            try:
                answers = self._decode(units)
            except torch.OutOfMemoryError:
                halves = halved(units, by_sample=self.decoding.num_beams == 1)
                if not halves:
                    raise
                pending.extend(reversed(halves))
                continue
            yield units, answers

    def _decode(self, units: list[Unit]) -> list[list[Sampled]]:
        batch = self._batch(units)
        if self.decoding.num_beams > 1:
            rows = beams_by_generate(self.model, batch, self.stops, self.decoding)
        else:
            past = reindexable_cache(self.model)
            if past is None:
                rows = answers_by_generate(self.model, batch, self.stops, self.decoding)
            else:
                rows = decode(self.model, batch, self.stops, self.decoding, past)
        n = batch.samples
        return [rows[i * n : (i + 1) * n] for i in range(len(units))]

    def _batch(self, units: list[Unit]) -> Batch:
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
        return Batch(ids.to(device), mask.to(device), noise.to(device), units[0].count)


def decode(
    model: nn.Module, batch: Batch, stops: Stops, decoding: Decoding, past: Any
) -> list[Sampled]:
    """Decode a batch token by token; rows leave it when they are finished.

    Args:
        model: In eval mode, no gradients.
        batch: What to decode.
        stops: End and padding tokens.
        decoding: How; not beam search.
        past: Empty cache, with layers that can be reindexed by rows.

    Returns:
        R answers in row order.
    """
    limit, n = decoding.max_new_tokens, batch.samples
    width, count = batch.input_ids.shape[1], batch.keys.shape[0]
    device = batch.input_ids.device
    ends = torch.tensor(stops.end_ids, device=device, dtype=torch.long)
    logits = next_logits(model, batch.input_ids, batch.mask, batch.positions, past)
    if n > 1:
        past.batch_repeat_interleave(n)
        logits = logits.repeat_interleave(n, dim=0)
    mask = torch.ones((count, width + limit), dtype=torch.long, device=device)
    mask[:, :width] = batch.mask.repeat_interleave(n, dim=0)
    tokens = torch.full((count, limit), stops.pad_id, device=device)
    log_probs = torch.zeros((count, limit), device=device)
    lengths = torch.full((count,), limit, device=device)
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    # Of the rows still in the batch: their number, noise key, position, and whether they go on.
    row, keys = torch.arange(count, device=device), batch.keys
    position = mask[:, :width].sum(-1)
    running = torch.ones(count, dtype=torch.bool, device=device)
    for step in range(limit):
        token, log_prob = choose(logits, keys, step, decoding)
        tokens[row, step], log_probs[row, step] = token, log_prob
        stop = running & torch.isin(token, ends)
        lengths[row[stop]] = step + 1
        ended[row[stop]] = True
        running = running & ~stop
        left = int(running.sum())
        if left == 0 or step + 1 == limit:
            break
        if len(row) - left >= max(1, len(row) // _COMPACT_SHARE):
            keep = running.nonzero()[:, 0]
            past.batch_select_indices(keep)
            row, keys, position = row[keep], keys[keep], position[keep]
            token, running, mask = token[keep], running[keep], mask[keep]
        seen = mask[:, : width + step + 1]
        logits = next_logits(model, token[:, None], seen, (position + step)[:, None], past)
    return _gather(tokens, log_probs, lengths, ended)


def _gather(tokens: Tensor, log_probs: Tensor, lengths: Tensor, ended: Tensor) -> list[Sampled]:
    columns = (t.cpu().tolist() for t in (tokens, log_probs.double(), lengths, ended))
    return [
        Sampled(tuple(ids[:length]), math.fsum(each[:length]), end)
        for ids, each, length, end in zip(*columns, strict=True)
    ]


def _bar(total: int, progress: bool) -> Any:
    from tqdm import tqdm

    # disable=None: silent when stderr is not a terminal.
    return tqdm(total=total, desc="sampling", unit="answer", disable=None if progress else True)
