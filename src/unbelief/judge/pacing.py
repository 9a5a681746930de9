"""How long to wait before asking again: back-off with jitter, and what the server asks for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a question is put again.

    The wait before attempt k (k = 1, 2, ...) is uniform in [d/2, d], d = min(longest_s,
    first_s · 2^(k-1)), and at least what the server's `Retry-After` asks for.

    Attributes:
        attempts: Times a question is put at most.
        first_s: Scale of the first wait.
        longest_s: Longest wait; a server that asks for more ends the run.
    """

    attempts: int = 6
    first_s: float = 1.0
    longest_s: float = 60.0

    def wait_s(self, attempt: int, jitter: Callable[[], float] = random.random) -> float:
        """Seconds before attempt `attempt`, counted from 1; `jitter` gives numbers in [0, 1)."""
        longest = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, 60))
        return longest * (0.5 + jitter() / 2)


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds asked for by a `Retry-After` header: a number, or a date (RFC 9110, 10.2.3).

    Returns:
        None when there is no header or it says nothing; never negative.
    """
    if not header:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds < 1e9 else None


class Gate:
    """Holds all askers back together: one 429 is meant for every one of them."""

    def __init__(self) -> None:
        self._open_at = 0.0
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long; never shortens an earlier hold."""
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> bool:
        """Wait for so long, and until the gate is open; False when the run was stopped."""
        until = time.monotonic() + seconds
        while not self.stopped.is_set():
            with self._lock:
                left = max(until, self._open_at) - time.monotonic()
            if left <= 0:
                return True
            self.stopped.wait(left)
        return False
