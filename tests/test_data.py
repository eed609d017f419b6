import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inna.lab import data
from inna.lab.data import official, sources

N_TRAIN, N_TEST = 20, 10


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(root: Path, folder: str = "mnist", *, zipped: bool = True) -> Path:
    """Write the four files of MNIST in their official layout, with random pixels."""
    rng = np.random.default_rng(0)
    where = root / folder
    where.mkdir(parents=True)
    for split, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = idx(array)
            if zipped:
                (where / f"{split}-{kind}.gz").write_bytes(gzip.compress(content))
            else:
                (where / f"{split}-{kind}").write_bytes(content)
    return where


def write_cifar(root: Path, *, classes: int) -> Path:
    """Write CIFAR's binary files in their official layout, with random pixels."""
    rng = np.random.default_rng(0)
    if classes == 10:
        where, files = root / "cifar-10-batches-bin", [f"data_batch_{i}.bin" for i in range(1, 6)]
        test = "test_batch.bin"
    else:
        where, files, test = root / "cifar-100-binary", ["train.bin"], "test.bin"
    where.mkdir(parents=True)
    for file in [*files, test]:
        pixels = rng.integers(0, 256, (10, 3072), dtype=np.uint8)
        fine = (np.arange(10) * (classes // 10)).astype(np.uint8)[:, None]
        coarse = [] if classes == 10 else [np.full((10, 1), 7, np.uint8)]
        (where / file).write_bytes(np.concatenate([*coarse, fine, pixels], axis=1).tobytes())
    return where


@pytest.mark.parametrize(
    ("name", "train", "test", "shape"),
    [("mnist5k", 4000, 1000, (1, 28, 28)), ("digits", 1297, 500, (1, 8, 8))],
)
def test_embedded(name: str, train: int, test: int, shape: tuple[int, ...]) -> None:
    loaded = data.load(name)
    assert loaded.x_train.shape == (train, *shape)
    assert loaded.x_test.shape == (test, *shape)
    assert loaded.x_train.dtype == np.float32
    assert loaded.x_train.min() == 0
    assert loaded.x_train.max() == 1
    assert np.bincount(loaded.y_train[:500], minlength=loaded.classes).min() > 30  # not sorted by class


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion-mnist", "fashion-mnist")]
)
def test_idx_files(tmp_path: Path, name: str, folder: str, zipped: bool) -> None:
    write_mnist(tmp_path, folder, zipped=zipped)
    loaded = data.load(name, tmp_path)
    first = np.random.default_rng(0).integers(0, 256, (N_TRAIN, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.x_train[:, 0], first / np.float32(255))
    assert loaded.y_train.tolist() == [i % 10 for i in range(N_TRAIN)]
    assert loaded.x_test.shape == (N_TEST, 1, 28, 28)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_files(tmp_path: Path, classes: int) -> None:
    write_cifar(tmp_path, classes=classes)
    loaded = data.load(f"cifar{classes}", tmp_path)
    first = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.x_train[:10].reshape(10, 3072), first / np.float32(255))
    assert loaded.y_train[:10].tolist() == [i * (classes // 10) for i in range(10)]  # fine labels
    assert loaded.x_train.shape == ((50 if classes == 10 else 10), 3, 32, 32)


def test_a_subset_is_the_first_images() -> None:
    whole, part = data.load("digits"), data.load("digits", train=7, test=3)
    np.testing.assert_array_equal(part.x_train, whole.x_train[:7])
    np.testing.assert_array_equal(part.y_test, whole.y_test[:3])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def out_of_range(path: Path) -> None:
    path.write_bytes(idx(np.full(N_TRAIN, 10, np.uint8)))


def too_few(path: Path) -> None:
    path.write_bytes(idx(np.zeros(N_TRAIN - 1, np.uint8)))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train-images-idx3-ubyte", truncate, "claims 15680 pixels or labels, more than its length can hold"),
        ("train-images-idx3-ubyte", empty, "is not an IDX file"),
        (
            "train-labels-idx1-ubyte",
            lambda p: p.write_bytes(idx(np.zeros((2, 2, 2), np.uint8))),
            "is not an IDX file",
        ),
        (
            "train-images-idx3-ubyte",
            lambda p: p.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1 << 31, 1 << 31, 4)),  # 2^64 pixels
            "claims 18446744073709551616 pixels",
        ),
        (
            "train-images-idx3-ubyte",
            lambda p: p.write_bytes(idx(np.zeros((N_TRAIN, 0, 0), np.uint8))),
            "holds nothing, its shape is 20 x 0 x 0",
        ),
        (
            "train-images-idx3-ubyte",
            lambda p: p.write_bytes(p.read_bytes() + b"0"),
            "should hold 15680 pixels or labels, it holds more than 15680",
        ),
        (
            "t10k-images-idx3-ubyte",
            lambda p: p.write_bytes(idx(np.zeros((N_TEST, 8, 8), np.uint8))),
            "training images are 1 x 28 x 28, test images 1 x 8 x 8",
        ),
        ("train-labels-idx1-ubyte", out_of_range, "labels must lie in 0..9, got 10..10"),
        ("train-labels-idx1-ubyte", too_few, "20 training images but 19 labels"),
        ("t10k-labels-idx1-ubyte", Path.unlink, "found neither"),
    ],
)
def test_damaged_idx_files(tmp_path: Path, file: str, damage: Callable[[Path], object], message: str) -> None:
    damage(write_mnist(tmp_path, zipped=False) / file)
    with pytest.raises(data.DataError, match=message):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("damage", [truncate, empty])
def test_damaged_gzip_files(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(write_mnist(tmp_path) / "train-images-idx3-ubyte.gz")
    with pytest.raises(data.DataError, match="train-images-idx3-ubyte"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("pixels", [28, 1 << 13])
def test_a_gzip_file_that_unpacks_to_more_than_ten_times_its_length(tmp_path: Path, pixels: int) -> None:
    """Whether its header says so or not."""
    claimed = struct.pack(">4B3I", 0, 0, 8, 3, N_TRAIN, pixels, pixels)
    path = write_mnist(tmp_path) / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(claimed + bytes(1 << 24)))
    tracemalloc.start()
    with pytest.raises(data.DataError, match="more than"):
        data.load("mnist", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("damage", "message"), [(truncate, "not a multiple of 3073"), (empty, "holds 0 bytes")]
)
def test_damaged_cifar_files(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_cifar(tmp_path, classes=10) / "data_batch_3.bin")
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", tmp_path)


def test_mislabelled_cifar_file(tmp_path: Path) -> None:
    file = write_cifar(tmp_path, classes=10) / "test_batch.bin"
    file.write_bytes(bytes([200]) + file.read_bytes()[1:])
    with pytest.raises(data.DataError, match=r"test labels must lie in 0\.\.9, got 1\.\.200"):
        data.load("cifar10", tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    missing = rf"found no folder cifar-100-binary in {tmp_path}.*inna data fetch cifar100.*--data-dir"
    with pytest.raises(data.DataError, match=missing):
        data.load("cifar100", tmp_path)
    with pytest.raises(data.DataError, match="unknown data set 'cifar': choose from mnist5k, digits"):
        data.load("cifar")
    with pytest.raises(data.DataError, match="digits has 1297 training images, 1298 were asked for"):
        data.load("digits", train=1298)


def test_where_data_sets_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "named")
    write_mnist(tmp_path / "cache" / "inna" / "data")
    monkeypatch.setattr(official, "user_cache_path", lambda name, **_: tmp_path / "cache" / name)
    monkeypatch.delenv("INNA_DATA", raising=False)
    assert sources.home() == tmp_path / "cache" / "inna" / "data"
    assert len(data.load("mnist").x_train) == N_TRAIN
    monkeypatch.setenv("INNA_DATA", str(tmp_path / "named"))
    assert sources.home() == tmp_path / "named"
    assert len(data.load("mnist").x_train) == N_TRAIN
    assert sources.home(tmp_path) == tmp_path
    with pytest.raises(data.DataError, match="found no folder mnist or MNIST/raw"):
        data.load("mnist", tmp_path)


def test_zipped_files_are_preferred_as_they_can_be_verified(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"left by another program")
    assert data.load("mnist", tmp_path).classes == 10


@pytest.mark.skipif("INNA_DATA" not in os.environ, reason="INNA_DATA names no folder with the real data sets")
@pytest.mark.parametrize(("name", "shape"), [("mnist", (60000, 1, 28, 28)), ("cifar10", (50000, 3, 32, 32))])
def test_the_real_data_sets(name: str, shape: tuple[int, ...]) -> None:
    loaded = data.load(name, Path(os.environ["INNA_DATA"]))
    assert loaded.x_train.shape == shape
    assert loaded.x_test.shape == (10000, *shape[1:])
    assert np.bincount(loaded.y_test).min() > 800
