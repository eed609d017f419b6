"""The long runs of a folder in TensorBoard while they go on: copies of records, for which nothing waits."""

import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from .plan import Evaluation
from .records import NUMBERS, RunFolder, is_last

__all__ = ["Mirror"]


class Mirror:
    """Copies the records below ``folder/runs`` to event files below ``folder/tensorboard`` as they come.

    What is there already is written anew, so nothing occurs twice after an interruption.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
        OSError: the folder cannot be made.

    Example:
        >>> with Mirror(Path("results")):  # doctest: +SKIP
        ...     workers.execute(runs, "training")
    """

    def __init__(self, folder: Path, *, every: float = 2.0) -> None:
        sys.modules.setdefault(
            "tensorboard.compat.notf", ModuleType("notf")
        )  # its way to leave TensorFlow out
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"--tensorboard needs {error.name}: pip install 'inna[tensorboard]'", name=error.name
            ) from None
        self._writer = SummaryWriter
        self._runs, self._target, self._every = folder / "runs", folder / "tensorboard", every
        self._target.mkdir(parents=True, exist_ok=True)  # nothing later would say that it cannot be written
        self._copied: dict[Path, int] = {}
        self._writers: dict[Path, Any] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for writer in self._writers.values():
            writer.close()

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.copy()
        self.copy()

    def copy(self) -> None:
        """Copy what is new."""
        for description in self._runs.glob("**/run.json"):
            try:
                self._copy(RunFolder.at(description.parent))
            except (OSError, ValueError):  # the command itself will say what is wrong with it
                continue

    def _copy(self, left: RunFolder) -> None:
        name = left.path.relative_to(self._runs)
        if self._copied.get(name) == -1:
            return
        run = left.description()["run"]
        if run["evaluate"] != Evaluation.every_epoch:
            self._copied[name] = -1
            return
        found = left.records()
        if name not in self._writers:
            shutil.rmtree(self._target / name, ignore_errors=True)
            self._writers[name] = self._writer(str(self._target / name))
            self._writers[name].add_text(
                "run", "\n".join(f"    {key}: {value}" for key, value in run.items())
            )
        for record in found[self._copied.get(name, 0) :]:
            for field in NUMBERS:
                if record[field] is not None:
                    self._writers[name].add_scalar(field, record[field], record["epoch"])
        self._copied[name] = len(found)
        self._writers[name].flush()
        if found and is_last(found[-1], left.epochs):
            self._writers.pop(name).close()
            self._copied[name] = -1
