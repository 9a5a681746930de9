r"""How far hidden states moved, layer by layer: linear CKA.

.. math:: CKA(X, Y) = \|Y^T X\|_F^2 \,/\, (\|X^T X\|_F \|Y^T Y\|_F)

with X, Y the states of two models at the same tokens, columns centred. In [0, 1]; 1 where one is a
rotation, reflection or multiple of the other. With fewer tokens than dimensions it leans towards 1.

Source: Kornblith et al. 2019, Similarity of Neural Network Representations Revisited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unbelief.calibrate.pair import Pair
from unbelief.models.parts import layer_list
from unbelief.types import Estimate, Record

MOST_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class States:
    """Outputs of every decoder layer at answer tokens.

    Attributes:
        layers: Per layer (n, d), float32 on the CPU.
        owner: (n,) which record each token is of.
    """

    layers: tuple[Tensor, ...]
    owner: np.ndarray


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Linear CKA of two (n, d) and (n, e) matrices; None where one of them does not vary."""
    return _weighted(_gram(x), _gram(y), np.ones(len(x)))


def cka_estimate(x: Tensor, y: Tensor, owner: np.ndarray) -> Estimate:
    """CKA with a 95 % interval: 1.96 standard errors of the jackknife over records.

    Args:
        x: (n, d) states of one model.
        y: (n, e) of the other, at the same tokens.
        owner: (n,) the record of each token.
    """
    one, two = _gram(x), _gram(y)
    value = _weighted(one, two, np.ones(len(x)))
    records = int(owner.max()) + 1 if len(owner) else 0
    low = high = None
    if value is not None and records > 1:
        # Not the bootstrap: a record drawn twice makes states more alike than they are.
        left = [_weighted(one, two, (owner != i).astype(float)) for i in range(records)]
        known = np.array([v for v in left if v is not None])
        if len(known) == records:
            error = (((known - known.mean()) ** 2).sum() * (records - 1) / records) ** 0.5
            low, high = max(value - 1.96 * error, 0.0), min(value + 1.96 * error, 1.0)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=records,
        n_unscored=0,
        unit="CKA",
        convention="unbelief",
        version=1,
        interval="jackknife over records 95 %" if low is not None else "",
        reasons={} if value is not None else {"hidden states do not vary": 1},
    )


def _gram(matrix: Tensor) -> np.ndarray:
    centred = matrix.double() - matrix.double().mean(0, keepdim=True)
    return np.asarray((centred @ centred.T).numpy())


def _weighted(one: np.ndarray, two: np.ndarray, weight: np.ndarray) -> float | None:
    """CKA of a sample in which token i occurs weight[i] times; centred anew for it."""
    share = weight / weight.sum()
    grams = []
    for gram in (one, two):
        mean = gram @ share
        grams.append(gram - mean[:, None] - mean[None, :] + share @ mean)
    a, b = grams

    def inner(p: np.ndarray, q: np.ndarray) -> float:
        return float(weight @ (p * q) @ weight)

    own, other = inner(a, a), inner(b, b)
    floor = 1e-24 * max(1.0, float(np.abs(one).max()) ** 2, float(np.abs(two).max()) ** 2)
    if own <= floor or other <= floor:
        return None
    return min(inner(a, b) / (own * other) ** 0.5, 1.0)


@torch.no_grad()
def states_of(pair: Pair, records: Sequence[Record]) -> States:
    """Outputs of all layers at the records' answer tokens, of the model as it is now.

    At most `MOST_TOKENS` tokens, evenly over the records. One record at a time: no padding.
    """
    inner = pair.blend.inner
    _, layers = layer_list(inner)
    each = max(1, MOST_TOKENS // max(len(records), 1))
    found: list[list[Tensor]] = [[] for _ in layers]
    owner: list[int] = []
    outputs: dict[int, Tensor] = {}

    def hook(index: int) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            # A tensor since Transformers 5, a tuple before.
            outputs[index] = output if isinstance(output, Tensor) else output[0]

        return keep

    handles = [layer.register_forward_hook(hook(i)) for i, layer in enumerate(layers)]
    try:
        for number, record in enumerate(records):
            encoded = pair.encoder.encode(record)
            ids = torch.tensor([[*encoded.prompt_ids, *encoded.answer_ids]])
            inner.base_model(input_ids=ids.to(pair.model.device), use_cache=False)
            start, stop = len(encoded.prompt_ids), ids.shape[1]
            chosen = np.unique(np.linspace(start, stop - 1, min(each, stop - start)).round())
            at = torch.from_numpy(chosen.astype(np.int64))
            for index, kept in enumerate(found):
                kept.append(outputs[index][0].float().cpu()[at])
            owner += [number] * len(at)
    finally:
        for handle in handles:
            handle.remove()
    return States(layers=tuple(torch.cat(kept) for kept in found), owner=np.array(owner))


def drift(one: States, other: States) -> list[dict[str, Any]]:
    """CKA of two models per layer, shallow to deep, as it is written."""
    return [
        {"layer": i, "cka": asdict(cka_estimate(x, y, one.owner))}
        for i, (x, y) in enumerate(zip(one.layers, other.layers, strict=True))
    ]
