"""Where an unfinished diagnosis keeps what it has: `OUTPUT.partial/`, beside its destination."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from unbelief.diagnose.responses import Response
from unbelief.diagnose.tracker import CANDIDATES
from unbelief.errors import Interrupted, RequestError
from unbelief.outputs import atomic_write

_HEAD = "head.json"


@contextmanager
def working_folder(
    destination: Path, settings: Mapping[str, Any], responses: Sequence[Response], restart: bool
) -> Iterator[Path]:
    """Hold the folder against other runs.

    It stays if work was begun in it; one that was made here goes when the request is wrong.

    Args:
        destination: Where the result will be.
        settings: What decides it; `models` may differ between starts.
        responses: Texts that are followed; only a keyed digest of them is kept.
        restart: Throw away what an earlier start left.

    Raises:
        RequestError: Another process is at work, or the folder belongs to other settings.
        Interrupted: Ctrl-C while the block ran.
    """
    folder = destination.with_name(destination.name + ".partial")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError(
                "another process is at work here", where=str(folder), remedy="wait for it"
            ) from None
        if restart:
            for file in folder.glob("*.*"):
                file.unlink()
        try:
            _check_head(folder / _HEAD, settings, responses)
            yield folder
        except KeyboardInterrupt:
            raise Interrupted("stopped", remedy="the same command resumes") from None
        except RequestError:
            if is_new:
                shutil.rmtree(folder)
            raise
        finally:
            if folder.exists() and not (folder / CANDIDATES).exists():
                shutil.rmtree(folder)


def _check_head(file: Path, settings: Mapping[str, Any], responses: Sequence[Response]) -> None:
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    key = secrets.token_hex(16) if before is None else before["key"]
    texts = json.dumps([astuple(r) for r in responses]).encode()
    digest = hmac.new(bytes.fromhex(key), texts, hashlib.sha256).hexdigest()
    now = json.loads(json.dumps({**settings, "responses": digest, "key": key}))
    if before is None:
        atomic_write(file, json.dumps(now))
        return
    # More models may be added to what was begun.
    differing = [name for name in now if name != "models" and before.get(name) != now[name]]
    if differing:
        raise RequestError(
            f"an unfinished diagnosis with other settings is here ({', '.join(differing)})",
            where=str(file.parent),
            remedy="repeat its settings to go on, or start anew with --restart",
        )
