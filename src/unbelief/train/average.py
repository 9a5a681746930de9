r"""A model that follows the trained one slowly: the average of its weights along the run.

.. math:: \bar\theta_0 = \theta_0, \qquad
          \bar\theta_s = d\, \bar\theta_{s-1} + (1 - d)\, \theta_s

after every optimiser step s. Its beliefs lag behind the policy's by some 1/(1 - d) steps.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens import Row

_FILE = "average.safetensors"


class BeliefAverage:
    """The averaged model, and what it believes of rows.

    Memory: the parameters that train a second time, in float32 a third time where they are of lower
    precision, since (1 - d)(θ - θ̄) is mostly below its rounding. Parameters that do not train are
    shared with the policy.

    Args:
        model: The policy before its first step.
        needs: The forget term's: k and d.
    """

    def __init__(self, model: AnswerModel, needs: Needs):
        self._decay, self._needs = needs.decay, Needs(top_k=needs.top_k)
        self._own = {n: p for n, p in model.inner.named_parameters() if p.requires_grad}
        inner = model.inner
        shared: dict[int, Any] = {id(p): p for p in inner.parameters() if not p.requires_grad}
        twin = copy.deepcopy(inner, shared)
        self._twin = {n: p for n, p in twin.named_parameters() if n in self._own}
        for parameter in self._twin.values():
            parameter.requires_grad_(False)
        self._mean: dict[str, Tensor] = {n: p.detach().float() for n, p in self._twin.items()}
        self.model = AnswerModel(twin.eval(), head_path=model.head_path, pad_id=model.pad_id)

    @torch.no_grad()
    def follow(self) -> None:
        """Take one step after the policy."""
        for name, own in self._own.items():
            self._mean[name].lerp_(own.detach().float(), 1 - self._decay)
        self._show()

    def beliefs(self, rows: Sequence[Row], temperature: float) -> tuple[Tensor, Tensor]:
        """Top-k tokens and their log-probabilities, (T, k) each, of the rows' scored tokens."""
        stats = self.model.stats(rows, self._needs, temperature=temperature)
        assert stats.topk_ids is not None and stats.topk_logp is not None
        return stats.topk_ids, stats.topk_logp

    def save(self, checkpoint: Path) -> None:
        """Write what a resumed run cannot compute again."""
        save_file({n: t.cpu().contiguous() for n, t in self._mean.items()}, checkpoint / _FILE)

    def restore(self, checkpoint: Path) -> None:
        """Go on from what `save` wrote."""
        for name, stored in load_file(checkpoint / _FILE).items():
            self._mean[name].copy_(stored)
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        """Give the averages to the model; in float32 they are its own weights."""
        for name, parameter in self._twin.items():
            if parameter.data_ptr() != self._mean[name].data_ptr():
                parameter.copy_(self._mean[name])


def average_of(model: AnswerModel, needs: Needs) -> BeliefAverage | None:
    """The averaged model, where a term takes its beliefs from one."""
    return BeliefAverage(model, needs) if needs.beliefs_from == "average" else None
