"""Read anyone's own images: an .npz of arrays, or a folder of PNG and JPEG files sorted into classes."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .formats import Images, Labels, Split, seeded_split
from .sources import DataError

__all__ = ["read_folder", "read_npz"]

IN_SPLITS = ("x_train", "y_train", "x_test", "y_test")
IN_ONE = ("images", "labels")
SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = ("1", "L", "P", "RGB")


def read_npz(path: Path) -> tuple[int, list[Split]]:
    """The number of classes, and (images, labels) to train and to test with.

    The arrays are x_train, y_train, x_test, y_test, in the order they have; or images and labels, of which a
    fifth, drawn with a fixed seed, is for testing. Images: N x H x W, N x H x W x C or N x C x H x W with
    C <= 4, uint8 or floats in [0, 1]. Labels: integers 0..C-1, each of which occurs in the training set.
    """
    arrays = _arrays(path)
    if set(IN_SPLITS) <= set(arrays):
        x_train, y_train, x_test, y_test = (arrays[key] for key in IN_SPLITS)
        splits = [
            (_images(f"{path}: x_train", x_train), _labels(f"{path}: y_train", y_train)),
            (_images(f"{path}: x_test", x_test), _labels(f"{path}: y_test", y_test)),
        ]
        train, test = (images.shape[1:] for images, _ in splits)
        if train != test:
            raise DataError(f"{path}: training images are {_by(train)}, test images {_by(test)}")
        return _classes(f"{path}: y_train", splits[0][1]), splits
    if set(IN_ONE) <= set(arrays):
        images = _images(f"{path}: images", arrays["images"])
        labels = _labels(f"{path}: labels", arrays["labels"])
        if len(images) != len(labels):
            raise DataError(f"{path}: {len(images)} images but {len(labels)} labels")
        return _classes(f"{path}: labels", labels), _four_fifths(path, images, labels)
    held = ", ".join(arrays) or "none of these arrays"
    raise DataError(f"{path} holds {held}; expected {', '.join(IN_SPLITS)}, or {' and '.join(IN_ONE)}")


def read_folder(root: Path) -> tuple[int, list[Split]]:
    """The number of classes, and (images, labels) to train and to test with.

    ``train/CLASS/*.png`` and ``test/CLASS/*.png`` (or .jpg, .jpeg), all of one size; without ``test`` a fifth
    of ``train``, or of ``CLASS/*.png`` in the folder itself, drawn with a fixed seed, is for testing. Classes
    are numbered in the order of their names; the order of the images is shuffled with a fixed seed. Grey
    images have one channel, and three where others are in colour.
    """
    train, test = root / "train", root / "test"
    if test.is_dir() and not train.is_dir():
        raise DataError(f"{root} has a folder test but no folder train")
    start = train if train.is_dir() else root
    classes = [folder.name for folder in _folders(start)]
    if len(classes) < 2:
        raise DataError(
            f"{start} must hold a folder of images for each class, at least two; found {len(classes)}"
        )
    files = _files(start, classes)
    n_train = len(files)
    if test.is_dir():
        files += _files(test, classes)
    images = _pixels([file for file, _ in files])
    labels = np.array([label for _, label in files], np.int64)
    if not test.is_dir():
        return len(classes), _four_fifths(root, images, labels)
    (train_split, _), (test_split, _) = (
        seeded_split(images[part], labels[part], train=len(labels[part]))
        for part in (slice(n_train), slice(n_train, None))
    )
    return len(classes), [train_split, test_split]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file, or a truncated one: write it with numpy.savez")
    arrays = {}
    key = "its list of arrays"
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key in IN_SPLITS + IN_ONE:
                    arrays[key] = file[key]
    except (ValueError, OSError, EOFError, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot read {key}: {error}; only plain arrays of numbers are read (numpy.savez)"
        ) from None
    return arrays


def _images(what: str, images: NDArray[Any]) -> Images:
    if images.ndim not in (3, 4) or images.size == 0:
        raise DataError(f"{what} must be N x H x W, N x H x W x C or N x C x H x W, got {_by(images.shape)}")
    if images.ndim == 3:
        images = images[:, None]
    elif (images.shape[1] <= 4) == (images.shape[3] <= 4):
        raise DataError(
            f"{what} must have 1 to 4 channels on its second or its last axis, and on one of them only, "
            f"got {_by(images.shape)}"
        )
    elif images.shape[3] <= 4:
        images = np.moveaxis(images, 3, 1)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise DataError(f"{what} must be uint8, or floats in [0, 1], got {images.dtype}")
    if np.isnan(images).any():
        raise DataError(f"{what} must lie in [0, 1], {np.isnan(images).sum()} of its values are NaN")
    if images.min() < 0 or images.max() > 1:
        raise DataError(
            f"{what}: floats must lie in [0, 1], got {images.min():g} to {images.max():g}: scale them, "
            "or save uint8"
        )
    return np.ascontiguousarray(images, np.float32)


def _labels(what: str, labels: NDArray[Any]) -> Labels:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{what} must have one label an image, got an array of {_by(labels.shape)}")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} must be integers, got {labels.dtype}")
    return labels.astype(np.int64)


def _classes(what: str, labels: Labels) -> int:
    """Labels are refused, not renumbered: a number that means something elsewhere keeps its meaning."""
    found = np.unique(labels)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        few = ", ".join(str(label) for label in found[:5]) + (", ..." if len(found) > 5 else "")
        raise DataError(
            f"{what} must be 0..C-1, C at least 2, and each must occur, got {few}: "
            "renumber them with numpy.unique(labels, return_inverse=True)[1]"
        )
    return len(found)


def _four_fifths(path: Path, images: Images, labels: Labels) -> list[Split]:
    if len(images) < 5:
        raise DataError(f"{path}: {len(images)} images are too few to set a fifth aside for testing")
    return seeded_split(images, labels, train=len(images) - len(images) // 5)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    files = []
    for folder in _folders(root):
        if folder.name not in classes:
            raise DataError(f"{folder} is no class of the training set: {', '.join(classes[:10])}")
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not images:
            raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
        files += [(path, classes.index(folder.name)) for path in images]
    return files


def _pixels(files: Sequence[Path]) -> Images:
    images = [_picture(file) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise DataError(
                f"{file} is {_by(image.shape[1::-1])}, but {files[0]} is {_by(images[0].shape[1::-1])} "
                "(width x height): bring all images to one size"
            )
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    colour = [image if image.ndim == 3 else np.stack([image] * 3, axis=2) for image in images]
    return np.stack(colour).transpose(0, 3, 1, 2)


def _picture(file: Path) -> NDArray[np.uint8]:
    """(height, width) of a grey image, (height, width, 3) of another."""
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            mode = image.mode
            if mode in MODES:
                return np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {file}: {error}") from None
    raise DataError(f"{file} has mode {mode}: save it as 8-bit grey or RGB, no alpha")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
