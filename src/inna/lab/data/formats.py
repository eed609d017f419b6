"""Read the official formats: IDX files (MNIST, Fashion-MNIST) and CIFAR's binary records."""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .official import DataError

__all__ = ["Images", "Labels", "Split", "read_cifar", "read_idx", "room", "seeded_split"]

Images = NDArray[Any]
"""(N, channels, height, width), uint8 in 0..255 or floats in [0, 1]."""
Labels = NDArray[np.integer[Any]]
"""(N,), integers."""
Split = tuple[Images, Labels]
"""The images and the labels of a training or a test set."""

PIECE = 1 << 16
"""Bytes unpacked at once: zlib takes as much memory as it is asked to fill."""

_FETCH_AGAIN = "move it away and get it with `inna data fetch`"


def room(length: int) -> int:
    """The memory that reading a file of this length may take, whatever its header says: ten times as much.

    A packed file may claim, and hold, a thousand times its length. Below 32 MiB that does no harm.
    """
    return max(10 * length, 1 << 25)


def read_idx(images: Path, labels: Path) -> Split:
    """Grey images and their labels from a pair of IDX files, gzipped or not."""
    left = _room([images, labels])
    pixels = _idx(images, left, dimensions=3)
    return pixels[:, None], _idx(labels, left - pixels.nbytes, dimensions=1)


def read_cifar(files: Sequence[Path], *, label_bytes: int) -> Split:
    """Colour images from records of a label (CIFAR-100: the coarse one, then the fine one) and pixels."""
    record = label_bytes + 3072
    left = _room(files) // 2  # the parts, and what they are joined to
    parts = []
    for path in files:
        with _opened(path, left) as (file, most):
            content = _taken(file, most)
            if file.read(1):
                raise DataError(f"{path} unpacks to more than {most} bytes: {_FETCH_AGAIN}")
        left -= len(content)
        if len(content) == 0 or len(content) % record:
            raise DataError(f"{path} holds {len(content)} bytes, not a multiple of {record}: {_FETCH_AGAIN}")
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, record))
    pixels = np.concatenate([part[:, label_bytes:] for part in parts])
    labels = np.concatenate([part[:, label_bytes - 1] for part in parts])
    return pixels.reshape(-1, 3, 32, 32), labels


def seeded_split(images: Images, labels: Labels, *, train: int) -> list[Split]:
    """The same shuffle at every call: the first `train` images to train with, the others to test."""
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return [(images[:train], labels[:train]), (images[train:], labels[train:])]


def _idx(path: Path, left: int, *, dimensions: int) -> NDArray[np.uint8]:
    with _opened(path, left) as (file, most):
        header = file.read(4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
            raise DataError(f"{path} is not an IDX file of bytes in {dimensions} dimensions: {_FETCH_AGAIN}")
        shape = struct.unpack(f">{dimensions}I", header[4:])
        claimed = math.prod(shape)
        if claimed > most:
            raise DataError(
                f"{path} claims {claimed} pixels or labels, more than its length can hold (zipped: ten times "
                f"its length): {_FETCH_AGAIN}"
            )
        if claimed == 0:
            raise DataError(
                f"{path} holds nothing, its shape is {' x '.join(map(str, shape))}: {_FETCH_AGAIN}"
            )
        content = _taken(file, claimed)
        more = "more than " if file.read(1) else ""
    if more or len(content) != claimed:
        raise DataError(
            f"{path} should hold {claimed} pixels or labels, it holds {more}{len(content)}: {_FETCH_AGAIN}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _room(paths: Sequence[Path]) -> int:
    """For files that are read together; what is missing is told when its turn comes."""
    there = [path for path in map(_packed, paths) if path.exists()]
    return room(sum(path.stat().st_size for path in there))


def _packed(path: Path) -> Path:
    """`path.gz` if it is there, as the checksums are the zipped files', or else `path`."""
    zipped = path.with_name(path.name + ".gz")
    return zipped if zipped.exists() else path


@contextmanager
def _opened(path: Path, left: int) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """A stream of what a file holds, and the bytes that may be: its length, or if zipped what is left."""
    read = _packed(path)
    try:
        length = read.stat().st_size
        with gzip.open(read) if read != path else path.open("rb") as file:
            yield file, left if read != path else length
    except FileNotFoundError:
        raise DataError(
            f"found neither {path} nor {path.name}.gz beside it: get it with `inna data fetch`"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {read}: {error}: {_FETCH_AGAIN}") from None


def _taken(file: io.BufferedIOBase, most: int) -> bytearray:
    """The next bytes, so many at most."""
    content, length = bytearray(most), 0
    with memoryview(content) as view:
        while taken := file.readinto(view[length : length + PIECE]):
            length += taken
    del content[length:]
    return content
