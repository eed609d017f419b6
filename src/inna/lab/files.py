"""Files on the disk: written whole or not at all, and removed with what a killed writer has left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["named", "remove", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing, even if the machine dies on the way; one writer at a time."""
    temporary = _temporary(path)
    try:
        with named(path), temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file that was written atomically, and what a killed writer of it has left."""
    for left in (path, _temporary(path)):
        left.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """A full disk's error does not say which file was being written: add it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, f"cannot write: {os.strerror(error.errno)}", str(path)) from None
        raise
