"""The endpoint judge against a server we did not write: `transformers serve` with a tiny model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers.utils.import_utils import is_serve_available

from tests.judge.made import ITEMS
from tests.judge.speaker import save_speaker
from unbelief.judge import Endpoint, judge_items

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_serve_available(),
        reason="needs what `transformers serve` needs: pip install 'transformers[serving]'",
    ),
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Base URL and model name."""
    folder = save_speaker(tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            _wait(server, port, tmp_path / "log")
            yield f"http://127.0.0.1:{port}/v1", str(folder)
        finally:
            server.terminate()
            server.wait(30)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()}")


def test_judge_over_transformers_serve(served: tuple[str, str]) -> None:
    url, model = served
    found = judge_items(ITEMS, Endpoint(model=model, url=url, concurrency=2), controls_per_kind=1)
    grades = [g.verdict and (g.verdict.naturalness, g.verdict.similarity) for g in found.graded]
    assert grades == [(5, 5)] * 3  # what this model says to everybody
    assert not found.valid and "truth: similarity 5, expected 0 to 1" in found.misses
    assert found.usage.output_tokens > 0 and found.usage.uncounted == 0
