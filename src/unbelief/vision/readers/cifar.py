"""CIFAR-10 and CIFAR-100 from a local folder: the binary version, or the pickled one.

Pickles can run code when they are opened. These are read by an unpickler that knows nothing but
the reconstruction of NumPy arrays; anything else in the file is an error.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unbelief.errors import DataError, RequestError
from unbelief.vision.images import ImageData, ImageSet

Name = Literal["cifar10", "cifar100"]
PIXELS = 3 * 32 * 32
TRAIN = {"cifar10": [f"data_batch_{i}" for i in range(1, 6)], "cifar100": ["train"]}
TEST = {"cifar10": ["test_batch"], "cifar100": ["test"]}
CLASSES = {"cifar10": 10, "cifar100": 100}
COARSE = 20
CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
            "truck")  # fmt: skip


def read_cifar(folder: Path, name: Name) -> ImageData:
    """All images of a distribution, binary where it is there, else pickled.

    Args:
        folder: With `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or `train.bin`
            and `test.bin`; or the same names without `.bin`, pickled.
        name: Which of the two.

    Raises:
        RequestError: A file is missing.
        DataError: A file is damaged, or a pickle holds something else than arrays.
    """
    read, end = _version(folder, name)
    parts = {}
    for part, files in (("train", TRAIN[name]), ("test", TEST[name])):
        each = [read(_existing(folder / f"{file}{end}"), name) for file in files]
        coarse = [s.coarse for s in each if s.coarse is not None]
        parts[part] = ImageSet(
            np.concatenate([s.images for s in each]),
            np.concatenate([s.fine for s in each]),
            np.concatenate(coarse) if coarse else None,
        )
    fine_names, coarse_names = _names(folder, name)
    return ImageData(name, parts["train"], parts["test"], fine_names, coarse_names)


def read_binary(file: Path, name: Name) -> ImageSet:
    """One file of records: label byte(s), then 3072 bytes, by channel, then row.

    CIFAR-100 has the coarse label before the fine one.

    Raises:
        DataError: The size is no multiple of a record's, or a label is out of range.
    """
    labels = 1 if name == "cifar10" else 2
    raw = np.fromfile(file, np.uint8)
    size = labels + PIXELS
    if not len(raw) or len(raw) % size:
        raise _damaged(file, f"{len(raw)} bytes are no whole number of records of {size} bytes")
    rows = raw.reshape(-1, size)
    coarse = rows[:, 0] if labels == 2 else None
    return _image_set(file, name, rows[:, labels:], rows[:, labels - 1], coarse)


def read_pickled(file: Path, name: Name) -> ImageSet:
    """One pickled file: a dictionary with `data` and `labels`, or `fine_labels`.

    Raises:
        DataError: No pickle, one that holds more than plain data and arrays, or damaged.
    """
    content = restricted_load(file)
    fine_key = "labels" if name == "cifar10" else "fine_labels"
    try:
        pixels, fine = content["data"], np.asarray(content[fine_key])
        coarse = None if name == "cifar10" else np.asarray(content["coarse_labels"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(file, f"there is no `data` with `{fine_key}` in it") from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise _damaged(file, "`data` is no table of bytes")
    return _image_set(file, name, pixels, fine, coarse)


class _ArraysOnly(pickle.Unpickler):
    """Knows NumPy's array reconstruction under its old and new names, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        from numpy._core import multiarray

        known: dict[tuple[str, str], Any] = {
            (package, "_reconstruct"): multiarray._reconstruct
            for package in ("numpy.core.multiarray", "numpy._core.multiarray")
        }
        known |= {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
        known["_codecs", "encode"] = _as_bytes  # how Python 3 writes bytes for Python 2
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _as_bytes(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin-1")


def restricted_load(file: Path) -> dict[str, Any]:
    """A pickled dictionary of plain data and arrays, keys as text. Runs no code of the file.

    Raises:
        DataError: Anything else.
    """
    try:
        content = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise _damaged(file, f"the pickle is refused: {error}") from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise _damaged(file, f"it is no pickle of arrays ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise _damaged(file, f"it holds a {type(content).__name__}, not a dictionary")
    return {k.decode("latin-1") if isinstance(k, bytes) else str(k): v for k, v in content.items()}


def _image_set(
    file: Path, name: Name, pixels: np.ndarray, fine: np.ndarray, coarse: np.ndarray | None
) -> ImageSet:
    if pixels.shape[1:] != (PIXELS,) or len(pixels) != len(fine) or not len(fine):
        raise _damaged(file, f"{len(fine)} labels for pixels of shape {pixels.shape}")
    for labels, limit in ((fine, CLASSES[name]), (coarse, COARSE)):
        if labels is None:
            continue
        if labels.dtype.kind not in "iu" or labels.shape != fine.shape:
            raise _damaged(file, "labels are not one whole number per image")
        if labels.min() < 0 or labels.max() >= limit:
            raise _damaged(file, f"a label {int(labels.max())}, but there are {limit}")
    images = pixels.reshape(-1, 3, 32, 32).astype(np.float32) / 255
    return ImageSet(
        images, fine.astype(np.int64), None if coarse is None else coarse.astype(np.int64)
    )


def _version(folder: Path, name: Name) -> tuple[Callable[[Path, Name], ImageSet], str]:
    if (folder / f"{TRAIN[name][0]}.bin").exists():
        return read_binary, ".bin"
    if (folder / TRAIN[name][0]).exists():
        return read_pickled, ""
    raise RequestError(
        f"there is neither {TRAIN[name][0]}.bin nor {TRAIN[name][0]}",
        where=str(folder),
        remedy=f"name the folder of {name}, unpacked, best in the binary version",
    )


def _existing(file: Path) -> Path:
    if not file.exists():
        raise RequestError(
            f"{file.name} is missing", where=str(file.parent), remedy="unpack the data set again"
        )
    return file


def _names(folder: Path, name: Name) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names beside the data (`fine_label_names.txt`), or numbers."""
    if name == "cifar10":
        return CIFAR_10, ()
    out = []
    for level, count in (("fine", CLASSES[name]), ("coarse", COARSE)):
        file = folder / f"{level}_label_names.txt"
        listed = file.read_text(encoding="utf-8").split() if file.exists() else []
        out.append(tuple(listed) if len(listed) == count else tuple(map(str, range(count))))
    return out[0], out[1]


def _damaged(file: Path, message: str) -> DataError:
    return DataError(message, where=str(file), remedy="fetch the file again")
