"""One process or several: what `torchrun` and `accelerate launch` started."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from unbelief.errors import RequestError

T = TypeVar("T")

_LAUNCHER = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return world()[0] == 0


def join(device: str) -> None:
    """Meet the other processes, if there are any.

    Raises:
        RequestError: There should be others, and they cannot be met. Going on alone would give a
            result that says it was made by several.
    """
    size = world()[1]
    if size == 1:
        return
    missing = [name for name in _LAUNCHER if name not in os.environ]
    if missing:
        raise RequestError(
            f"WORLD_SIZE is {size} but {', '.join(missing)} is not set",
            where="environment",
            remedy=f"start with `torchrun --nproc_per_node {size}`, or unset WORLD_SIZE",
        )
    from accelerate import PartialState

    group = PartialState(cpu=device == "cpu").num_processes
    if group != size:
        raise RequestError(
            f"{size} processes were asked for, but this one is in a group of {group}",
            where="environment",
            remedy=f"start with `torchrun --nproc_per_node {size} -m unbelief ...`",
        )


def leave() -> None:
    """Take leave of the other processes."""
    if world()[1] > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def wait() -> None:
    """Wait until every process is here."""
    if world()[1] > 1:
        import torch.distributed as dist

        dist.barrier()


def gather(value: T) -> list[T]:
    """The value of every process, in the order of their ranks, on every process."""
    if world()[1] == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * world()[1]
    dist.all_gather_object(values, value)
    return values


def on_main(make: Callable[[], T]) -> T:
    """What the main process makes, on every process; its error is everybody's error."""
    if world()[1] == 1:
        return make()
    import torch.distributed as dist

    box: list[Any] = [None, None]
    if is_main():
        try:
            box[0] = make()
        except Exception as error:
            box[1] = error
    dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    return box[0]
