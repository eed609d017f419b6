"""Download a data set from its official source: verified before it is in place, resumable at any byte."""

import gzip
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import requests
import urllib3

from ... import __version__
from ..files import is_held, locked
from .official import DataError, File, Source, State

__all__ = ["PAUSES", "fetch"]

PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each round over the mirrors; they start anew when a round brought new bytes."""

TIMEOUTS = (10.0, 30.0)
"""Seconds to connect, and between two pieces of an answer."""

PIECE = 1 << 16

Progress = Callable[[str, int, int], object]
"""Takes what is being done, the bytes that are there, and the bytes there will be."""


def fetch(
    source: Source,
    home: Path,
    *,
    on_progress: Progress = lambda *_: None,
    pauses: Sequence[float] = PAUSES,
) -> Path:
    """Bring the missing files of a data set into its folder below `home`.

    What arrives lies in a hidden folder beside it until it is whole and its SHA-256 is right; what an
    interruption leaves there is resumed. Of two commands at once, one fetches and the other waits.

    Args:
        source: what to fetch, such as ``inna.lab.data.sources.OFFICIAL["mnist"]``.
        home: the folder of all data sets.
        on_progress: told about every piece that arrives.
        pauses: seconds before each round over the mirrors.

    Returns:
        The folder that holds the files.

    Raises:
        DataError: no mirror has the right file, the archive is not what it should be, or a file that lies
            there already differs from the official one: it is never overwritten.
        OSError: the disk is full or cannot be written.

    Example:
        >>> fetch(OFFICIAL["mnist"], Path("data"))  # doctest: +SKIP
        PosixPath('data/mnist')
    """
    if _missing(source, home):
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home / f".{source.folder}.lock", on_progress):
            if missing := _missing(source, home):  # again: another command may have brought them
                _bring(source, missing, home, on_progress, pauses)
    return source.find(home) or home / source.folder


def _missing(source: Source, home: Path) -> list[File]:
    states = source.states(home)
    for file, state in states.items():
        if state is State.differs:
            raise DataError(
                f"{source.find(home)}/{file.name} is not the official file (damaged, or another copy), and "
                "nothing is overwritten: move it away, or fetch into another --data-dir"
            )
    return [file for file, state in states.items() if state is State.missing]


@contextmanager
def _alone(path: Path, on_progress: Progress) -> Iterator[None]:
    if is_held(path):
        on_progress("waiting for another command", 0, 0)
    with locked(path):
        yield


def _bring(
    source: Source,
    missing: list[File],
    home: Path,
    on_progress: Progress,
    pauses: Sequence[float],
) -> None:
    staging = home / f".{source.folder}.part"
    staging.mkdir(exist_ok=True)
    downloads = [source.archive] if source.archive else missing
    total = sum(file.size for file in downloads)
    _check_space(staging, total + sum(file.size for file in source.files if source.archive))
    before = 0
    with requests.Session() as session:
        session.headers.update({"User-Agent": f"inna/{__version__}", "Accept-Encoding": "identity"})
        for file in downloads:

            def tell(arrived: int, name: str = file.name, before: int = before) -> None:
                on_progress(name, before + arrived, total)

            _download(session, source.mirrors, file, staging, tell, pauses)
            before += file.size
    ready = staging / source.folder
    shutil.rmtree(ready, ignore_errors=True)
    if source.archive:
        on_progress(f"unpacking {source.archive.name}", total, total)
        _unpack(staging / source.archive.name, source)
    else:
        ready.mkdir()
        for file in missing:
            (staging / file.name).replace(ready / file.name)
    target = source.find(home)
    if target is None:
        ready.rename(home / source.folder)  # all at once
    else:
        for file in missing:
            (ready / file.name).replace(target / file.name)
    shutil.rmtree(staging)


def _check_space(folder: Path, needed: int) -> None:
    there = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    free = shutil.disk_usage(folder).free
    if free < needed - there:
        raise DataError(
            f"{folder.parent} has {free / 1e6:.0f} MB free, {(needed - there) / 1e6:.0f} MB are needed: "
            "make room, or fetch into another --data-dir"
        )


class _Passing(Exception):
    """A mirror failed in a way that may be over soon."""


class _Useless(Exception):
    """A mirror does not have the file."""


def _download(
    session: requests.Session,
    mirrors: Sequence[str],
    file: File,
    staging: Path,
    on_bytes: Callable[[int], object],
    pauses: Sequence[float],
) -> None:
    """Every mirror in turn, then all of them again after a pause, for as long as bytes arrive."""
    path, part = staging / file.name, staging / f"{file.name}.part"
    if path.exists() and file.matches(path):
        return
    left = [mirror + file.name for mirror in mirrors]
    failures: dict[str, str] = {}
    resumed_wrongly: set[str] = set()
    rounds = iter(pauses)
    while left and (pause := next(rounds, None)) is not None:
        time.sleep(pause)
        for url in list(left):
            start = _size(part)
            try:
                _receive(session, url, file, part, on_bytes)
                if file.matches(part):
                    part.replace(path)
                    return
                part.unlink()
                failures[url] = "wrong SHA-256"
                if not start or url in resumed_wrongly:
                    left.remove(url)
                resumed_wrongly.add(url)  # the old part may have been the wrong one: once more, from 0
            except _Passing as error:
                failures[url] = str(error)
            except _Useless as error:
                failures[url] = str(error)
                left.remove(url)
            if _size(part) > start:
                rounds = iter(pauses)
    kept = f"; {_size(part):,} of {file.size:,} bytes are kept, the same command goes on from there"
    reasons = "; ".join(f"{url}: {why}" for url, why in failures.items())
    raise DataError(f"cannot fetch {file.name}: {reasons}{kept if _size(part) else ''}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(
    session: requests.Session, url: str, file: File, part: Path, on_bytes: Callable[[int], object]
) -> None:
    """Append to `part` what it lacks, or write it anew where the server cannot go on in the middle."""
    start = _size(part)
    if start >= file.size:
        return
    try:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as answer:
            _check_answer(answer, start, file.size)
            with part.open("ab" if answer.status_code == 206 else "wb") as to:
                on_bytes(to.tell())
                for piece in answer.raw.stream(PIECE, decode_content=False):
                    to.write(piece)
                    if to.tell() > file.size:
                        raise _Useless(f"more than the expected {file.size:,} bytes")
                    on_bytes(to.tell())
    except requests.Timeout:
        raise _Passing("timed out") from None
    except requests.RequestException as error:
        raise _Passing(f"no connection ({type(error).__name__})") from None
    except urllib3.exceptions.HTTPError:
        raise _Passing(f"connection lost after {_size(part):,} of {file.size:,} bytes") from None
    finally:
        if _size(part) > file.size:
            part.unlink()
    if _size(part) < file.size:
        raise _Passing(f"ended after {_size(part):,} of {file.size:,} bytes")


def _check_answer(answer: requests.Response, start: int, size: int) -> None:
    status = answer.status_code
    if status >= 500 or status in (408, 429):
        raise _Passing(f"HTTP {status}")
    if status not in (200, 206):
        raise _Useless(f"HTTP {status}")
    if status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise _Useless("another range than the one asked for")
    length = answer.headers.get("Content-Length", "")
    if status == 200 and length.isdigit() and int(length) != size:
        raise _Useless(f"{int(length):,} bytes where {size:,} are expected")


def _unpack(archive: Path, source: Source) -> None:
    """Unpack beside the archive, into the folder of the data set, if nothing in it leads elsewhere."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            for member in members:
                path = PurePosixPath(member.name)
                inside = path.parts[:1] == (source.folder,) and len(path.parts) <= 2 and path.name != ".."
                if not (inside and (member.isfile() or member.isdir())):
                    raise DataError(
                        f"{archive.name} holds {member.name!r}, which is no plain file in {source.folder}/: "
                        "nothing of it is unpacked"
                    )
            sizes = {PurePosixPath(member.name).name: member.size for member in members}
            for file in source.files:
                if sizes.get(file.name) != file.size:
                    raise DataError(f"{archive.name} does not hold {file.name} of {file.size:,} bytes")
            ready = archive.parent / source.folder
            ready.mkdir()
            for member in members:
                if content := tar.extractfile(member):  # none of a folder
                    with content, (ready / PurePosixPath(member.name).name).open("wb") as to:
                        shutil.copyfileobj(content, to)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive.name} cannot be unpacked: {error}") from None
