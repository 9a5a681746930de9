"""A bounded number of threads that ask, and one place where the answers arrive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def as_done(
    call: Callable[[T], R], tasks: Sequence[T], workers: int, stopped: threading.Event
) -> Iterator[tuple[T, R]]:
    """Call a function on every task, at most `workers` at a time; yield results as they come.

    The threads are daemons and take no new task once `stopped` is set or the caller leaves the
    loop: Ctrl-C does not wait for a slow server.

    Raises:
        Exception: The first one a call raises.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[T, R] | BaseException] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def work() -> None:
        while not stopped.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((task, call(task)))
            except BaseException as error:
                done.put(error)
                return

    for _ in range(min(workers, len(tasks))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in tasks:
            arrived = done.get()
            if isinstance(arrived, BaseException):
                raise arrived
            yield arrived
    finally:
        stopped.set()
