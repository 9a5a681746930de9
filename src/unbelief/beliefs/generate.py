"""Decoding through `model.generate`: beam search, and models with a cache of their own.

`generate` fills what its configuration leaves open from the checkpoint's generation_config.json
and then from its own defaults (top_k = 50, max_length = 20). So the checkpoint's is replaced by an
empty one for the time of the call, and nothing that could act is left open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from unbelief.beliefs.asking import full_logits
from unbelief.beliefs.choose import choose
from unbelief.beliefs.decoding import Decoding, Sampled

if TYPE_CHECKING:
    from unbelief.beliefs.asking import Stops
    from unbelief.beliefs.batches import Batch

_LOGITS_AT_ONCE = 1 << 25  # numbers; a float32 copy of them lives beside


class _Chooser(LogitsProcessor):
    """Makes the choice itself and leaves `generate`'s argmax only that token.

    So both ways of decoding share one definition of every choice, and of its log-probability.
    """

    def __init__(self, keys: Tensor, decoding: Decoding, prompt_width: int):
        self.keys, self.decoding, self.prompt_width = keys, decoding, prompt_width
        self.log_probs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self.prompt_width
        token, log_prob = choose(scores, self.keys, step, self.decoding)
        self.log_probs.append(log_prob)
        return torch.full_like(scores, -torch.inf).scatter(-1, token[:, None], 0.0)


def generation_config(decoding: Decoding, stops: Stops, samples: int) -> GenerationConfig:
    """A fresh configuration with every option that could act set by us.

    Sampling itself is never left to `generate` (see `_Chooser`), so `do_sample` is False. With
    `length_penalty=0` beams rank by summed log-probability.
    """
    return GenerationConfig(
        do_sample=False,
        num_beams=decoding.num_beams,
        num_return_sequences=samples if decoding.num_beams > 1 else 1,
        length_penalty=0.0 if decoding.num_beams > 1 else None,
        early_stopping=False if decoding.num_beams > 1 else None,
        max_new_tokens=decoding.max_new_tokens,
        min_length=0,
        repetition_penalty=stops.repetition_penalty if decoding.is_greedy else 1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
        eos_token_id=list(stops.end_ids) or None,
        pad_token_id=stops.pad_id,
        return_dict_in_generate=True,
    )


def answers_by_generate(
    model: nn.Module, batch: Batch, stops: Stops, decoding: Decoding
) -> list[Sampled]:
    """Decode R rows with `generate`: the same answers as `sampler.decode`, at its own speed."""
    chooser = _Chooser(batch.keys, decoding, batch.input_ids.shape[1])
    n = batch.samples
    out = _generate(
        model,
        batch.input_ids.repeat_interleave(n, dim=0),
        batch.mask.repeat_interleave(n, dim=0),
        generation_config(decoding, stops, n),
        chooser,
    )
    log_probs = torch.stack(chooser.log_probs, dim=1).double().cpu()
    answers = []
    for row, ids in enumerate(_new_tokens(out, batch)):
        tokens, finished = cut(ids, stops, decoding)
        answers.append(Sampled(tokens, float(log_probs[row, : len(tokens)].sum()), finished))
    return answers


def beams_by_generate(
    model: nn.Module, batch: Batch, stops: Stops, decoding: Decoding
) -> list[Sampled]:
    """The n best beams of every prompt, best first, with their summed log-probabilities.

    The sums are computed from the sequences found: `generate` only reports them together with
    the scores of every token of the vocabulary at every step.
    """
    n = batch.samples
    out = _generate(model, batch.input_ids, batch.mask, generation_config(decoding, stops, n), None)
    found = [cut(ids, stops, decoding) for ids in _new_tokens(out, batch)]
    sums = teacher_forced(model, batch, [ids for ids, _ in found], stops.pad_id)
    rows = [Sampled(ids, sums[i], finished) for i, (ids, finished) in enumerate(found)]
    best = []
    for first in range(0, len(rows), n):
        best += sorted(rows[first : first + n], key=lambda s: -s.log_prob)
    return best


def teacher_forced(
    model: nn.Module, batch: Batch, answers: Sequence[tuple[int, ...]], pad_id: int
) -> list[float]:
    """Summed log-probabilities (nats) of R answers, n to each of the batch's P prompts."""
    device, longest = batch.input_ids.device, max(len(ids) for ids in answers)
    filled = [ids + (pad_id,) * (longest - len(ids)) for ids in answers]
    target = torch.tensor(filled, device=device)
    n = batch.samples
    ids = torch.cat([batch.input_ids.repeat_interleave(n, dim=0), target], dim=1)
    mask = torch.cat([batch.mask.repeat_interleave(n, dim=0), torch.ones_like(target)], dim=1)
    vocabulary: Any = model.config
    rows = max(1, _LOGITS_AT_ONCE // (ids.shape[1] * vocabulary.get_text_config().vocab_size))
    sums: list[float] = []
    for start in range(0, len(answers), rows):
        part = slice(start, start + rows)
        logits = full_logits(model, ids[part], mask[part], longest + 1)[:, -longest - 1 : -1]
        each = logits.float().log_softmax(-1).gather(-1, target[part, :, None])[..., 0]
        sums += [
            math.fsum(row[: len(answer)])
            for row, answer in zip(each.cpu().tolist(), answers[part], strict=True)
        ]
    return sums


def cut(ids: list[int], stops: Stops, decoding: Decoding) -> tuple[tuple[int, ...], bool]:
    """Cut the padding after an answer's end token; an answer without one is unfinished."""
    for position, token in enumerate(ids):
        if token in stops.end_ids:
            return tuple(ids[: position + 1]), True
    return tuple(ids[: decoding.max_new_tokens]), False


def _new_tokens(out: Any, batch: Batch) -> list[list[int]]:
    new: list[list[int]] = out.sequences[:, batch.input_ids.shape[1] :].cpu().tolist()
    return new


def _generate(
    model: Any, ids: Tensor, mask: Tensor, config: GenerationConfig, chooser: _Chooser | None
) -> Any:
    with _without_own_defaults(model):
        return model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([chooser] if chooser else []),
        )


@contextmanager
def _without_own_defaults(model: Any) -> Iterator[None]:
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
