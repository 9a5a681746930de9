"""A plain fine-tuning loop on answers, in memory and deterministic."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unbelief.errors import DataError, GuardError, RequestError
from unbelief.interventions.base import Context
from unbelief.interventions.seeded import seeded
from unbelief.models.head import HeadJob, TokenInputs
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import AnswerStats, Needs
from unbelief.tokens.batch import Row, collate
from unbelief.train.preparation import context_length
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to fine-tune.

    AdamW (β = 0.9, 0.999, ε = 1e-8) at a constant learning rate, so that what s steps reach does
    not depend on how many follow. Dropout is off.

    Attributes:
        learning_rate: Of every step.
        weight_decay: Decoupled.
        max_grad_norm: Gradients are scaled down to this norm; 0 leaves them.
        batch_size: Answers per step.
        seed: Of the order of examples.
    """

    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    batch_size: int
    seed: int


def rows_of(
    records: Sequence[tuple[str, Record]], model: AnswerModel, context: Context
) -> list[Row]:
    """Encode named records; their order does not matter for what follows.

    Raises:
        RequestError: Two records have one name.
        DataError: A record does not fit into the model's context.
    """
    limit, rows = context_length(model.inner), []
    twice = [key for key, count in Counter(key for key, _ in records).items() if count > 1]
    if twice:
        raise RequestError(
            f"two records are called {twice[0]!r}", where="records", remedy="rename one of them"
        )
    for key, record in sorted(records, key=lambda pair: pair[0]):
        encoded = context.encoder.encode(record)
        row = Row(key, "retain", encoded.prompt_ids, encoded.answer_ids, hidden=encoded.hidden)
        if limit is not None and row.length > limit:
            raise DataError(
                f"prompt and answer have {row.length} tokens, the model's context is {limit}",
                where=record.source or record.id,
                remedy="give the encoder a max_length",
            )
        rows.append(row)
    return rows


def batches(rows: Sequence[Row], batch_size: int, seed: int) -> Iterator[list[Row]]:
    """Batches without end: every epoch has each row once, in an order of its own."""
    epoch = 0
    while True:
        order = list(rows)
        seeded(seed, "epoch", str(epoch)).shuffle(order)
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]
        epoch += 1


def finetune(
    model: AnswerModel, rows: Sequence[Row], recipe: Recipe, at: Sequence[int]
) -> Iterator[int]:
    """Train all weights in place and stop at given step counts, ascending.

    Loss: the mean over the batch's answer tokens of −log π, in the mode the model is in.

    Yields:
        The steps done so far, each time the model has come to one of `at`.

    Raises:
        RequestError: Some weights are not floating-point numbers.
        GuardError: The loss is not finite.
    """
    parameters = trainable(model.inner)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = Masters(parameters, recipe)
    supply, step = batches(rows, recipe.batch_size, recipe.seed), 0
    for stop in at:
        while step < stop:
            with torch.enable_grad():
                loss = _backward(model, next(supply))
            step += 1
            if not math.isfinite(loss):
                raise GuardError(
                    f"the loss of relearning is not finite at step {step}",
                    remedy="lower its learning_rate",
                )
            optimizer.step()
        yield step


def trainable(inner: nn.Module) -> list[nn.Parameter]:
    """All parameters.

    Raises:
        RequestError: Some are not floating-point numbers.
    """
    parameters = list(inner.parameters())
    if not all(p.is_floating_point() for p in parameters):
        raise RequestError(
            "the model's weights are quantised, and integers cannot be trained",
            where="model",
            remedy="load it in float32 or bfloat16",
        )
    return parameters


class Masters:
    """AdamW on float32 copies of weights in fewer bits, which would lose small updates."""

    def __init__(self, parameters: Sequence[nn.Parameter], recipe: Recipe):
        self.parameters = list(parameters)
        self.masters = [
            p if p.dtype in (torch.float32, torch.float64) else nn.Parameter(p.detach().float())
            for p in self.parameters
        ]
        self.max_grad_norm = recipe.max_grad_norm
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights from their gradients, and clear those."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if parameter is not master:
                master.grad = None if parameter.grad is None else parameter.grad.float()
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if parameter is not master:
                parameter.copy_(master)
                parameter.grad = None


def mean_nll(tokens: int) -> Callable[[AnswerStats], Tensor]:
    """−Σ log π / tokens, additive over answers."""
    return lambda stats: -(stats.logp * stats.weight).sum() / tokens


def _backward(model: AnswerModel, rows: Sequence[Row]) -> float:
    """Gradients of the mean loss of some answers; returns the loss in nats per token."""
    tokens, total = sum(row.n_scored for row in rows), 0.0
    with model.direct(True):
        for part in model.parts(rows):
            loss = model.within(model.model, functools.partial(_share, model, part, tokens))
            loss.backward()
            total += float(loss.detach())
    return total


def _share(model: AnswerModel, rows: Sequence[Row], tokens: int) -> Tensor:
    """What some rows add to the mean loss of a batch with so many answer tokens."""
    batch = collate(rows, model.pad_id).to(model.device)
    ones = torch.ones_like(batch.row, dtype=torch.float32)
    inputs = TokenInputs(batch.target, batch.row, len(rows), ones)
    return model.loss(model.forward(batch), [HeadJob(inputs, Needs(), mean_nll(tokens))])
