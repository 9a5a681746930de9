"""Readers on files made in the same formats, whole and damaged."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from unbelief.errors import DataError, RequestError
from unbelief.vision.images import stratified
from unbelief.vision.readers.cifar import PIXELS, read_binary, read_cifar, restricted_load
from unbelief.vision.readers.digits import read_digits
from unbelief.vision.readers.idx import read_idx, read_mnist
from unbelief.vision.schemes import choose_scheme, hierarchy_of, read_data


def test_digits() -> None:
    data = read_digits(3)
    assert len(data.train) + len(data.test) == 1797
    assert data.train.images.shape[1:] == (1, 8, 8) and data.train.images.max() == 1.0
    # a fifth of each class, rounded: there are 174 to 183 of each
    assert set(np.bincount(data.test.fine)) <= {35, 36, 37}
    again, other = read_digits(3), read_digits(4)
    assert np.array_equal(data.test.images, again.test.images)
    assert not np.array_equal(data.test.fine, other.test.fine) or not np.array_equal(
        data.test.images, other.test.images
    )


def test_stratified_parts() -> None:
    labels = np.array([0] * 10 + [1] * 4)
    first, second = stratified(labels, 0.25, 0)
    assert sorted([*first, *second]) == list(range(14))
    assert np.bincount(labels[second]).tolist() == [2, 1]  # round(2.5) is 2
    with pytest.raises(ValueError, match="share"):
        stratified(labels, 1.0, 0)


# CIFAR -----------------------------------------------------------------------------------------


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, PIXELS), dtype=np.uint8)


def write_cifar10(folder: Path, n: int = 20) -> None:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(names):
        labels = (np.arange(n) % 10).astype(np.uint8)[:, None]
        (folder / f"{name}.bin").write_bytes(np.hstack([labels, pixels(n, i)]).tobytes())


def write_cifar100(folder: Path, n: int = 200) -> None:
    for name in ("train", "test"):
        fine = (np.arange(n) % 100).astype(np.uint8)[:, None]
        coarse = fine // 5  # made up: five fine labels each, 11 and 35 below 2 and 7
        (folder / f"{name}.bin").write_bytes(np.hstack([coarse, fine, pixels(n)]).tobytes())


def test_binary_cifar10(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    data = read_cifar(tmp_path, "cifar10")
    assert data.train.images.shape == (100, 3, 32, 32) and len(data.test) == 20
    assert data.names[data.train.fine[1]] == "automobile"
    # by channel, then row: byte 1024 + 32 + 2 is green, row 1, column 2
    assert data.train.images[0, 1, 1, 2] == pytest.approx(pixels(20, 0)[0, 1024 + 32 + 2] / 255)


def test_binary_cifar100_has_the_coarse_label_first(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    data = read_cifar(tmp_path, "cifar100")
    assert data.train.fine[7] == 7 and data.train.coarse is not None
    assert data.train.coarse[7] == 1
    made, given = hierarchy_of(data, choose_scheme("cifar100", None)[1])
    assert given == (11, 35) and made.parent[35] == 7 and len(made.coarse) == 20


def test_a_tenth_of_cifars_training_images_is_set_aside(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    data = read_data("cifar10", tmp_path, 0)
    assert np.bincount(data.train.fine).tolist() == [9] * 10  # of ten each


def test_pickled_cifar_reads_the_same(tmp_path: Path) -> None:
    binary, pickled = tmp_path / "a", tmp_path / "b"
    binary.mkdir()
    pickled.mkdir()
    write_cifar100(binary)
    for name in ("train", "test"):
        fine = (np.arange(200) % 100).tolist()
        content = {
            b"data": pixels(200),
            b"fine_labels": fine,
            b"coarse_labels": [f // 5 for f in fine],
        }
        (pickled / name).write_bytes(pickle.dumps(content, protocol=2))
    one, two = read_cifar(binary, "cifar100"), read_cifar(pickled, "cifar100")
    assert np.array_equal(one.train.images, two.train.images)
    assert np.array_equal(one.train.fine, two.train.fine)


def test_a_pickle_as_python_2_wrote_it(tmp_path: Path) -> None:
    """The published files: arrays under NumPy's old module names, texts as bytes."""
    data = pixels(2)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x02M\x00\x0ctcnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\nT" + struct.pack("<i", data.nbytes) + data.tobytes() + b"tb"
    )
    file = tmp_path / "data_batch_1"
    file.write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x03K\x07eu.")
    content = restricted_load(file)
    assert np.array_equal(content["data"], data) and content["labels"] == [3, 7]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("harm",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": Harmful()}), r"it asks for (posix|nt)\.mkdir"),
        (pickle.dumps({"data": print}), "it asks for builtins.print"),
        (b"no pickle at all", "no pickle of arrays|refused"),
        (pickle.dumps({"data": pixels(2)})[:-50], "no pickle of arrays|refused"),
        (pickle.dumps([1, 2]), "a list, not a dictionary"),
    ],
    ids=["code", "builtin", "noise", "cut", "list"],
)
def test_pickles_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "train"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        restricted_load(file)
    assert str(file) in str(error.value)
    assert not (tmp_path / "harm").exists()


def test_pickles_of_the_wrong_shape(tmp_path: Path) -> None:
    file = tmp_path / "data_batch_1"
    for content, message in (
        ({"data": pixels(2)}, "no `data` with `labels`"),
        ({"data": [1], "labels": [1]}, "no table of bytes"),
        ({"data": pixels(2)[:, :9], "labels": [1, 2]}, "pixels of shape"),
        ({"data": pixels(2), "labels": ["a", "b"]}, "whole number per image"),
    ):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=message):
            read_cifar(tmp_path, "cifar10")


def test_damaged_binary_files(tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match="no whole number of records of 3073"):
        read_binary(file, "cifar10")
    file.write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        read_binary(file, "cifar10")
    file.write_bytes(b"\x0b" + bytes(PIXELS))
    with pytest.raises(DataError, match="a label 11, but there are 10"):
        read_binary(file, "cifar10")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"neither train\.bin nor train"):
        read_cifar(tmp_path, "cifar100")
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(RequestError, match=r"data_batch_4\.bin is missing"):
        read_cifar(tmp_path, "cifar10")
    with pytest.raises(RequestError, match="read from a folder"):
        read_data("mnist", None, 0)
    with pytest.raises(RequestError, match="unknown data set 'cifar'"):
        read_data("cifar", tmp_path, 0)


# IDX -------------------------------------------------------------------------------------------


def idx(array: np.ndarray, code: int = 8) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + shape + array.tobytes()


def write_mnist(folder: Path, zipped: bool) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = (np.arange(20) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx(array)
            file = folder / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
            file.write_bytes(gzip.compress(content) if zipped else content)
    return images


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist(tmp_path: Path, zipped: bool) -> None:
    images = write_mnist(tmp_path, zipped)
    data = read_mnist(tmp_path, "fashion-mnist")
    assert data.train.images.shape == (20, 1, 28, 28)
    assert data.train.images[3, 0, 5, 6] == pytest.approx(images[3, 5, 6] / 255)
    assert data.names[data.test.fine[6]] == "shirt"
    made, given = hierarchy_of(data, choose_scheme("fashion-mnist", None)[1])
    assert given == (6,) and len(made.coarse) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "does not begin like"),
        (b"\0\0\x0d\x01\0\0\0\x01\0", "type code 13"),
        (b"\0\0\x08\x03\0\0", "within its header"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "2 x 3 bytes are announced, 5 are there"),
        (idx(np.zeros(4, np.uint8)) + b"x", "4 bytes are announced, 5 are there"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(file)


def test_an_archive_that_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "file.gz"
    file.write_bytes(gzip.compress(idx(np.zeros((50, 50), np.uint8)))[:-10])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_idx(file)


def test_images_and_labels_that_do_not_go_together(tmp_path: Path) -> None:
    write_mnist(tmp_path, False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(7, np.uint8)))
    with pytest.raises(DataError, match="with labels of shape"):
        read_mnist(tmp_path)
    write_mnist(tmp_path, False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, np.uint8)))
    with pytest.raises(DataError, match="a label 10 in the test part"):
        read_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(RequestError, match="no t10k-labels"):
        read_mnist(tmp_path)
