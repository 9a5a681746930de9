"""MNIST's file format: IDX, as it is or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from unbelief.errors import DataError, RequestError
from unbelief.vision.images import ImageData, ImageSet

_BYTES = 8  # the type code of unsigned bytes, the only one these data sets use
_MOST = 1 << 31
FILES = {
    "train": ("train-images", "train-labels"),
    "test": ("t10k-images", "t10k-labels"),
}
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
           "bag", "boot")  # fmt: skip


def read_idx(file: Path) -> np.ndarray:
    """An array of unsigned bytes.

    The format: two zero bytes, a type code, the number of axes; each axis' length in four bytes,
    most significant first; then the data, last axis fastest.

    Raises:
        DataError: Not such a file, cut off, or with bytes left over.
    """
    content = _content(file)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise _damaged(file, "it does not begin like an IDX file")
    if content[2] != _BYTES:
        raise _damaged(file, f"its values have the type code {content[2]}, not unsigned bytes (8)")
    axes = content[3]
    begin = 4 + 4 * axes
    if not axes or len(content) < begin:
        raise _damaged(file, "it ends within its header")
    shape = struct.unpack(f">{axes}I", content[4:begin])
    wanted = math.prod(shape)
    if wanted != len(content) - begin:
        sizes = " x ".join(map(str, shape))
        raise _damaged(file, f"{sizes} bytes are announced, {len(content) - begin} are there")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def read_mnist(folder: Path, name: str = "mnist") -> ImageData:
    """MNIST or Fashion-MNIST from the four files of its distribution.

    Args:
        folder: With `train-images-idx3-ubyte` and so on, `.gz` or not; a dot instead of the last
            hyphen is taken too.
        name: `mnist` or `fashion-mnist`: the labels' names.

    Raises:
        RequestError: A file is missing.
        DataError: A file is damaged, or images and labels do not go together.
    """
    parts = {}
    for part, (images, labels) in FILES.items():
        pixels = read_idx(_find(folder, images, 3))
        said = read_idx(_find(folder, labels, 1))
        if pixels.ndim != 3 or said.ndim != 1 or len(pixels) != len(said):
            raise DataError(
                f"images of shape {pixels.shape} with labels of shape {said.shape}",
                where=str(folder / images),
                remedy="take image and label file from the same distribution",
            )
        scaled = pixels[:, None].astype(np.float32) / 255
        parts[part] = ImageSet(scaled, said.astype(np.int64))
    names = FASHION if name == "fashion-mnist" else tuple("0123456789")
    return ImageData(name, parts["train"], parts["test"], names)


def _find(folder: Path, stem: str, axes: int) -> Path:
    for separator in ("-", "."):
        for end in ("", ".gz"):
            file = folder / f"{stem}{separator}idx{axes}-ubyte{end}"
            if file.exists():
                return file
    raise RequestError(
        f"there is no {stem}-idx{axes}-ubyte[.gz]",
        where=str(folder),
        remedy="name the folder with the four files of the data set",
    )


def _content(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    try:
        with gzip.open(file) as stream:
            content = stream.read(_MOST)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, f"it cannot be unpacked ({error})") from error
    return content


def _damaged(file: Path, message: str) -> DataError:
    return DataError(message, where=str(file), remedy="fetch the file again")
