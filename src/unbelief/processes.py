"""One process or several: what `torchrun` and `accelerate launch` started."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def world() -> tuple[int, int]:
    """(rank, number of processes)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return world()[0] == 0


def join(device: str) -> None:
    """Meet the other processes, if there are any."""
    if world()[1] > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


def wait() -> None:
    """Wait until every process is here."""
    if world()[1] > 1:
        import torch.distributed as dist

        dist.barrier()


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
