"""Many runs, spread over processes of this machine.

Each run's folder has a lock of the operating system, which dies with its process: two commands on the same
folder share the work, and neither does a run that the other is at.
"""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from rich.progress import Progress

from . import data, records
from .plan import Run

__all__ = ["Workers", "execute_here", "processors"]

MAX_LOST = 3
"""A run that has killed its worker so often is given up."""


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Workers:
    """A pool of processes that execute runs.

    Args:
        root: the folder under which each run has its own (`Run.folder`).
        data_dir: where data sets lie that are not embedded.
        jobs: how many processes.
        progress: shows what is going on.

    Example:
        >>> with Workers(Path("results/runs"), jobs=2) as workers:  # doctest: +SKIP
        ...     workers.execute(runs, "choosing gamma_0")
    """

    def __init__(
        self, root: Path, data_dir: Path | None = None, *, jobs: int, progress: Progress | None = None
    ) -> None:
        self.root = root
        self.data_dir = data_dir
        self.jobs = jobs
        self.progress = progress or Progress(disable=True)

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._lifeline.close()  # the workers stop at once: a run can be killed at any moment
        self._pool.shutdown(cancel_futures=True)
        self._lifeline.close()

    def _start(self) -> None:
        watched, self._lifeline = get_context("spawn").Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            self.jobs, mp_context=get_context("spawn"), initializer=_initialise, initargs=(watched,)
        )

    def execute(self, runs: list[Run], description: str) -> None:
        """Execute the runs that are not complete yet, and return when all are.

        Raises:
            RuntimeError: a run's worker died again and again.
            Exception: what a run raised (bad data, a damaged record, a full disk).
        """
        left = [r for r in runs if not records.is_complete(self._log(r), r.epochs)]
        if not left:
            return
        task = self.progress.add_task(description, total=sum(r.epochs for r in runs))
        under_way: dict[Future[bool], Run] = {}
        busy: set[Path] = set()
        lost: dict[Path, int] = {}
        for run in left:
            under_way[self._submit(run, busy)] = run
        done_epochs = sum(r.epochs for r in runs) - sum(r.epochs for r in left)
        while under_way:
            finished, _ = wait(under_way, timeout=1, return_when=FIRST_COMPLETED)
            again: list[Run] = []
            broken = False
            for future in finished:
                run = under_way.pop(future)
                try:
                    if future.result():
                        done_epochs += run.epochs
                    else:  # another command is at it: come back to it last, and wait for it then
                        busy.add(run.folder)
                        again.append(run)
                except BrokenProcessPool:
                    broken = True
                    again.append(run)
            if broken:
                again += under_way.values()
                under_way.clear()
                for run in again:
                    lost[run.folder] = lost.get(run.folder, 0) + 1
                self._lifeline.close()
                self._pool.shutdown(cancel_futures=True)
                if max(lost.values()) > MAX_LOST:
                    raise RuntimeError(
                        f"workers died {MAX_LOST + 1} times, last at one of {self._names(again)}"
                    )
                self._start()
            for run in again:
                under_way[self._submit(run, busy)] = run
            if not self.progress.disable:
                at_work = [r for f, r in under_way.items() if f.running()]
                part = sum(records.last_epoch(self._log(r)) for r in at_work)
                self.progress.update(task, completed=done_epochs + part)
        self.progress.update(task, completed=done_epochs)

    def records(self, run: Run) -> list[dict[str, Any]]:
        """The records of a run."""
        return records.read(self._log(run))

    def _submit(self, run: Run, busy: set[Path]) -> Future[bool]:
        return self._pool.submit(
            execute_here, run, self.root, self.data_dir, wait_for_lock=run.folder in busy
        )

    def _log(self, run: Run) -> Path:
        return self.root / run.folder / "records.jsonl"

    def _names(self, runs: list[Run]) -> str:
        return ", ".join(str(self.root / run.folder) for run in runs[: self.jobs])


def execute_here(
    run: Run,
    root: Path,
    data_dir: Path | None,
    *,
    wait_for_lock: bool = True,
    on_epoch: Callable[[int], None] | None = None,
) -> bool:
    """Execute a run in this process; False if another process holds it and we are not to wait."""
    from .training import train

    folder = root / run.folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=-1 if wait_for_lock else 0):
            problem = run.problem
            loaded = data.load(problem.dataset, data_dir, train=problem.train, test=problem.test)
            train(run, folder, loaded, on_epoch)
    except Timeout:
        return False
    return True


def _initialise(lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()


def _die_with_parent(lifeline: Connection) -> None:
    lifeline.poll(None)  # returns when the parent closes its end, or dies
    os._exit(1)
