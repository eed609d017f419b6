"""Files on the disk: written whole or not at all, removed with what a killed writer has left, and locked."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ModuleNotFoundError:  # Windows, whose file systems all have locks
    fcntl = None  # type: ignore[assignment]

__all__ = ["Held", "expanded", "is_held", "locked", "named", "remove", "write_atomically"]


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


def expanded(path: str | Path) -> Path:
    """A path with the home folder for its ~, which no shell has done in quotes or in a plan."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~nobody: a file may be called so
        return Path(path)


class Held(Exception):
    """Another process has the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock of the operating system, which dies with its process.

    Args:
        path: the lock's file, which stays behind.
        wait: until another process has released it.

    Raises:
        Held: another process has it, and we are not to wait.
        OSError: the file system has no locks.
    """
    _check_for_locks(path)
    try:
        with FileLock(path, timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise Held(str(path)) from None


def is_held(path: Path) -> bool:
    """Whether some living process has the lock, as far as this process may see."""
    if not path.exists():
        return False
    try:
        with locked(path, wait=False):
            return False
    except Held:
        return True
    except OSError:  # a folder that one may read but not write, or without locks
        return False


def _check_for_locks(path: Path) -> None:
    """Where there are none, filelock waits for ever, or makes one that outlives a kill."""
    if fcntl is None:
        return
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):  # it is held: locks work
                reason = f"the file system has no locks ({error.strerror}): use a folder on another one"
                raise OSError(error.errno, reason, str(path)) from None
