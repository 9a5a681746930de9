"""FSDP2: parameters, gradients and optimiser state cut over processes.

`torch`'s `fully_shard` is applied here, the same way on GPUs and on CPUs. Accelerate's own FSDP is
not used: on a CPU it silently becomes DDP, so nothing of it could be tested without GPUs.

Every decoder layer is a unit, gathered for its forward and its backward; embeddings, final norm
and output embedding belong to the root. The answer head runs inside the root's forward
(`AnswerModel.within`), where these are whole. A forward of a unit is a meeting of all processes,
so all of them must make the same forwards: one per micro-batch (`AnswerModel.max_buckets = 1`),
micro-batches in lockstep (`Plan.step`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from unbelief import processes
from unbelief.models.runner import AnswerModel
from unbelief.train.checkpoints import trained_parameters
from unbelief.train.trainer import UnlearnTrainer


def shard(model: AnswerModel) -> nn.Module | None:
    """Shard a model in place.

    Returns:
        On the main process a whole copy on the CPU, into which `gather_into` puts the trained
        weights at the end; None elsewhere.
    """
    whole = _cpu_copy(model.model) if processes.is_main() else None
    mesh = init_device_mesh(model.device.type, (processes.world()[1],))
    for layer in model.layers():
        fully_shard(layer, mesh=mesh)
    fully_shard(model.model, mesh=mesh)
    model.max_buckets = 1
    return whole


def gather_into(whole: nn.Module | None, model: nn.Module) -> None:
    """Copy the weights of a sharded model into a whole one, a tensor at a time."""
    targets = dict(whole.named_parameters()) if whole is not None else {}
    for name, parameter in trained_parameters(model).items():
        tensor = parameter.data
        assert isinstance(tensor, DTensor)
        full = tensor.full_tensor()
        if whole is not None:
            targets[name].data.copy_(full)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep all parameters whole on every process, so that each may run forwards of its own."""
    units = [m for m in model.modules() if isinstance(m, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
            # The root stays whole after its forward: its backward comes first.
            unit.set_reshard_after_forward(unit is not model, recurse=False)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class ShardedTrainer(UnlearnTrainer):
    """`UnlearnTrainer` for a model that `shard` was applied to."""

    def create_accelerator_and_postprocess(self) -> None:
        """Let Accelerate add autocast only: it would wrap the sharded model in DDP."""
        super().create_accelerator_and_postprocess()
        prepare = self.accelerator.prepare_model

        def without_wrapping(model: nn.Module, **_: Any) -> nn.Module:
            return prepare(model, device_placement=False, evaluation_mode=True)

        self.accelerator.prepare_model = without_wrapping

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Every process writes its part."""
        assert output_dir is not None and isinstance(self.model, nn.Module)
        dcp.save(_tensors(self.model), checkpoint_id=Path(output_dir) / "weights")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Every process reads its part, in place."""
        assert isinstance(self.model, nn.Module)
        dcp.load(_tensors(self.model), checkpoint_id=Path(resume_from_checkpoint) / "weights")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        model, optimizer, scheduler = self._trained_with()
        state = get_optimizer_state_dict(model, optimizer)
        dcp.save(state, checkpoint_id=Path(output_dir) / "optimizer")
        if processes.is_main():
            torch.save(scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        model, optimizer, scheduler = self._trained_with()
        state = get_optimizer_state_dict(model, optimizer)
        dcp.load(state, checkpoint_id=Path(checkpoint) / "optimizer")
        set_optimizer_state_dict(model, optimizer, state)
        scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    def _trained_with(self) -> tuple[Any, Any, Any]:
        optimizer: Any = self.optimizer  # Accelerate's wrapper around torch's
        return self.model, optimizer.optimizer, self.lr_scheduler


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.data for name, p in trained_parameters(model).items()}


def _cpu_copy(model: nn.Module) -> nn.Module:
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        moved = parameter.detach().to("cpu", copy=True)
        memo[id(parameter)] = nn.Parameter(moved, parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("cpu", copy=True)
    return copy.deepcopy(model, memo)
