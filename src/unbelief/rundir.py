"""The folder beside an output in which its run keeps what it needs to resume.

`OUTPUT.run/` holds the belief bank and the log, which stay, and checkpoints and the reference
cache, which go once the output is complete. It may contain text the model said about the records
to forget, so it is readable by its owner only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.outputs import atomic_write

_REQUEST = "request.json"
_KEY = "key"


class RunFolder:
    """Paths of one run's working files, and the check that they belong to the same request.

    Args:
        output: Where the run's result will appear.
    """

    def __init__(self, output: Path):
        self.path = output.with_name(output.name + ".run")
        self.checkpoints = self.path / "checkpoints"
        self.reference = self.path / "reference.safetensors"
        self.log = self.path / "log.jsonl"

    def beliefs(self, generation: int) -> Path:
        """The bank of one sampling; 0 is the one before training."""
        return self.path / f"beliefs-{generation:04d}.parquet"

    @property
    def key(self) -> bytes:
        """Random key of this run's record digests; it never leaves this folder."""
        file = self.path / _KEY
        if not file.exists():
            atomic_write(file, secrets.token_bytes(32))
            file.chmod(0o600)
        return file.read_bytes()

    @contextmanager
    def claimed(self, *, restart: bool) -> Iterator[None]:
        """Hold the folder for one process; `restart` throws away what an earlier start left.

        Raises:
            RequestError: Another process is at work here.
        """
        if restart and self.path.exists():
            with self._locked():
                shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        with self._locked():
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RequestError(
                    "another process is working on this output",
                    where=str(self.path),
                    remedy="wait for it, or choose another output",
                ) from None
            yield

    def check_request(self, request: Mapping[str, Any]) -> bool:
        """Whether an earlier start left work for this very request.

        Raises:
            RequestError: It left work for a different one.
        """
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        file = self.path / _REQUEST
        if not file.exists():
            atomic_write(file, json.dumps({"sha256": digest, "request": request}, indent=1))
            return False
        before = json.loads(file.read_text())
        if before["sha256"] == digest:
            return True
        changed = sorted(
            k for k in {*before["request"], *request} if before["request"].get(k) != request.get(k)
        )
        raise RequestError(
            f"an unfinished run with other settings is here (different: {', '.join(changed)})",
            where=str(self.path),
            remedy="repeat its settings to resume it, or start anew with --restart",
        )

    def tidy(self) -> None:
        """Remove what only a resuming run needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for file in (self.reference, self.path / _REQUEST, self.path / _KEY, self.path / "lock"):
            file.unlink(missing_ok=True)
