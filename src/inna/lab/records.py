"""What a run leaves on the disk: plain data, whole after a crash, readable without us.

A run's folder holds ``run.json`` (what was run, with which versions), ``records.jsonl`` (a line of JSON for
each epoch, only ever appended) and, until it is complete, ``checkpoint.pt``.
"""

import json
import os
from pathlib import Path
from typing import Any

from .files import named, write_atomically

__all__ = [
    "VOLATILE",
    "RecordError",
    "append",
    "description",
    "is_complete",
    "last_epoch",
    "read",
    "rewind",
]

VOLATILE = ("seconds", "time", "host", "process", "worker")
"""The fields that differ between two executions of the same run; all others are the same on a CPU."""


class RecordError(ValueError):
    """A record is damaged; the message names the file and the line."""


def append(path: Path, record: dict[str, Any]) -> None:
    """Append one record; a crash in between leaves at most a torn last line, which `read` ignores."""
    line = json.dumps(record, allow_nan=False) + "\n"
    with named(path), path.open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Read a run's records; none if there is no file yet.

    Raises:
        RecordError: a line other than a torn last one is not a record.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not (isinstance(record, dict) and {"epoch", "diverged"} <= record.keys()):
            raise RecordError(
                f"{path}, line {number}, is damaged: delete the folder {path.parent} to run it again"
            )
        found.append(record)
    return found


def description(folder: Path) -> dict[str, Any]:
    """What was run in a run's folder, on what: the content of its ``run.json``.

    Raises:
        RecordError: the file is missing or damaged.
    """
    path = folder / "run.json"
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        found["run"], found["data"]["sha256"]
    except (FileNotFoundError, LookupError, TypeError, ValueError):
        raise RecordError(
            f"{path} is missing or damaged: delete the folder {folder} to run it again"
        ) from None
    return found


def rewind(path: Path, epoch: int) -> list[dict[str, Any]]:
    """Drop the torn line and the records later than `epoch`, and return what is left."""
    kept = [record for record in read(path) if record["epoch"] <= epoch]
    content = "".join(json.dumps(record) + "\n" for record in kept).encode()
    if path.exists() and path.read_bytes() != content:
        write_atomically(path, content)
    return kept


def is_complete(path: Path, epochs: int) -> bool:
    """Whether a run has come to its end: its last epoch, or its divergence."""
    found = read(path)
    return bool(found) and (found[-1]["epoch"] >= epochs or found[-1]["diverged"])


def last_epoch(path: Path) -> int:
    """How far a run has come: the epoch of its last record, 0 if there is none."""
    found = read(path)
    return int(found[-1]["epoch"]) if found else 0
