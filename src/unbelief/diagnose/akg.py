r"""A K G: what one gradient step does to the log-probability of any answer, and why.

One SGD step θ' = θ − η g with g = J_uᵀ G on the update's rows changes the logits of an observed
answer by −η J_o g + O(η²), so (Lemma 5.1)

    Δ log π(· | x_o, y_o^{<i}) = −η A_i Σ_j K_ij G_j + O(η²)
    A_i = I − 1 π_iᵀ           softmax Jacobian of log π, V × V
    K_ij = J_o,i J_u,jᵀ        empirical neural tangent kernel, V × V
    G_j = dL/dz_j              residual of the update at its token j, V

Nothing V × V is formed: J_uᵀ G is one backward pass, J_o g one forward-mode pass, A_i v = v −
⟨π_i, v⟩ a subtraction. In double precision the error of the prediction falls as η²
(`error_order`), which is the proof that the operator product is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unbelief.diagnose.exact import ExactModel, Parameters
from unbelief.diagnose.update import Update
from unbelief.tokens.batch import Row, TokenBatch


@dataclass(frozen=True)
class Prediction:
    """First-order change of observed answers under a step of rate 1. O answers, R update rows.

    Attributes:
        log_prob: (O,) log π(y_o | x_o) before the step, nats.
        slope: (O,) dlog π(y_o | x_o)/dη: the change per unit of η.
        contributions: (O, R) the part of each update row in it (Theorem 5.3); they add up.
    """

    log_prob: np.ndarray
    slope: np.ndarray
    contributions: np.ndarray


def predict(update: Update, observed: Sequence[Row]) -> Prediction:
    """−A K G, summed over an observed answer's tokens, for every update row by itself.

    Args:
        update: The step.
        observed: Answers to watch.
    """
    model, batch = update.model, update.model.batch(observed)
    pi, residuals, own = _softmax(model, batch), update.residuals(), update.batch()
    parts = []
    for row in range(len(update.rows)):
        of_row = (own.row == row)[:, None]
        direction = model.vjp(own, torch.where(of_row, residuals, 0.0))
        change = _log_prob_change(model.jvp(batch, direction), pi, batch)
        parts.append(-_per_answer(change, batch))
    contributions = torch.stack(parts, dim=1)
    return Prediction(
        log_prob=_log_probs(model, batch, model.parameters).cpu().numpy(),
        slope=contributions.sum(dim=1).cpu().numpy(),
        contributions=contributions.cpu().numpy(),
    )


def actual(update: Update, observed: Sequence[Row], rates: Sequence[float]) -> np.ndarray:
    """(E, O) change of log π(y_o | x_o) after one true SGD step at each of E rates, nats.

    The step differentiates the loss as it is defined, through the whole model, and is made by
    PyTorch's optimiser: nothing is shared with `predict` but the model.
    """
    model, batch = update.model, update.model.batch(observed)
    before = _log_probs(model, batch, model.parameters)
    gradient = update.gradient()
    changes = []
    for rate in rates:
        stepped = {n: p.clone().requires_grad_() for n, p in model.parameters.items()}
        for name, parameter in stepped.items():
            parameter.grad = gradient[name].clone()
        torch.optim.SGD(stepped.values(), lr=rate).step()
        after = _log_probs(model, batch, {n: p.detach() for n, p in stepped.items()})
        changes.append(after - before)
    return torch.stack(changes).cpu().numpy()


def error_order(rates: Sequence[float], errors: Sequence[float]) -> float:
    """The p of error ∝ η^p, by least squares on logarithms; 2 when the first order is right.

    Raises:
        ValueError: Fewer than two rates, or an error of exactly zero.
    """
    if len(rates) < 2 or min(errors) <= 0:
        raise ValueError("an order needs two rates or more, and errors above zero")
    slope, _ = np.polyfit(np.log(rates), np.log(errors), 1)
    return float(slope)


@dataclass(frozen=True)
class TokenPairs:
    """The three factors of every pair of an observed token i and an update token j.

    Attributes:
        a: (n,) ‖A_i‖ (Frobenius), from V − 2 + V ‖π_i‖².
        row: (n,) ‖e_y − π_i‖, the row of A_i that belongs to the observed token.
        g: (m,) ‖G_j‖.
        slope: (n, m) −(e_y − π_i)ᵀ K_ij G_j: what token j does to token i per unit of η.
        kernel: (n, m) |slope| / (row · g): the kernel's size in the only direction that acts, and
            a lower bound of its largest singular value.
        frobenius: (n, m) estimate of ‖K_ij‖ (Frobenius) from random probes, or None.
    """

    a: np.ndarray
    row: np.ndarray
    g: np.ndarray
    slope: np.ndarray
    kernel: np.ndarray
    frobenius: np.ndarray | None


def token_pairs(update: Update, observed: Row, *, probes: int = 0, seed: int = 0) -> TokenPairs:
    """Factors per token pair; one backward and one forward-mode pass per update token.

    Args:
        update: The step; all its rows' tokens count, row after row.
        observed: One answer to watch; n tokens.
        probes: Random vectors per update token for ‖K_ij‖: E‖K v‖² = ‖K‖² for entries ±1. Each
            costs as much as the rest; 0 leaves it out.
        seed: Of the probes.
    """
    model, batch, own = update.model, update.model.batch([observed]), update.batch()
    pi, residuals = _softmax(model, batch), update.residuals()
    generator = torch.Generator().manual_seed(seed)
    slopes, squares = [], []
    for j in range(len(own.target)):
        direction = model.vjp(own, _only(residuals, j))
        slopes.append(-_log_prob_change(model.jvp(batch, direction), pi, batch))
        total = torch.zeros(len(batch.target), dtype=torch.float64)
        for _ in range(probes):
            signs = torch.randint(0, 2, residuals.shape, generator=generator) * 2.0 - 1.0
            seen = model.jvp(batch, model.vjp(own, _only(signs.to(residuals), j)))
            total += seen.square().sum(dim=1).cpu()
        squares.append(total)
    slope = torch.stack(slopes, dim=1).cpu().numpy()
    square = pi.square().sum(dim=1)
    p_y = pi.gather(1, batch.target[:, None]).squeeze(1)
    row = (1 - 2 * p_y + square).clamp_min(0).sqrt().cpu().numpy()
    g = residuals.norm(dim=1).cpu().numpy()
    size = pi.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel = np.abs(slope) / (row[:, None] * g[None, :])
    return TokenPairs(
        a=(size - 2 + size * square).sqrt().cpu().numpy(),
        row=row,
        g=g,
        slope=slope,
        kernel=kernel,
        frobenius=(torch.stack(squares, dim=1) / probes).sqrt().numpy() if probes else None,
    )


def _only(values: Tensor, token: int) -> Tensor:
    out = torch.zeros_like(values)
    out[token] = values[token]
    return out


@torch.no_grad()
def _softmax(model: ExactModel, batch: TokenBatch) -> Tensor:
    return model.logits(batch).softmax(dim=-1)


def _log_prob_change(change: Tensor, pi: Tensor, batch: TokenBatch) -> Tensor:
    """Row y of A v per token: v_y − ⟨π, v⟩, (T,)."""
    return change.gather(1, batch.target[:, None]).squeeze(1) - (pi * change).sum(dim=1)


def _per_answer(values: Tensor, batch: TokenBatch) -> Tensor:
    total = torch.zeros(len(batch.rows), dtype=values.dtype, device=values.device)
    return total.index_add(0, batch.row, values)


@torch.no_grad()
def _log_probs(model: ExactModel, batch: TokenBatch, parameters: Parameters) -> Tensor:
    logp = model.logits(batch, parameters).log_softmax(dim=-1)
    return _per_answer(logp.gather(1, batch.target[:, None]).squeeze(1), batch)
