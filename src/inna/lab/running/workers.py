"""Many runs, spread over the workers of an engine: what is to be done, done again, and given up.

Two commands on the same folder share the work, on whatever engines.
"""

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Literal, Self

from ..plan import Run
from ..records import Record, RunFolder
from . import engines
from .execution import Order, Outcome, carry_out, own_places
from .own_code import check_same_code

__all__ = ["OnProgress", "Workers"]

OnProgress = Callable[[str, int, int], object]
"""Takes what is being done, the epochs that are done, and all epochs."""

MAX_LOST = 3
"""A run that has lost its worker more often is given up."""


class Workers:
    """The workers of an engine, at work on runs whose folders lie under one root.

    Args:
        root: the folder under which each run has its own (`Run.folder`); all workers must see it.
        data_dir: where data sets lie that are not embedded.
        jobs: how many runs at once; all that there is room for, if not given.
        engine: ``local``, this machine's processes, or a kind of cluster: a key of `running.engines.ENGINES`.
        address: of a running cluster; without it one is started on this machine.
        on_progress: told what is being done, the epochs that are done and how many there are.

    Example:
        >>> with Workers(Path("results/runs"), jobs=2) as workers:  # doctest: +SKIP
        ...     workers.execute(runs, "choosing gamma_0")
    """

    def __init__(
        self,
        root: Path,
        data_dir: Path | None = None,
        *,
        jobs: int | None = None,
        engine: str = "local",
        address: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.root = root.absolute()
        self.data_dir = data_dir.absolute() if data_dir else None
        self.on_progress = on_progress
        self._engine_options: dict[str, Any] = {"name": engine, "jobs": jobs, "address": address}

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        self._sign = NamedTemporaryFile(dir=self.root, prefix=".at-work-")
        try:
            self._engine = engines.start(**self._engine_options)
        except BaseException:
            self._sign.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sign.close()
        self._engine.close()

    def execute(self, runs: list[Run], description: str) -> None:
        """Execute the runs that are not complete yet, and return when all are.

        Raises:
            RuntimeError: a run failed (bad data, a damaged record, a full disk), or lost worker after worker.
            RecordError: a run is complete, but by other code of the user's own.
        """
        waiting: deque[Run] = deque()
        for run in runs:
            left_by_run = self._left(run)
            if not left_by_run.is_complete:
                waiting.append(run)
            else:
                check_same_code(run, left_by_run)
        if not waiting:
            return
        total, left = (sum(run.epochs for run in some) for some in (runs, waiting))
        if self.on_progress is not None:
            self.on_progress(description, total - left, total)
        under_way: dict[Future[Outcome], Run] = {}
        busy: set[Path] = set()
        lost: Counter[Path] = Counter()
        while waiting or under_way:
            while waiting and len(under_way) < self._engine.places(waiting[0]):
                run = waiting.popleft()
                under_way[self._submit(run, wait_for_lock=run.folder in busy)] = run
            finished, _ = wait(under_way, timeout=1, return_when=FIRST_COMPLETED)
            for future in finished:
                run = under_way.pop(future)
                status = self._status(future, run)
                if status == "done":
                    left -= run.epochs
                elif status == "busy":  # another command is at it: come back to it last, and wait for it then
                    busy.add(run.folder)
                    waiting.append(run)
                else:
                    lost[run.folder] += 1
                    waiting.appendleft(run)
                    if lost[run.folder] > MAX_LOST:
                        raise RuntimeError(f"workers died {MAX_LOST + 1} times at {self.root / run.folder}")
            if self.on_progress is not None:
                part = sum(self._left(run).last_epoch for run in under_way.values())
                self.on_progress(description, total - left + part, total)

    def records(self, run: Run) -> list[Record]:
        """The records of a run."""
        return self._left(run).records()

    def _submit(self, run: Run, *, wait_for_lock: bool) -> Future[Outcome]:
        order = Order(
            run=run.model_dump(mode="json"),
            root=str(self.root),
            data_dir=str(self.data_dir) if self.data_dir else None,
            sign=self._sign.name,
            wait_for_lock=wait_for_lock,
            places=own_places(),
        )
        return self._engine.submit(run, carry_out, order)

    def _status(self, future: Future[Outcome], run: Run) -> Literal["done", "busy", "lost"]:
        name = self._engine_options["name"]
        try:
            outcome = future.result()
        except self._engine.lost:
            return "lost"
        except CancelledError:
            raise RuntimeError(f"the {name} cluster is gone; the same command goes on from here") from None
        except Exception as error:  # a worker that cannot even begin
            raise RuntimeError(f"a {name} worker failed: {str(error).strip().splitlines()[-1]}") from None
        if outcome.status == "failed":
            raise RuntimeError(outcome.message)
        if outcome.status == "done" and not self._left(run).is_complete:
            raise RuntimeError(
                f"{outcome.worker} has another {self.root}: the folder must be shared by all workers"
            )
        return outcome.status

    def _left(self, run: Run) -> RunFolder:
        return RunFolder.of(run, self.root)
