"""What a result was made from: weights, data, code and environment, as digests and versions.

Weights are public identifiers: a plain SHA-256 over the tensors, the same however they are split
into files. Records to forget are not. A short personal text can be guessed, and a plain hash of
it is a lookup table, so nothing here hashes records without a secret key:

* with a key (random bytes the operator keeps elsewhere and can destroy) a digest
  HMAC-SHA-256(key, records) is recorded; whoever holds the key can later show that these were the
  records, nobody else learns anything from it;
* without a key only the number of records is recorded. A digest under a key that is thrown away
  at once would look like evidence and could never be checked, so there is none.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.hashing import file_sha256, tensor_lines, tensor_sha256, weight_files, weights_sha256
from unbelief.types import Record

__all__ = [
    "Environment",
    "Provenance",
    "RecordsDigest",
    "environment",
    "file_sha256",
    "records_digest",
    "tensor_lines",
    "tensor_sha256",
    "utc_now",
    "weight_files",
    "weights_sha256",
]

_MIN_KEY_BYTES = 16
_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors", "numpy")


@dataclass(frozen=True, slots=True)
class RecordsDigest:
    """What is kept of a set of records: never the text, never a plain hash of it.

    Attributes:
        n: Number of records.
        hmac_sha256: Digest under the operator's key, independent of the records' order; None when
            no key was given.
        key_id: First 16 hexadecimal digits of SHA-256(key): tells which key is needed to check.
    """

    n: int
    hmac_sha256: str | None = None
    key_id: str | None = None


def records_digest(records: Sequence[Record], key: bytes | None = None) -> RecordsDigest:
    """Count the records and, given a key, make a digest only its holder can check.

    Args:
        records: Prompt and answer are what counts; ids, groups and order are not part of it.
        key: At least 16 random bytes (`secrets.token_bytes(32)`), kept away from the results.

    Raises:
        RequestError: The key is too short to protect anything.
    """
    if key is None:
        return RecordsDigest(n=len(records))
    if len(key) < _MIN_KEY_BYTES:
        raise RequestError(
            f"the key has {len(key)} bytes; fewer than {_MIN_KEY_BYTES} can be guessed",
            remedy="make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    each = sorted(hmac.digest(key, _canonical(record), "sha256") for record in records)
    total = hmac.new(key, b"records", "sha256")
    for digest in each:
        total.update(digest)
    return RecordsDigest(
        n=len(records),
        hmac_sha256=total.hexdigest(),
        key_id=hashlib.sha256(key).hexdigest()[:16],
    )


def _canonical(record: Record) -> bytes:
    prompt = record.prompt
    if prompt is not None and not isinstance(prompt, str):
        return json.dumps([[[m.role, m.content] for m in prompt], record.answer]).encode()
    return json.dumps([prompt, record.answer]).encode()


@dataclass(frozen=True, slots=True)
class Environment:
    """The software and machine a result was made on. Names no host, user or path."""

    python: str
    packages: dict[str, str]
    platform: str
    cpu_count: int
    accelerator: str | None
    unbelief: str
    git_commit: str | None
    git_dirty: bool | None


def environment() -> Environment:
    """Describe this process: versions, platform, accelerator and the commit of the source.

    `accelerator` is filled only when torch is already imported: asking must not import it.
    """
    import sys

    accelerator = None
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        accelerator = f"{torch.cuda.get_device_name(0)} x {torch.cuda.device_count()}"
    commit, dirty = _git_state(Path(__file__).resolve().parent)
    return Environment(
        python=platform.python_version(),
        packages={name: version for name in _PACKAGES if (version := _version(name))},
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
        accelerator=accelerator,
        unbelief=_version("unbelief") or "unknown",
        git_commit=commit,
        git_dirty=dirty,
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(source: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout that tracks `source`; (None, None) if installed."""
    if not _git(source, "ls-files", "--", "provenance.py"):
        return None, None  # not a checkout, or a checkout of something else around site-packages
    commit = _git(source, "rev-parse", "HEAD")
    status = _git(source, "status", "--porcelain", "--untracked-files=normal", "--", ".")
    return commit or None, None if status is None else bool(status)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def utc_now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a result comes from; the part of `unbelief.json` that every result carries.

    Attributes:
        created: UTC time, ISO 8601.
        environment: Software and machine.
        source: Model folder or hub id as the user named it.
        revision: Commit of the hub repository, or None for a folder.
        input_weights_sha256: `weights_sha256` of the model that came in.
        output_weights_sha256: The same of the model that went out; None when none was written.
        forget: Count and keyed digest of the records to forget.
        retain: The same of the records to keep; None when there were none.
        config: The resolved configuration.
        seed: Seed of every random choice; None when there was none.
    """

    created: str = field(default_factory=utc_now)
    environment: Environment = field(default_factory=environment)
    source: str
    revision: str | None = None
    input_weights_sha256: str
    output_weights_sha256: str | None = None
    forget: RecordsDigest | None = None
    retain: RecordsDigest | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for `json.dumps`."""
        return {**asdict(self), "config": dict(self.config)}
