"""The original model, as cheaply as an objective allows.

Log-probabilities of fixed answers are computed once, before the first step, with the very model
that is about to be trained, and kept. Only terms that need full distributions or hidden states of
the original in every step need it at hand: with LoRA that is the same model with its adapter off,
otherwise a frozen copy.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unbelief import processes
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.objectives import Objective
from unbelief.tokens import Row


class Original(Protocol):
    """The original model, made available for the length of a block."""

    def __call__(self) -> Any:
        """Context manager that yields the original as an `AnswerModel`."""
        ...


class AdapterOff:
    """The trained model with its adapter switched off: no second model in memory."""

    def __init__(self, model: AnswerModel):
        self._model = model

    @contextmanager
    def __call__(self) -> Iterator[AnswerModel]:
        """The same model without the adapter."""
        peft_model: Any = getattr(self._model.model, "module", self._model.model)
        was_training = peft_model.training
        peft_model.eval()
        try:
            with peft_model.disable_adapter():
                yield self._model
        finally:
            peft_model.train(was_training)


class FrozenCopy:
    """A second model, loaded when first asked for.

    Args:
        load: Loads the original.
        keep: Keep it for the next time; otherwise it is dropped after each use.
    """

    def __init__(self, load: Callable[[], AnswerModel], *, keep: bool):
        self._load, self._keep = load, keep
        self._model: AnswerModel | None = None

    @contextmanager
    def __call__(self) -> Iterator[AnswerModel]:
        """The original model."""
        model = self._model or self._load()
        self._model = model if self._keep else None
        model.inner.requires_grad_(False).eval()
        yield model


class ReferenceCache:
    """Statistics of the original model for fixed rows, by row key.

    Args:
        needs: The forget term's needs; decides what is kept.
        temperature: The objective's temperature, so that ratios compare like with like.
    """

    def __init__(self, needs: Needs, temperature: float = 1.0):
        self.beliefs = needs.beliefs_from == "reference" and needs.top_k > 0
        self.needs = Needs(top_k=needs.top_k if self.beliefs else 0)
        self.wanted = needs.reference_logp or self.beliefs
        self.temperature = temperature
        self._rows: dict[str, dict[str, Tensor]] = {}

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """Forget rows whose statistics are not known yet."""
        if not self.wanted:
            return []
        return [r for r in rows if r.kind != "retain" and r.key not in self._rows]

    def fill(
        self,
        model: AnswerModel,
        rows: Sequence[Row],
        rows_per_forward: int = 32,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Compute what is missing with `model`, long rows first; each process does its share."""
        rank, size = processes.world()
        todo = sorted(self.missing(rows), key=lambda r: -r.length)[rank::size]
        for start in range(0, len(todo), rows_per_forward):
            part = todo[start : start + rows_per_forward]
            stats = model.stats(part, self.needs, temperature=self.temperature)
            named = {"logp": stats.logp}
            if self.beliefs:
                assert stats.topk_ids is not None and stats.topk_logp is not None
                named |= {"topk_ids": stats.topk_ids, "topk_logp": stats.topk_logp}
            for i, row in enumerate(part):
                self._rows[row.key] = {k: v[stats.segment == i].cpu() for k, v in named.items()}
            if progress is not None:
                progress(len(part) * size)
        for share in processes.gather({r.key: self._rows[r.key] for r in todo}):
            self._rows.update(share)

    def lookup(self, rows: Sequence[Row], name: str, device: torch.device) -> Tensor | None:
        """One statistic of some rows, concatenated in row order; None where it is not kept."""
        if not self.wanted or (name.startswith("topk") and not self.beliefs):
            return None
        return torch.cat([self._rows[r.key][name] for r in rows]).to(device)

    def save(self, path: Path) -> None:
        """Write everything known to one safetensors file, whole or not at all."""
        flat = {
            f"{k}/{name}": v.contiguous() for k, d in self._rows.items() for name, v in d.items()
        }
        temporary = path.with_suffix(".part")
        save_file(flat, temporary, {"temperature": json.dumps(self.temperature)})
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Take over what a previous start of the same run wrote."""
        for flat, tensor in load_file(path).items():
            key, _, name = flat.rpartition("/")
            self._rows.setdefault(key, {})[name] = tensor


def needs_original(objective: Objective) -> bool:
    """Whether a forward of the original model is needed in every step."""
    terms = [objective.forget, *([objective.retain] if objective.retain is not None else [])]
    return any(term.needs.reference_distribution for term in terms)


def frozen_twin(model: AnswerModel) -> AnswerModel:
    """A frozen second instance with the same weights, for a model that cannot be loaded again."""
    twin = copy.deepcopy(model.inner)
    return AnswerModel(twin.eval(), head_path=model.head_path, pad_id=model.pad_id)


def unavailable() -> AnswerModel:
    """What stands for an original that nobody will ask for."""
    raise RuntimeError("the original model was needed but not kept")
