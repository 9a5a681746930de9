"""Digests of weights: the same tensors give the same digest, however they are split into files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unbelief.errors import RequestError

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 22  # bytes read at a time
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
