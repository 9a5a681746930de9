"""Training an output embedding on fixed hidden states."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unbelief.errors import GuardError
from unbelief.interventions.finetune import Masters, Recipe, batches, mean_nll
from unbelief.models.head import HeadJob, HeadWeights, TokenInputs, answer_loss
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens.batch import Row, collate


def fresh_head(own: Any, *, random: bool, seed: int) -> nn.Linear:
    """An output embedding of the same shape: the model's own copied, or U(−1, 1)/√d drawn anew."""
    vocabulary, width = own.weight.shape
    head = nn.Linear(
        width,
        vocabulary,
        bias=own.bias is not None,
        device="meta",
        dtype=own.weight.dtype,
    ).to_empty(device=own.weight.device)
    with torch.no_grad():
        if random:
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.rand(vocabulary, width, generator=generator)
            head.weight.copy_((2 * drawn - 1) / math.sqrt(width))
            if own.bias is not None:
                head.bias.zero_()
        else:
            head.weight.copy_(own.weight)
            if own.bias is not None:
                head.bias.copy_(own.bias)
    return head.requires_grad_(False)


def train_head(model: AnswerModel, rows: Sequence[Row], recipe: Recipe, steps: int) -> None:
    """Train the output embedding alone, on hidden states that are computed once.

    Loss: the mean over a batch's answer tokens of −log π. The states take T · d numbers of main
    memory, for T answer tokens of width d.

    Raises:
        GuardError: The loss is not finite.
    """
    if steps == 0:
        return
    states = _states(model, rows)
    own: Any = model.inner.get_output_embeddings()
    parameters = [p.requires_grad_(True) for p in own.parameters()]
    optimizer = Masters(parameters, recipe)
    supply = batches(rows, recipe.batch_size, recipe.seed)
    for step in range(steps):
        part = next(supply)
        batch = collate(part, model.pad_id).to(model.device)
        hidden = torch.cat([states[row.key] for row in part]).to(model.device)
        ones = torch.ones_like(batch.row, dtype=torch.float32)
        job = HeadJob(
            TokenInputs(batch.target, batch.row, len(part), ones),
            Needs(),
            mean_nll(len(batch.target)),
        )
        head = HeadWeights(own.weight, own.bias, model.logit_map)
        with torch.enable_grad():
            loss = answer_loss(hidden, head, [job])
            loss.backward()
        if not math.isfinite(float(loss.detach())):
            raise GuardError(
                f"the loss of the probe is not finite at step {step + 1}",
                remedy="lower its learning_rate",
            )
        optimizer.step()
    own.requires_grad_(False)


@torch.no_grad()
def _states(model: AnswerModel, rows: Sequence[Row]) -> dict[str, Tensor]:
    """Per row the (t, d) hidden states from which its scored tokens are predicted."""
    found: dict[str, Tensor] = {}
    ordered = sorted(rows, key=lambda row: -row.length)
    while ordered:
        count = max(1, model.part_tokens // ordered[0].length)
        part, ordered = ordered[:count], ordered[count:]
        batch = collate(part, model.pad_id).to(model.device)
        forward = model.within(model.model, functools.partial(model.forward, batch))
        assert forward.predicting is not None
        for i, row in enumerate(part):
            found[row.key] = forward.predicting[batch.row == i].cpu()
    return found
