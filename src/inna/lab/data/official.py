"""What the official files of a data set must be, and where they lie on this machine."""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from platformdirs import user_cache_path

from ..files import expanded

__all__ = ["DataError", "File", "Source", "State", "expanded", "home"]


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
