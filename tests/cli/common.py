"""Calling the command line in this process, and as processes that can be killed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.train.common import FORGET, RETAIN
from tests.train.ranks import server


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def call(*arguments: object) -> Called:
    """Run `unbelief ARGUMENTS` in this process."""
    from unbelief.cli.main import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["unbelief", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return Called(code, out.getvalue(), err.getvalue())


def write_data(folder: Path) -> tuple[Path, Path]:
    """The records of `tests.train.common` as JSON lines."""
    paths = []
    for name, records in (("forget", FORGET), ("retain", RETAIN)):
        lines = [{"prompt": r.prompt, "completion": r.answer} for r in records]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        paths.append(path)
    return paths[0], paths[1]


class Command:
    """`unbelief ARGUMENTS` as a process of its own.

    Args:
        arguments: Of the command line.
        folder: Where its output goes.
        dies_at: Name of a function at whose call the process is killed.
    """

    def __init__(self, arguments: Sequence[object], folder: Path, dies_at: str = ""):
        self._files = [folder / "stdout", folder / "stderr"]
        strings = [str(a) for a in arguments]
        target = (strings, *map(str, self._files), dies_at)
        self._process = server().Process(target=_main, args=target, daemon=True)
        self._process.start()

    def kill_when(self, happened: Callable[[], Any], number: int = signal.SIGKILL) -> bool:
        """Send a signal as soon as something is the case; False if the process ended before."""
        limit = time.monotonic() + 60
        while self._process.is_alive() and time.monotonic() < limit:
            if happened():
                os.kill(self._process.pid, number)
                return True
            time.sleep(0.0005)
        assert not self._process.is_alive(), "nothing happened"
        return False

    def wait(self) -> Called:
        """Its end."""
        self._process.join(120)
        assert self._process.exitcode is not None
        return Called(self._process.exitcode, *(f.read_text() for f in self._files))


def _main(arguments: list[str], out: str, err: str, dies_at: str) -> None:
    from unbelief.cli.main import main

    os.environ["OMP_NUM_THREADS"] = "1"
    for path, number in ((out, 1), (err, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    # The server's own streams may be closed.
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    import torch

    torch.set_num_threads(1)
    sys.argv = ["unbelief", *arguments]
    try:
        with _killed_at(dies_at) if dies_at else contextlib.nullcontext():
            main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _killed_at(name: str) -> Any:
    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return mock.patch(name, die)
