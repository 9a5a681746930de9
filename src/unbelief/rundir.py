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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from unbelief import processes
from unbelief.errors import RequestError
from unbelief.outputs import atomic_write

RESULT = "unbelief.json"
"""What a finished run says of itself, in its output."""
_REQUEST = "request.json"
_KEY = "key"
_LOCK = "lock"


class RunFolder:
    """Paths of one run's working files, and the check that they belong to the same request.

    Args:
        output: Where the run's result will appear.
        keep: A file that stays even if it lies in this folder (a belief bank to use again).
    """

    def __init__(self, output: Path, keep: Path | None = None):
        self._output = output
        self.path = output.with_name(output.name + ".run")
        self.checkpoints = self.path / "checkpoints"
        self.reference = self.path / "reference.safetensors"
        self.log = self.path / "log.jsonl"
        self._keep = None if keep is None else keep.expanduser().resolve()

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
        """Hold the folder for this run, whatever the number of its processes.

        A folder that was made here goes again when the request turns out to be wrong.

        Args:
            restart: Throw away what an earlier start left.

        Raises:
            RequestError: Another run is at work here.
        """
        with ExitStack() as stack:
            processes.on_main(lambda: stack.enter_context(self._held(restart)))
            yield

    @contextmanager
    def _held(self, restart: bool) -> Iterator[None]:
        is_new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        with self._locked():
            if restart:
                self._clear()
            try:
                yield
            except RequestError:
                if is_new:
                    shutil.rmtree(self.path)
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.path / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RequestError(
                    "another process is working on this output",
                    where=str(self.path),
                    remedy="wait for it, or choose another output",
                ) from None
            yield

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.name == _LOCK or entry.resolve() == self._keep:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def check_request(self, request: Mapping[str, Any]) -> bool:
        """Whether an earlier start left work for this very request.

        What a finished run left (its bank, its log) is removed before a new one starts.

        Raises:
            RequestError: It left work for a different one.
        """
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        file = self.path / _REQUEST
        if not file.exists():
            key = self.key
            self._clear()
            atomic_write(self.path / _KEY, key)
            (self.path / _KEY).chmod(0o600)
            named = {"run": secrets.token_hex(16), "sha256": digest, "request": request}
            atomic_write(file, json.dumps(named, indent=1))
            return False
        before = json.loads(file.read_text())
        if before["sha256"] == digest:
            return True
        changed = _changed(before["request"], request)
        raise RequestError(
            f"an unfinished run with other settings is here (different: {', '.join(changed)})",
            where=str(self.path),
            remedy="repeat its settings to resume it, or start anew with --restart",
        )

    @property
    def run(self) -> str | None:
        """Random name of the run whose work lies here; None when none does, or it has no name.

        The result carries it too, so that the two are known to belong together.
        """
        try:
            named = json.loads((self.path / _REQUEST).read_text(encoding="utf-8")).get("run")
        except FileNotFoundError:
            return None
        return str(named) if named else None

    def settle(self) -> bool:
        """Do what a run that was killed right after its result appeared did not come to.

        Its log is written from the result and its working files go. Work towards another result
        than the one that is there (a run with --overwrite that was interrupted) is left alone, and
        so is everything while another process is at work here.

        Returns:
            Whether there was such a run.
        """
        if self.run is None or self._result().get("run") != self.run:
            return False
        try:
            with self._locked():
                if self.run is not None:  # it may have been tidied meanwhile
                    self.write_log(self._result()["log"])
                    self.tidy()
        except RequestError:
            return False
        return True

    def write_log(self, log: Sequence[Mapping[str, float]]) -> None:
        """Write the log, a line per entry, for its owner alone."""
        atomic_write(self.log, "".join(json.dumps(entry) + "\n" for entry in log))
        self.log.chmod(0o600)

    def _result(self) -> dict[str, Any]:
        """What the result beside this folder says of itself; empty when there is none."""
        try:
            found = json.loads((self._output / RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def tidy(self) -> None:
        """Remove what only a resuming run needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for file in (self.reference, self.path / _REQUEST, self.path / _KEY, self.path / _LOCK):
            file.unlink(missing_ok=True)


def settle(output: str | Path, overwrite: bool) -> None:
    """Tidy up after a run that was killed between its result and its tidying.

    Args:
        output: Where its result is.
        overwrite: Another run is meant to replace the result.

    Raises:
        RequestError: There was such a run and nothing is to be replaced: it is finished.
    """
    destination = Path(output).expanduser().absolute()
    # The processes have not met yet; one is enough, and all find the result.
    done = processes.is_main() and RunFolder(destination).settle()
    if done and not overwrite:
        raise RequestError(
            f"{destination} is finished: its run was stopped only before its working files were "
            "removed, which is done now",
            remedy="use it; for another run choose a new destination, or --overwrite",
        )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of what differs."""
    out: list[str] = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            out += _changed(old, new, f"{prefix}{name}.")
        elif old != new:
            out.append(f"{prefix}{name}")
    return out
