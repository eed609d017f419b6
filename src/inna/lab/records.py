"""What a run leaves on the disk: plain data, whole after a crash, readable without us.

A run's folder holds ``run.json`` (what was run, with which versions), ``records.jsonl`` (a line of JSON for
each epoch, only ever appended) and, until it is complete, ``checkpoint.pt``. Its ``lock`` is held by the
process that is at it.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from . import files
from .plan import Run

__all__ = ["NUMBERS", "VOLATILE", "Record", "RecordError", "RunFolder", "below", "is_last", "read"]

Record = dict[str, Any]
"""A line of `records.jsonl`: the fields of one epoch."""

NUMBERS = (
    "train_loss",
    "train_loss_running",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "lr",
    "seconds",
)
"""The fields that are finite, or null where nothing was measured."""

FIELDS = ("epoch", "diverged", *NUMBERS, "time", "host", "process", "worker")

VOLATILE = ("seconds", "time", "host", "process", "worker")
"""The fields that differ between two executions of the same run; all others are the same on a CPU."""


class RecordError(ValueError):
    """A record is damaged; the message names the file and the line."""


def read(path: Path) -> list[Record]:
    """Read a file of records: epochs 0, 1, 2, ... with all fields; none if there is no file yet.

    Raises:
        RecordError: a line other than a torn last one is not the record of its epoch.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    found: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_record(line, epoch=number - 1))
            if number > 1 and found[-2]["diverged"]:
                raise ValueError("the run had diverged before")
        except (ValueError, RecursionError) as error:
            raise RecordError(
                f"{path}, line {number}, is damaged: delete the folder {path.parent} to run it again "
                f"({error})"
            ) from None
    return found


def _record(line: bytes, epoch: int) -> Record:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("no JSON object")
    missing = [key for key in FIELDS if key not in record]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    if type(record["epoch"]) is not int or record["epoch"] != epoch:
        raise ValueError(f"epoch {epoch} expected, got {record['epoch']!r}")
    for key in NUMBERS:
        if record[key] is not None and not _is_finite(record[key]):
            raise ValueError(f"{key} must be finite or null, got {record[key]!r}")
    for key, kind in (("diverged", bool), ("host", str), ("process", int), ("worker", str)):
        if type(record[key]) is not kind:
            raise ValueError(f"{key} must be of type {kind.__name__}, got {record[key]!r}")
    if not isinstance(record["time"], str) or datetime.fromisoformat(record["time"]).tzinfo is None:
        raise ValueError(f"time must be a time with its zone, got {record['time']!r}")
    return record


def _is_finite(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def is_last(record: Record, epochs: int) -> bool:
    """Whether a run has come to its end: its last epoch, or its divergence."""
    return bool(record["epoch"] >= epochs or record["diverged"])


class RunFolder:
    """What one run has left: its records, its description, its checkpoint, its lock.

    Args:
        path: the folder.
        epochs: of the whole run.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self.path, self.epochs = path, epochs
        self.log = path / "records.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self._description, self._lock = path / "run.json", path / "lock"

    @classmethod
    def of(cls, run: Run, root: Path) -> "RunFolder":
        """The folder of a run below the folder of all runs."""
        return cls(root / run.folder, run.epochs)

    @classmethod
    def at(cls, path: Path) -> "RunFolder":
        """The folder of a run that has begun.

        Raises:
            RecordError: its description is missing or damaged.
        """
        return cls(path, _description(path / "run.json")["run"]["epochs"])

    def records(self) -> list[Record]:
        """The records; none if the run has not begun.

        Raises:
            RecordError: a line is damaged, or there are more epochs than the run has.
        """
        found = read(self.log)
        if len(found) > self.epochs + 1:
            raise RecordError(
                f"{self.log} holds epoch {found[-1]['epoch']} of a run of {self.epochs}: delete the folder "
                f"{self.path} to run it again"
            )
        return found

    def append(self, record: Record) -> None:
        """Append one record; a crash in between leaves at most a torn last line, which `read` ignores."""
        line = json.dumps(record, allow_nan=False) + "\n"
        with files.named(self.log), self.log.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def rewind(self, epoch: int) -> list[Record]:
        """Drop the torn line and the records later than `epoch`, and return what is left."""
        kept = [record for record in self.records() if record["epoch"] <= epoch]
        content = "".join(json.dumps(record) + "\n" for record in kept).encode()
        if self.log.exists() and self.log.read_bytes() != content:
            files.write_atomically(self.log, content)
        return kept

    @property
    def is_complete(self) -> bool:
        """Whether the run has come to its end."""
        found = self.records()
        return bool(found) and is_last(found[-1], self.epochs)

    @property
    def last_epoch(self) -> int:
        """How far the run has come: the epoch of its last record, 0 if there is none."""
        return max(len(self.records()) - 1, 0)

    @property
    def is_described(self) -> bool:
        """Whether it is written down what was run."""
        return self._description.exists()

    def describe(self, content: dict[str, Any]) -> None:
        """Write down what is run, and on what."""
        files.write_atomically(self._description, (json.dumps(content, indent=1) + "\n").encode())

    def description(self) -> dict[str, Any]:
        """What was run, and on what.

        Raises:
            RecordError: the file is missing or damaged.
        """
        return _description(self._description)

    def locked(self, *, wait: bool) -> AbstractContextManager[None]:
        """Be the one process that is at this run; see `inna.lab.files.locked`."""
        return files.locked(self._lock, wait=wait)

    @property
    def is_held(self) -> bool:
        """Whether some living process is at this run."""
        return files.is_held(self._lock)


def below(root: Path) -> Iterator[RunFolder]:
    """All runs that have begun below a folder, in the order of their names.

    Raises:
        RecordError: a description is damaged.
    """
    for path in sorted(root.glob("**/run.json")):
        yield RunFolder.at(path.parent)


def _description(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        if not (isinstance(found["run"]["epochs"], int) and isinstance(found["data"]["sha256"], str)):
            raise TypeError
    except (FileNotFoundError, LookupError, TypeError, ValueError, RecursionError):
        raise RecordError(
            f"{path} is missing or damaged: delete the folder {path.parent} to run it again"
        ) from None
    return found
