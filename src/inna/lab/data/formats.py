"""Read the official formats: IDX files (MNIST, Fashion-MNIST) and CIFAR's binary records."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sources import DataError

__all__ = ["Images", "Labels", "Split", "read_cifar", "read_idx", "seeded_split"]

Images = NDArray[Any]
"""(N, channels, height, width), uint8 in 0..255 or float32 in [0, 1]."""
Labels = NDArray[np.int64]
Split = tuple[Images, Labels]

_FETCH_AGAIN = "move it away and get it with `inna data fetch`"


def read_idx(images: Path, labels: Path) -> Split:
    """Grey images and their labels from a pair of IDX files, gzipped or not."""
    return _idx(images, dimensions=3)[:, None], _idx(labels, dimensions=1).astype(np.int64)


def read_cifar(files: Sequence[Path], *, label_bytes: int) -> Split:
    """Colour images from records of a label (CIFAR-100: the coarse one, then the fine one) and pixels."""
    record = label_bytes + 3072
    parts = []
    for file in files:
        content = _content(file)
        if len(content) == 0 or len(content) % record:
            raise DataError(f"{file} holds {len(content)} bytes, not a multiple of {record}: {_FETCH_AGAIN}")
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, record))
    pixels = np.concatenate([part[:, label_bytes:] for part in parts])
    labels = np.concatenate([part[:, label_bytes - 1] for part in parts])
    return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def seeded_split(images: Images, labels: Labels, *, train: int) -> list[Split]:
    """The same shuffle at every call: the first `train` images to train with, the others to test."""
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return [(images[:train], labels[:train]), (images[train:], labels[train:])]


def _idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
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


def _content(path: Path) -> bytes:
    """What `path.gz` holds, as the checksums are the zipped files', or else what `path` holds."""
    zipped = path.with_name(path.name + ".gz")
    try:
        return gzip.decompress(zipped.read_bytes()) if zipped.exists() else path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"found neither {path} nor {zipped.name} beside it: get it with `inna data fetch`"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        read = zipped if zipped.exists() else path
        raise DataError(f"cannot read {read}: {error}: {_FETCH_AGAIN}") from None
