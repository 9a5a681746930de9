"""Running a function in several processes that meet over gloo, as `torchrun` would start them.

Processes are forked from a server that has imported everything, so that starting one takes a
fraction of a second.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

PRELOADED = ["peft", "transformers.trainer", "unbelief.unlearner", "unbelief.train.sharding"]


def server() -> Any:
    """A context whose processes start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(*arguments)` returns in each of `size` processes."""
    context, port = server(), str(free_port())
    queue = context.Queue()
    started = [
        context.Process(target=_rank, args=(queue, rank, size, port, function, arguments))
        for rank in range(size)
    ]
    for process in started:
        process.start()
    results: dict[int, Any] = {}
    try:
        for _ in started:
            rank, result, error = queue.get(timeout=240)
            assert error is None, f"rank {rank}:\n{error}"
            results[rank] = torch.load(io.BytesIO(result), weights_only=False)
    finally:
        for process in started:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
    return [results[rank] for rank in range(size)]


def _rank(
    queue: Any,
    rank: int,
    size: int,
    port: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    if size > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
    from unbelief import processes

    torch.set_num_threads(1)
    try:
        result = io.BytesIO()  # tensors in a queue would be files of a process that has ended
        torch.save(function(*arguments), result)
        queue.put((rank, result.getvalue(), None))
        processes.leave()
    except BaseException:
        queue.put((rank, None, traceback.format_exc()))
