"""Decoding token by token, in a pool that finished rows leave and new ones enter.

Where it is known what an answer may be (the record's own, which the model may have by heart), this
*draft* is run along with the prompt, in one forward, and the choice is made at each of its
positions as ever. While the choice is the draft's token, the logits of the next position are there
already: a forward saved per token, and answers that are the same, up to rounding of the logits,
since the noise of a choice belongs to row and step (`choose.py`). Nothing is drawn again, as it is
where a smaller model drafts (Leviathan, Kalman and Matias, "Fast inference from transformers via
speculative decoding", ICML 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from unbelief.beliefs.asking import Stops, drafting_head, next_logits
from unbelief.beliefs.batches import Batch
from unbelief.beliefs.cache import can_join, cut_columns, joined_cache, reindexable_cache
from unbelief.beliefs.choose import choose
from unbelief.beliefs.decoding import Decoding, Sampled

_COMPACT_SHARE = 8  # rows leave once an eighth of the pool is finished: copying costs one step


@dataclass(frozen=True, slots=True)
class Rows:
    """Answers under way. R rows, C columns of cache, at most `limit` tokens.

    Attributes:
        place: (R,) the caller's number of each answer.
        keys: (R,) noise key.
        steps: (R,) tokens it has.
        position: (R,) position of its last token, which the cache lacks.
        running: (R,) bool, whether it goes on.
        ended: (R,) bool, whether its last token ends it.
        tokens: (R, limit + 1) its tokens; what is behind `steps` means nothing.
        log_probs: (R, limit + 1) their log-probabilities, nats.
        mask: (R, C) 1 on columns it sees.
    """

    place: Tensor
    keys: Tensor
    steps: Tensor
    position: Tensor
    running: Tensor
    ended: Tensor
    tokens: Tensor
    log_probs: Tensor
    mask: Tensor

    def select(self, index: Tensor) -> Rows:
        """The rows `index`, in that order."""
        return Rows(*(getattr(self, f.name)[index] for f in fields(self)))

    def below(self, other: Rows) -> Rows:
        """These rows, then others; the narrower mask is filled up on the left."""
        width = max(self.mask.shape[1], other.mask.shape[1])
        masks = [nn.functional.pad(r.mask, (width - r.mask.shape[1], 0)) for r in (self, other)]
        names = [f.name for f in fields(self) if f.name != "mask"]
        rest = {n: torch.cat((getattr(self, n), getattr(other, n))) for n in names}
        return Rows(**rest, mask=torch.cat(masks))

    def unseen(self) -> int:
        """How many columns at the left no row sees."""
        return int(self.mask.any(dim=0).long().argmax())

    def note(self, row: Tensor, token: Tensor, log_prob: Tensor, ends: Tensor, limit: int) -> None:
        """Add a token to the rows `row`, in place; a row that no longer runs keeps its count."""
        runs, steps = self.running[row], self.steps[row]
        self.tokens[row, steps], self.log_probs[row, steps] = token, log_prob
        stops = runs & torch.isin(token, ends)
        self.ended[row] |= stops
        self.steps[row] = steps = steps + runs.long()
        self.running[row] = runs & ~stops & (steps < limit)

    def answers(self) -> dict[int, Sampled]:
        """All rows as answers, by place."""
        ids, log_probs = self.tokens.cpu().tolist(), self.log_probs.double().cpu().tolist()
        rest = (t.cpu().tolist() for t in (self.place, self.steps, self.ended))
        return {
            place: Sampled(tuple(its[:n]), math.fsum(each[:n]), end)
            for its, each, place, n, end in zip(ids, log_probs, *rest, strict=True)
        }


class Pool:
    """Rows decoded together.

    Args:
        model: In eval mode, no gradients; its cache can be reindexed by rows.
        stops: End and padding tokens.
        decoding: How; not beam search.

    Attributes:
        may_join: Whether rows may enter while others are under way.
    """

    def __init__(self, model: nn.Module, stops: Stops, decoding: Decoding):
        self.model, self.stops, self.decoding = model, stops, decoding
        device = next(model.parameters()).device
        self._ends = torch.tensor(stops.end_ids, device=device, dtype=torch.long)
        self._rows: Rows | None = None
        self._past: Any = None
        self.may_join = can_join(model, reindexable_cache(model))
        self._head: Callable[[Tensor], Tensor] | None = None
        if self.may_join:
            self._head = drafting_head(model)

    def __len__(self) -> int:
        return 0 if self._rows is None else len(self._rows.place)

    def clear(self) -> None:
        """Forget all rows."""
        self._rows = self._past = None

    def enter(self, batch: Batch, places: Tensor) -> dict[int, Sampled]:
        """Run new prompts and put their answers into the pool.

        Args:
            batch: P prompts with n answers each, R = P n.
            places: (R,) a number for each answer.

        Returns:
            Answers that were finished at once, and those that had finished in the pool.
        """
        done = self._leave(at_least=1)
        rows, past = self._opened(batch, places)
        running = rows.running.nonzero()[:, 0]
        if len(running) < len(rows.place):
            done |= rows.select((~rows.running).nonzero()[:, 0]).answers()
        if len(running):
            past.batch_select_indices(running // batch.samples)
            self._join(rows.select(running), past)
        return done

    def _join(self, rows: Rows, past: Any) -> None:
        if self._rows is not None:
            own, new = self._rows.unseen(), rows.unseen()
            past = joined_cache(self._past, past, (own, new))
            own_rows = replace(self._rows, mask=self._rows.mask[:, own:])
            rows = own_rows.below(replace(rows, mask=rows.mask[:, new:]))
        self._rows, self._past = rows, past

    def step(self) -> dict[int, Sampled]:
        """One more token for every row; returns the answers that leave."""
        rows = self._rows
        assert rows is not None
        mask = nn.functional.pad(rows.mask, (0, 1), value=1)
        last = rows.tokens.gather(1, rows.steps[:, None] - 1)
        logits = next_logits(self.model, last, mask, rows.position[:, None], self._past)
        token, log_prob = choose(logits, rows.keys, rows.steps, self.decoding)
        rows.position.add_(rows.running)
        everyone = torch.arange(len(rows.place), device=rows.place.device)
        rows.note(everyone, token, log_prob, self._ends, self.decoding.max_new_tokens)
        self._rows = replace(rows, mask=mask)
        return self._leave(at_least=max(1, len(everyone) // _COMPACT_SHARE))

    def _leave(self, at_least: int) -> dict[int, Sampled]:
        """Drop finished rows once there are so many, or nothing else, and return them."""
        if self._rows is None:
            return {}
        rows, running = self._rows, self._rows.running.nonzero()[:, 0]
        finished = len(rows.place) - len(running)
        if len(running) and finished < at_least:
            return {}
        answers = rows.select((~rows.running).nonzero()[:, 0]).answers() if finished else {}
        if not len(running):
            self.clear()
        elif finished:
            self._past.batch_select_indices(running)
            self._rows = rows.select(running)
        return answers

    def _opened(self, batch: Batch, places: Tensor) -> tuple[Rows, Any]:
        """Prompts, as much of the drafts as is chosen, and one token more.

        Returns:
            R rows, and a cache with P rows.
        """
        past: Any = reindexable_cache(self.model)
        drafts = batch.drafts
        if drafts is not None and self._head is not None:
            hidden, agrees = self._with_drafts(batch, drafts, past)
            if agrees:
                head = self._head
                rows = self._follow(batch, places, drafts, lambda p, j: head(hidden[p, j]))
                width = batch.input_ids.shape[1] + int(rows.steps.where(rows.running, 1).max()) - 1
                cut_columns(past, width)  # what nobody chose
                return replace(rows, mask=rows.mask[:, :width]), past
            self._head = None  # some model that does more to its logits than is known here
            past = reindexable_cache(self.model)
        logits = next_logits(self.model, batch.input_ids, batch.mask, batch.positions, past)
        none = batch.input_ids.new_empty((len(logits), 0))
        return self._follow(batch, places, none, lambda p, _: logits[p]), past

    def _with_drafts(self, batch: Batch, drafts: Tensor, past: Any) -> tuple[Tensor, bool]:
        """Run prompts and drafts in one forward.

        Returns:
            (P, D + 1, d) hidden states from the prompts' last column on, and whether the output
            embedding makes of them what the model does.
        """
        seen = torch.cat((batch.mask, (drafts >= 0).long()), dim=1)
        ids = torch.cat((batch.input_ids, drafts.where(drafts >= 0, self.stops.pad_id)), dim=1)
        found: list[Tensor] = []
        backbone: Any = self.model.base_model
        hook = backbone.register_forward_hook(lambda _m, _i, out: found.append(out[0]))
        try:
            positions = (seen.cumsum(-1) - 1).clamp(min=0)
            logits = next_logits(self.model, ids, seen, positions, past)
        finally:
            hook.remove()
        assert self._head is not None
        own = logits.float().log_softmax(-1)
        difference = (self._head(found[0][:, -1]).log_softmax(-1) - own).abs().max()
        agrees = bool(difference <= _TOLERANCE.get(logits.dtype, _TOLERANCE_SINGLE))
        return found[0][:, batch.input_ids.shape[1] - 1 :], agrees

    def _follow(
        self,
        batch: Batch,
        places: Tensor,
        drafts: Tensor,
        logits_of: Callable[[Tensor, int], Tensor],
    ) -> Rows:
        """Choose tokens for as long as they are those of the drafts.

        Args:
            batch: The prompts.
            places: (R,) numbers of the answers.
            drafts: (P, D), -1 behind a draft's end.
            logits_of: (U, V) logits of prompts (U,) after j tokens of their drafts.
        """
        n, device, limit = batch.samples, batch.keys.device, self.decoding.max_new_tokens
        width, longest, count = batch.input_ids.shape[1], drafts.shape[1], len(batch.keys)
        rows = Rows(
            place=places,
            keys=batch.keys,
            steps=torch.zeros(count, dtype=torch.long, device=device),
            position=torch.zeros(count, dtype=torch.long, device=device),
            running=torch.ones(count, dtype=torch.bool, device=device),
            ended=torch.zeros(count, dtype=torch.bool, device=device),
            tokens=torch.full((count, limit + 1), self.stops.pad_id, device=device),
            log_probs=torch.zeros((count, limit + 1), device=device),
            mask=torch.zeros((count, width + longest), dtype=torch.long, device=device),
        )
        alive = torch.arange(count, device=device)
        for j in range(longest + 1):
            prompt, row = torch.unique_consecutive(alive // n, return_inverse=True)
            logits = logits_of(prompt, j)[row]
            token, log_prob = choose(logits, rows.keys[alive], rows.steps[alive], self.decoding)
            rows.note(alive, token, log_prob, self._ends, limit)
            if j == longest:
                break
            alive = alive[rows.running[alive] & (token == drafts[alive // n, j])]
            if not len(alive):
                break
        # The last token chosen is not in the cache; those before it are the draft's.
        accepted = rows.steps - 1
        rows.position.copy_(batch.mask.sum(-1).repeat_interleave(n) + accepted)
        rows.mask[:, :width] = batch.mask.repeat_interleave(n, dim=0)
        rows.mask[:, width:] = torch.arange(longest, device=device) < accepted[:, None]
        return rows


_TOLERANCE = {torch.bfloat16: 0.25, torch.float16: 0.05}
_TOLERANCE_SINGLE = 1e-3
