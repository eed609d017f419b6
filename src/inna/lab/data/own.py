"""Read anyone's own images: an .npz of arrays, or a folder of PNG and JPEG files sorted into classes."""

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .formats import Images, Labels, Split, room, seeded_split
from .official import DataError

__all__ = ["read_folder", "read_npz"]

IN_SPLITS = ("x_train", "y_train", "x_test", "y_test")
IN_ONE = ("images", "labels")
SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
"""Pillow's modes, and what they are read as."""


def read_npz(path: Path) -> tuple[int, list[Split]]:
    """The number of classes, and (images, labels) to train and to test with.

    The arrays are x_train, y_train, x_test, y_test, in the order they have; or images and labels, of which a
    fifth, drawn with a fixed seed, is for testing. Images: N x H x W, N x H x W x C or N x C x H x W with
    C <= 4, uint8 or floats in [0, 1]. Labels: integers 0..C-1, each of which occurs in the training set.
    """
    arrays = _arrays(path)
    if tuple(arrays) == IN_SPLITS:
        splits = [
            (_images(f"{path}: {x}", arrays[x]), _labels(f"{path}: {y}", arrays[y]))
            for x, y in (IN_SPLITS[:2], IN_SPLITS[2:])
        ]
        return _classes(f"{path}: y_train", splits[0][1]), splits
    images = _images(f"{path}: images", arrays["images"])
    labels = _labels(f"{path}: labels", arrays["labels"])
    if len(images) != len(labels):
        raise DataError(f"{path}: {len(images)} images but {len(labels)} labels")
    return _classes(f"{path}: labels", labels), seeded_split(
        images, labels, train=len(images) - _fifth(path, len(images))
    )


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
    parts = [_files(folder, classes) for folder in (start, *([test] if test.is_dir() else []))]
    shape = _shape([file for part in parts for file, _ in part])
    parts = [_shuffled(part) for part in parts]
    if len(parts) == 1:
        n_train = len(parts[0]) - _fifth(root, len(parts[0]))
        parts = [parts[0][:n_train], parts[0][n_train:]]
    return len(classes), [_split(part, shape) for part in parts]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of one form or the other; nothing is unpacked before all that is claimed is checked."""
    key = "its list of arrays"
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            form = next((form for form in (IN_SPLITS, IN_ONE) if set(form) <= set(members)), None)
            if form is None:
                held = ", ".join(key for key in IN_SPLITS + IN_ONE if key in members)
                raise DataError(
                    f"{path} holds {held or 'none of these arrays'}; expected {', '.join(IN_SPLITS)}, "
                    f"or {' and '.join(IN_ONE)}"
                )
            unpacked = sum(members[key].file_size for key in form)
            if unpacked * (2 if form is IN_ONE else 1) > room(path.stat().st_size):  # two: it is shuffled
                raise DataError(
                    f"{path} unpacks to {unpacked:,} bytes, more than ten times its length with what reading "
                    "takes: write it with numpy.savez, which packs nothing"
                )
            arrays = {}
            for key in form:
                arrays[key] = _array(file, members[key])
            return arrays
    except DataError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy's reader of headers make of a damaged file
        raise DataError(
            f"{path}: cannot read {key}: {_reason(error)}; "
            "only plain arrays of numbers are read (numpy.savez)"
        ) from None


def _array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed in a way that NumPy does not write")
    with file.open(info) as member:
        shape, dtype = _npy_header(member)
        length = info.file_size - member.tell()
    if not dtype.hasobject and (dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != length):
        raise ValueError(f"its header says {_by(shape)} of {dtype}, it holds {length} bytes")
    with file.open(info) as member:
        array: NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return array


def _npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(member)]
        shape, _, dtype = read(member)
    except Exception:  # NumPy has Python's own parser read it
        raise ValueError("its header is not that of an array of numbers") from None
    return shape, dtype


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
        return images
    if images.dtype.kind != "f":
        raise DataError(f"{what} must be uint8, or floats in [0, 1], got {images.dtype}")
    low, high = images.min(), images.max()
    if np.isnan(low):
        raise DataError(f"{what} must lie in [0, 1], {np.isnan(images).sum()} of its values are NaN")
    if low < 0 or high > 1:
        raise DataError(
            f"{what}: floats must lie in [0, 1], got {low:g} to {high:g}: scale them, or save uint8"
        )
    return images


def _labels(what: str, labels: NDArray[Any]) -> Labels:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{what} must have one label an image, got an array of {_by(labels.shape)}")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} must be integers, got {labels.dtype}")
    return labels


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


def _fifth(path: Path, images: int) -> int:
    """How many of the images are set aside for testing."""
    if images < 5:
        raise DataError(f"{path}: {images} images are too few to set a fifth aside for testing")
    return images // 5


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    files = []
    for folder in _folders(root):
        if folder.name not in classes:
            raise DataError(f"{folder} is no class of the training set: {', '.join(classes[:10])}")
        images = sorted(path for path in folder.iterdir() if _is_image(path))
        if not images:
            raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
        files += [(path, classes.index(folder.name)) for path in images]
    return files


def _is_image(path: Path) -> bool:
    """By its name; a hidden file, such as macOS's ._1.png, is none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _shuffled(files: Sequence[tuple[Path, int]]) -> list[tuple[Path, int]]:
    return [files[i] for i in np.random.default_rng(0).permutation(len(files))]


def _shape(files: Sequence[Path]) -> tuple[int, int, int]:
    """Channels, height and width of all images, from their headers alone."""
    headers = [_header(file) for file in files]
    (_, width, height), colour = headers[0], any(mode == "RGB" for mode, _, _ in headers)
    for file, (_, *size) in zip(files, headers, strict=True):
        if size != [width, height]:
            raise DataError(
                f"{file} is {_by(size)}, but {files[0]} is {width} x {height} "
                "(width x height): bring all images to one size"
            )
    return 3 if colour else 1, height, width


def _split(files: Sequence[tuple[Path, int]], shape: tuple[int, int, int]) -> Split:
    images = np.empty((len(files), *shape), np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        with _opened(file) as opened:
            wanted = MODES[opened.mode]
            pixels = np.asarray(opened if opened.mode == wanted else opened.convert(wanted))
            image[:] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return images, np.array([label for _, label in files])


def _header(file: Path) -> tuple[str, int, int]:
    """What a picture is read as, its width and its height."""
    with _opened(file) as image:
        if image.mode not in MODES:
            raise DataError(f"{file} has mode {image.mode}: save it as 8-bit grey or RGB, no alpha")
        mode, (width, height) = MODES[image.mode], image.size
        taken = 4 * len(mode) * width * height  # a byte per channel, in four copies, Pillow's and ours
        if taken > room(file.stat().st_size):
            raise DataError(
                f"{file} is {width} x {height} (width x height): reading it takes more than ten times its "
                f"{file.stat().st_size:,} bytes; make the images smaller, or write arrays with numpy.savez"
            )
    return mode, width, height


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    content = io.BytesIO(
        file.read_bytes()
    )  # of a file Pillow would take the memory that a damaged length claims
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(content, formats=("PNG", "JPEG")) as image:
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"cannot read {file}: it is no PNG or JPEG") from None
    except Exception as error:  # whatever Pillow makes of a damaged file
        raise DataError(f"cannot read {file}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
