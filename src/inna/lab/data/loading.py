"""Data sets as arrays: those that have a name, and anyone's own."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .formats import Images, Labels
from .official import DataError, Source, expanded, home
from .sources import DATASETS
from .sources import EMBEDDED as EMBEDDED  # where they were, and still are
from .sources import Registered as Registered

__all__ = ["Dataset", "check_name", "load"]


@dataclass(frozen=True)
class Dataset:
    """Images of shape (N, channels, height, width), float32 in [0, 1], and labels in 0, ..., classes - 1."""

    name: str
    classes: int
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arrays: records of a run belong to one digest."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load(
    name: str, data_dir: Path | None = None, *, train: int | None = None, test: int | None = None
) -> Dataset:
    """Load a data set, or its first `train` training and `test` test images.

    Args:
        name: a key of `DATASETS`, or the path of an .npz file or of a folder of images.
        data_dir: the folder that holds the official files; None for $INNA_DATA, or else the folder where
            ``inna data fetch`` puts them.
        train: how many training images; None for all.
        test: how many test images; None for all.

    Raises:
        DataError: the name is unknown, or files are missing, truncated, of another kind, or have bad labels.

    Example:
        >>> digits = load("digits", train=1000)
        >>> digits.x_train.shape, digits.x_test.shape, digits.classes
        ((1000, 1, 8, 8), (500, 1, 8, 8), 10)
    """
    check_name(name)
    changed = 0 if name in DATASETS else expanded(name).stat().st_mtime_ns
    return _load(name, home(data_dir), train, test, changed)


def check_name(name: str) -> str:
    """Return the name if `load` knows it: a key of `DATASETS`, or an .npz file or a folder that exists.

    Raises:
        DataError: it is none of these; the message lists the choices.

    Example:
        >>> check_name("mnist")
        'mnist'
    """
    path = expanded(name)
    if name in DATASETS or (name and path.is_dir()) or (path.suffix == ".npz" and path.is_file()):
        return name
    if path.suffix == ".npz":
        raise DataError(f"there is no file {name}")
    raise DataError(
        f"unknown data set {name!r}: choose from {', '.join(DATASETS)}, "
        "or give the path of an .npz file or of a folder of images"
    )


@lru_cache(maxsize=2)
def _load(name: str, where: Path, train: int | None, test: int | None, _changed: int) -> Dataset:
    if name in DATASETS:
        known = DATASETS[name]
        folder = _folder(name, known.source, where) if known.source else where
        classes, splits = known.classes, known.read(folder)
    else:
        from . import own

        path = expanded(name)
        classes, splits = own.read_folder(path) if path.is_dir() else own.read_npz(path)
    train_shape, test_shape = (images.shape[1:] for images, _ in splits)
    if train_shape != test_shape:
        raise DataError(f"{name}: training images are {_by(train_shape)}, test images {_by(test_shape)}")
    parts = [
        _first(wanted, name, split, classes, *arrays)
        for split, wanted, arrays in zip(("training", "test"), (train, test), splits, strict=True)
    ]
    return Dataset(name, classes, *parts[0], *parts[1])


def _first(
    wanted: int | None, name: str, split: str, classes: int, images: Images, labels: Labels
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if len(images) != len(labels) or len(images) == 0:
        raise DataError(f"{name}: {len(images)} {split} images but {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{name}: {split} labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}"
        )
    if wanted is not None and not 0 < wanted <= len(images):
        raise DataError(f"{name} has {len(images)} {split} images, {wanted} were asked for")
    x: NDArray[np.float32] = images[:wanted].astype(np.float32, order="C", copy=False)
    if images.dtype == np.uint8:
        x /= 255
    return x, labels[:wanted].astype(np.int64)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _folder(name: str, source: Source, where: Path) -> Path:
    folder = source.find(where)
    if folder is None:
        raise DataError(
            f"found no folder {' or '.join((source.folder, *source.also))} in {where}: get it with "
            f"`inna data fetch {name}`, or name the folder that holds {source.folder}/ with --data-dir"
        )
    return folder
