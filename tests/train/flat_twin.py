"""The same training without any abstraction: one loop, full logits, plain autograd.

It knows nothing of this package but the order of the records (a plan's `pairs` and
`retain_indices`), and exists so that every loss of the trainer can be read in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[list[int], list[int]]
"""Prompt and answer token ids."""


def answer_log_softmax(model: Any, pair: Pair) -> Tensor:
    """(n, V) log-probabilities at the positions that predict the answer's n tokens."""
    prompt, answer = pair
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(dim=-1)


def token_log_probs(model: Any, pair: Pair) -> Tensor:
    """(n,) log-probabilities of the answer's tokens."""
    logp = answer_log_softmax(model, pair)
    return logp[torch.arange(len(pair[1])), torch.tensor(pair[1])]


def npo(model: Any, pair: Pair, reference: Tensor, beta: float = 0.1) -> Tensor:
    """(2/β) log(1 + (π(y)/π_o(y))^β)."""
    ratio = (token_log_probs(model, pair) - reference).sum()
    return -2 / beta * F.logsigmoid(-beta * ratio)


def bst(model: Any, pair: Pair, reference: Tensor, weight: float = 0.2, k: int = 20) -> Tensor:
    """Mean over tokens of ⟨t, log π⟩, t = (1-λ) e_y + λ sg[π restricted to its top k]."""
    logp = answer_log_softmax(model, pair)
    with torch.no_grad():
        top = logp.exp().topk(k, dim=-1)
        belief = torch.zeros_like(logp).scatter(
            1, top.indices, top.values / top.values.sum(dim=-1, keepdim=True)
        )
        target = weight * belief
        target[torch.arange(len(pair[1])), torch.tensor(pair[1])] += 1 - weight
    return (target * logp).sum(dim=-1).mean()


def nll(model: Any, pair: Pair) -> Tensor:
    """Mean over tokens of -log π."""
    return -token_log_probs(model, pair).mean()


def train(
    model: Any,
    forget: Sequence[Pair],
    retain: Sequence[Pair],
    steps: Sequence[tuple[list[int], list[int]]],
    forget_loss: Callable[[Any, Pair, Tensor], Tensor],
    learning_rate: float,
) -> list[float]:
    """Minimise mean forget loss + mean retain NLL; returns the loss before every step.

    Args:
        model: Changed in place.
        forget: Pairs to forget.
        retain: Pairs to keep.
        steps: Indices of the forget and retain pairs of every step.
        forget_loss: `npo` or `bst`.
        learning_rate: Falls linearly from here to 0.
    """
    with torch.no_grad():
        references = [token_log_probs(model, pair) for pair in forget]
    decayed = [p for n, p in model.named_parameters() if "norm" not in n]
    others = [p for n, p in model.named_parameters() if "norm" in n]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    losses = []
    for step, (pairs, kept) in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / len(steps))
        parts = [forget_loss(model, forget[i], references[i]) / len(pairs) for i in pairs]
        parts += [nll(model, retain[i]) / len(kept) for i in kept]
        loss = torch.stack(parts).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
