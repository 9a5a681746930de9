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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.errors import RequestError
from unbelief.types import Record

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 22  # bytes read at a time
_MIN_KEY_BYTES = 16
_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "safetensors", "numpy")
# Names of the safetensors format, so that tensors in memory and in a file hash alike.
_DTYPE_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in chunks. Not for files of records to forget (see above)."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tensor_sha256(state_dict: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over named tensors: names, dtypes, shapes and bytes; the order does not matter.

    digest = SHA256(sorted lines "name dtype shape SHA256(bytes)"). One tensor at a time is copied
    to the CPU, so the extra memory is that of the largest tensor.

    Args:
        state_dict: As from `model.state_dict()`; tied tensors count under each of their names.

    Returns:
        64 hexadecimal digits.
    """
    return _combine(tensor_lines(state_dict).values())


def tensor_lines(state_dict: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the hashed line of every tensor by name: lets two models be compared tensor-wise."""
    lines = {}
    for name, tensor in state_dict.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        lines[name] = _line(
            name, _DTYPE_NAMES.get(dtype, dtype), tuple(tensor.shape), _tensor_bytes(tensor)
        )
    return lines


def weights_sha256(folder: str | Path) -> str:
    """Hash the weights that `from_pretrained(folder)` would load, as they are stored.

    The same tensors give the same digest in one file or in many. For tensors in memory,
    `tensor_sha256` of what a file holds equals this digest of the file.

    Args:
        folder: A model folder, or a PEFT adapter folder (then of the adapter alone).

    Returns:
        64 hexadecimal digits.

    Raises:
        RequestError: There are no safetensors weights, or two sets of them.
    """
    lines: dict[str, str] = {}
    for file in weight_files(folder):
        lines.update(_stored_lines(file))
    return _combine(lines.values())


def weight_files(folder: str | Path) -> tuple[Path, ...]:
    """List the safetensors files that make up the weights in `folder`, sorted.

    Raises:
        RequestError: There are none, one is missing, or a single file lies beside a sharded set:
            then another program may load the older of the two.
    """
    folder = Path(folder)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() and index.exists():
        raise RequestError(
            f"{folder} holds two sets of weights, one in {single.name} and one in the files "
            f"named by {index.name}; which of them is loaded is left to chance",
            remedy="delete the set that is out of date",
        )
    if single.exists():
        return (single,)
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = tuple(sorted(folder / name for name in names))
        missing = [file.name for file in files if not file.exists()]
        if missing:
            raise RequestError(
                f"{folder} lacks {', '.join(missing)}, which {index.name} names",
                remedy="fetch or copy the model again",
            )
        return files
    adapter = folder / "adapter_model.safetensors"
    if adapter.exists():
        return (adapter,)
    pickled = sorted(f.name for f in folder.glob("*.bin")) + sorted(
        f.name for f in folder.glob("*.pt*")
    )
    if pickled:
        raise RequestError(
            f"{folder} holds its weights as pickle files only ({', '.join(pickled[:3])}); loading "
            "a pickle runs code, so only safetensors are read",
            remedy="convert it once where you trust it: load with transformers, then "
            "save_pretrained() to a new folder",
        )
    raise RequestError(f"no safetensors weights in {folder}", remedy="check the path to the model")


def _stored_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Hash each tensor of a safetensors file by its header, without loading any of them."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= file.stat().st_size - 8:
            raise RequestError(f"{file} is not a safetensors file", remedy="fetch it again")
        header = json.loads(stream.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            stream.seek(8 + size + begin)
            yield (
                name,
                _line(name, entry["dtype"], entry["shape"], _chunks(stream.read, end - begin)),
            )


def _chunks(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    while length > 0:
        chunk = read(min(_CHUNK, length))
        if not chunk:
            raise RequestError("a weights file is cut short", remedy="fetch or copy it again")
        length -= len(chunk)
        yield chunk


def _tensor_bytes(tensor: torch.Tensor) -> Iterator[memoryview]:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel():
        yield flat.view(torch.uint8).numpy().data


def _line(
    name: str, dtype: str, shape: Sequence[int], content: Iterable[bytes | memoryview]
) -> str:
    digest = hashlib.sha256()
    for chunk in content:
        digest.update(chunk)
    return json.dumps([name, dtype, list(shape), digest.hexdigest()])


def _combine(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


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
