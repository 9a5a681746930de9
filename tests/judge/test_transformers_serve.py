"""The endpoint judge against a server we did not write: `transformers serve` with a tiny model."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.import_utils import is_serve_available

from tests.judge.made import ITEMS
from tests.judge.speaker import save_speaker
from tests.train.ranks import free_port, server
from unbelief.judge import Endpoint, judge_items

pytestmark = pytest.mark.skipif(
    not is_serve_available(),
    reason="needs what `transformers serve` needs: pip install 'transformers[serving]'",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Base URL and model name."""
    folder, log, port = save_speaker(tmp_path / "model"), tmp_path / "log", free_port()
    process = server().Process(target=_serve, args=(str(folder), port, str(log)))
    process.start()
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.join(30)


def _serve(folder: str, port: int, log: str) -> None:
    """The command's function, in a process of its own where most of it is imported already."""
    os.environ["OMP_NUM_THREADS"] = "1"
    handle = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(handle, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    from transformers.cli.serve import Serve

    Serve(folder, host="127.0.0.1", port=port, device="cpu")


def _wait(process: Any, port: int, log: Path) -> None:
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        assert process.is_alive(), log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the server did not start: {log.read_text()}")


def test_judge_over_transformers_serve(served: tuple[str, str]) -> None:
    url, model = served
    found = judge_items(ITEMS, Endpoint(model=model, url=url, concurrency=2), controls_per_kind=1)
    grades = [g.verdict and (g.verdict.naturalness, g.verdict.similarity) for g in found.graded]
    assert grades == [(5, 5)] * 3  # what this model says to everybody
    assert not found.valid and "truth: similarity 5, expected 0 to 1" in found.misses
    assert found.usage.output_tokens > 0 and found.usage.uncounted == 0
