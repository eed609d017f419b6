"""Where the official data sets come from, what their files must be, and where they lie on this machine.

The checksums are those that at least two independent projects publish (TensorFlow Datasets among them for all
that is downloaded); the CIFAR files inside the archives have theirs from TorchVision for Ruby.
"""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from platformdirs import user_cache_path

from ..files import expanded

__all__ = ["OFFICIAL", "DataError", "File", "Source", "State", "expanded", "home"]


class DataError(ValueError):
    """A data set is unknown, missing or damaged; the message says which file and the way out."""


class State(StrEnum):
    """What a file on the disk is, next to the official one."""

    official = "official"
    differs = "differs"
    unpacked = "unpacked"  # an IDX file without its .gz, for which no checksum is published
    missing = "missing"


@dataclass(frozen=True)
class File:
    """A file as its authors publish it."""

    name: str
    size: int
    sha256: str

    def state(self, folder: Path) -> State:
        """Compare with the file of this name in a folder, by size and SHA-256."""
        path = folder / self.name
        if not path.is_file():
            unpacked = path.suffix == ".gz" and path.with_suffix("").is_file()
            return State.unpacked if unpacked else State.missing
        return State.official if self.matches(path) else State.differs

    def matches(self, path: Path) -> bool:
        """Whether a file has this size and this SHA-256."""
        if path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


@dataclass(frozen=True)
class Source:
    """The files of a data set, in a folder of this name, and the addresses they are fetched from.

    With an `archive`, that one file is fetched and the others are in it, in the folder.
    """

    folder: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]
    archive: File | None = None
    also: tuple[str, ...] = ()
    """Other places where other programs put the same files."""

    @property
    def downloads(self) -> tuple[File, ...]:
        """What is fetched."""
        return self.files if self.archive is None else (self.archive,)

    def find(self, where: Path) -> Path | None:
        """The folder of this data set below `where`, if there is one."""
        folders = [where / name for name in (*self.also, self.folder)]
        return next((folder for folder in folders if folder.is_dir()), None)

    def states(self, where: Path) -> dict[File, State]:
        """What each file below `where` is."""
        folder = self.find(where)
        return {file: State.missing if folder is None else file.state(folder) for file in self.files}


def home(data_dir: Path | None = None) -> Path:
    """The folder that holds the data sets: `data_dir`, or else $INNA_DATA, or else a cache of the user's."""
    if data_dir is None:
        named = os.environ.get("INNA_DATA")
        data_dir = Path(named) if named else user_cache_path("inna", appauthor=False) / "data"
    return expanded(data_dir)


TORONTO = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",
    "https://mirror.tensorflow.org/www.cs.toronto.edu/~kriz/",
)

OFFICIAL: dict[str, Source] = {
    "mnist": Source(
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
    ),
    "fashion-mnist": Source(
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
    ),
    "cifar10": Source(
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
    ),
    "cifar100": Source(
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
    ),
}
"""The data sets that can be downloaded, by name."""
