"""How long to wait: closed forms, and every way a server can say it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from unbelief.judge.pacing import Gate, Retries, retry_after_s
from unbelief.judge.workers import as_done

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"),
    [
        (1, 0.0, 0.5),  # half of 1
        (1, 1.0, 1.0),
        (3, 0.0, 2.0),  # half of 1 · 2²
        (4, 0.5, 6.0),  # three quarters of 8
        (9, 1.0, 60.0),  # 256 is above the longest wait
        (5000, 1.0, 60.0),
    ],
)
def test_waits_double_up_to_the_longest(attempt: int, jitter: float, expected: float) -> None:
    assert Retries().wait_s(attempt, lambda: jitter) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("Sat, 21 Nov 2026 12:00:09 GMT", 9.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, NOW) == expected


def test_gate_holds_everybody_and_never_shortens_a_hold() -> None:
    gate = Gate()
    gate.hold(0.2)
    gate.hold(0.0)
    started = time.monotonic()
    waiting = [threading.Thread(target=gate.wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert time.monotonic() - started >= 0.19


def test_stopped_gate_lets_nobody_wait() -> None:
    gate = Gate()
    gate.hold(60)
    threading.Timer(0.05, gate.stopped.set).start()
    started = time.monotonic()
    assert gate.wait() is False and time.monotonic() - started < 5


def test_results_come_as_they_are_done() -> None:
    stopped = threading.Event()
    order = list(as_done(lambda s: time.sleep(s), [0.2, 0.0], 2, stopped))
    assert [task for task, _ in order] == [0.0, 0.2] and stopped.is_set()


def test_first_error_ends_it() -> None:
    def call(n: int) -> int:
        done.append(n)
        if n == 1:
            raise ZeroDivisionError
        return n

    done: list[int] = []
    with pytest.raises(ZeroDivisionError):
        list(as_done(call, range(100), 1, threading.Event()))
    assert done == [0, 1]
