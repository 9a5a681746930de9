r"""Between a model and its unlearned version: one weight algebra, in place.

.. math:: \theta(\alpha) = (1 - \alpha)\,\theta_o + \alpha\,\theta_u

with α one number for the whole model (UWC's calibration) or one per part (CRU's replacement is α
in {0, 1} per layer). α = 0 is the original and α = 1 the unlearned model, both bit for bit. Only
floating-point tensors are mixed, in float32 at least whatever the dtype of the weights, and only
those that differ; a tied tensor counts once; everything else stays the original's.

The unlearned model may be an unmerged LoRA adapter over the original: then
:math:`\theta(\alpha) = \theta_o + \alpha \frac{s}{r} B A`, the adapter's own product, rounded once.

Source: Wang et al. 2025, Towards Effective Evaluations and Comparisons for LLM Unlearning Methods
(mixing; the authors' code calls 1 − α `update_ratio`); CRU, ICML 2025 workshop (replacement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.inside import causal_lm
from unbelief.models.load import LoadedModel
from unbelief.models.matching import adapter_change, check_tensors, check_vocabulary
from unbelief.models.parts import belongs, part_labels
from unbelief.models.save import merged_copy

Alpha = float | Mapping[str, float]
"""One number, or one per part; parts that are not named stay the original's."""
How = Literal["weights", "adapter"]


def mixed(original: Tensor, unlearned: Tensor, alpha: float) -> Tensor:
    """(1 − α) original + α unlearned in at least float32, in the original's dtype and place.

    α = 0 and α = 1 return the inputs themselves.
    """
    if alpha in (0, 1):
        return unlearned if alpha else original
    wide = torch.promote_types(original.dtype, torch.float32)
    return ((1 - alpha) * original.to(wide) + alpha * unlearned.to(wide)).to(original.dtype)


def shifted(original: Tensor, change: Tensor, alpha: float) -> Tensor:
    """Original + α · change in at least float32, in the original's dtype."""
    if alpha == 0:
        return original
    wide = torch.promote_types(original.dtype, torch.float32)
    return (original.to(wide) + alpha * change.to(wide)).to(original.dtype)


@dataclass(frozen=True)
class _Mixable:
    """A tensor that differs: where it is, what it was, and what it becomes at an α."""

    part: str
    live: Tensor
    at: Callable[[float], Tensor]
    parameters: int


class Blend:
    """The original model, whose weights can be moved towards the unlearned one's and back.

    Kept in main memory beside the model: both versions of every tensor that differs (for an
    adapter the original and the change).

    Args:
        original: Changed in place by `set`; its model is the one to ask.
        unlearned: Its tensors are kept where they differ, so do not change it; the model itself is
            not needed afterwards. An adapter whose base weights are the original's is mixed as an
            adapter; any other adapter is merged first.

    Attributes:
        inner: The Transformers model.
        how: `weights`, or `adapter` where the change is an adapter's.
        labels: All parts of the model, in the order of its tensors.
        changed: Parts that differ, with their number of differing parameters.
        identical: Whether nothing differs.

    Raises:
        RequestError: The two do not have the same vocabulary, tensors and shapes, or a tensor that
            is tied in the original has two values in the unlearned model.
    """

    def __init__(self, original: LoadedModel, unlearned: LoadedModel):
        check_vocabulary(original, unlearned)
        self.inner: Any = causal_lm(original.model)
        parts = part_labels(self.inner)
        self.labels: tuple[str, ...] = tuple(dict.fromkeys(parts.values()))
        live = self.inner.state_dict()
        change = adapter_change(unlearned, live) if unlearned.is_adapter else None
        self.how: How = "weights" if change is None else "adapter"
        if change is None:
            others = _weights(unlearned)
            check_tensors(live, others)
            self._tensors = _differing(live, others, parts)
        else:
            self._tensors = _shifting(live, change, parts)
        self._at = dict.fromkeys(self._tensors, 0.0)
        self.changed: dict[str, int] = {}
        for one in self._tensors.values():
            self.changed[one.part] = self.changed.get(one.part, 0) + one.parameters

    @property
    def identical(self) -> bool:
        """Whether the two models have the same weights."""
        return not self._tensors

    @torch.no_grad()
    def set(self, alpha: Alpha) -> None:
        """Put the weights at θ(α); only tensors whose α changes are written.

        Args:
            alpha: For everything, or by label (`layers.3`, `layers.3.mlp`, `embeddings`); what is
                not named is put at 0.

        Raises:
            RequestError: A label is unknown, two of them overlap, or an α is not in [0, 1].
        """
        wanted = self._wanted(alpha)
        for name, one in self._tensors.items():
            if self._at[name] != wanted[name]:
                one.live.copy_(one.at(wanted[name]))
                self._at[name] = wanted[name]

    def restore(self) -> None:
        """Put the original back, bit for bit."""
        self.set(0.0)

    @contextmanager
    def at(self, alpha: Alpha) -> Iterator[None]:
        """θ(α) for the time of a block; the original afterwards."""
        try:
            self.set(alpha)
            yield
        finally:
            self.restore()

    def _wanted(self, alpha: Alpha) -> dict[str, float]:
        if not isinstance(alpha, Mapping):
            _check_alpha(alpha)
            return dict.fromkeys(self._tensors, float(alpha))
        for label, value in alpha.items():
            _check_alpha(value)
            if not any(belongs(own, label) for own in self.labels):
                raise RequestError(
                    f"the model has no part {label!r}",
                    remedy=f"there are {', '.join(self.labels)}; layers.N names a whole layer",
                )
            wider = [w for w in alpha if w != label and belongs(label, w)]
            if wider:
                raise RequestError(
                    f"{label} is part of {wider[0]}, which is named too", remedy="leave one out"
                )
        found = {}
        for name, one in self._tensors.items():
            own = [value for label, value in alpha.items() if belongs(one.part, label)]
            found[name] = float(own[0]) if own else 0.0
        return found


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise RequestError(
            f"alpha={alpha} is not between 0 and 1", remedy="0 is the original, 1 the unlearned"
        )


def _weights(unlearned: LoadedModel) -> dict[str, Tensor]:
    model: Any = unlearned.model
    plain = merged_copy(model) if unlearned.is_adapter else causal_lm(model)
    return dict(plain.state_dict())


def _differing(
    live: Mapping[str, Tensor], others: Mapping[str, Tensor], parts: Mapping[str, str]
) -> dict[str, _Mixable]:
    """Tensors that differ, each storage once."""
    found: dict[str, _Mixable] = {}
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, own in live.items():
        place = (own.data_ptr(), tuple(own.stride()))
        twin = first.setdefault(place, name) if own.numel() else name
        other = others[name].detach().to("cpu", own.dtype)
        if twin != name:
            if not torch.equal(other, others[twin].detach().to("cpu", own.dtype)):
                raise RequestError(
                    f"{name} and {twin} are one tensor in the original and two in the unlearned "
                    "model, so there is no mixture of them",
                    where="--model",
                    remedy="untie the original before unlearning, or tie the unlearned model again",
                )
            continue
        was = own.detach().to("cpu", copy=True)
        if own.is_floating_point() and not torch.equal(was, other):
            at = _between(was, other, own.device)
            found[name] = _Mixable(parts[name], own, at, own.numel())
    return found


def _shifting(
    live: Mapping[str, Tensor], change: Mapping[str, Tensor], parts: Mapping[str, str]
) -> dict[str, _Mixable]:
    found = {}
    for name, delta in change.items():
        own = live[name]
        was = own.detach().to("cpu", copy=True)
        if delta.any():
            at = _beyond(was, delta, own.device)
            found[name] = _Mixable(parts[name], own, at, own.numel())
    return found


# Arithmetic is done where the model is; elementwise products and sums round alike everywhere.
def _between(was: Tensor, other: Tensor, device: torch.device) -> Callable[[float], Tensor]:
    def at(alpha: float) -> Tensor:
        if alpha in (0, 1):  # one of the two need not travel
            return other if alpha else was
        return mixed(was.to(device), other.to(device), alpha)

    return at


def _beyond(was: Tensor, delta: Tensor, device: torch.device) -> Callable[[float], Tensor]:
    return lambda alpha: shifted(was.to(device), delta.to(device), alpha)
