"""Processes of this machine, one for each place, each with a GPU of its own where there are any."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ...plan import Run
from ._placing import free_slot, processors

__all__ = ["Local"]

T = TypeVar("T")


class Local:
    """A process for each place, started at need and kept: the next run finds torch and the data loaded.

    The death of one disturbs no other. All die with the process that started them.
    """

    lost = (BrokenProcessPool,)

    def __init__(self, jobs: int | None, address: str | None = None) -> None:
        if address is not None:
            raise ValueError(f"the engine local has no address, got {address!r}: choose ray or dask")
        self._jobs = jobs
        self._last: dict[int, Future[Any]] = {}
        self._pools: dict[int, tuple[ProcessPoolExecutor, dict[str, str]]] = {}
        self._spawn = multiprocessing.get_context("spawn")
        self._watched, self._lifeline = self._spawn.Pipe(duplex=False)

    def places(self, run: Run) -> int:
        """As many as asked for, or as there are GPUs, or as many as the processors have threads for."""
        if run.device == "cpu":
            return self._jobs or max(1, processors() // run.threads)
        return self._jobs or max(1, len(_gpus(run)))

    def submit(self, run: Run, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Do some work in the process of a free place."""
        gpus = _gpus(run)
        taken = [slot for slot, last in self._last.items() if not last.done()]
        slot = free_slot(taken, self.places(run), max(1, len(gpus)))
        environment = {"OMP_NUM_THREADS": str(run.threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        try:
            future = self._pool(slot, environment).submit(work, *arguments)
        except BrokenProcessPool:  # it died, at work or in between
            del self._pools[slot]
            future = self._pool(slot, environment).submit(work, *arguments)
        self._last[slot] = future  # callbacks would come after those who wait for it
        return future

    def _pool(self, slot: int, environment: dict[str, str]) -> ProcessPoolExecutor:
        """The pool of one process that belongs to a place; another environment takes another process."""
        if slot in self._pools:
            pool, its_environment = self._pools[slot]
            if its_environment == environment:
                return pool
            pool.shutdown(wait=False)
        pool = ProcessPoolExecutor(
            1,
            mp_context=self._spawn,
            initializer=_initialise,
            initargs=(self._watched, f"local-{slot}", environment),
        )
        self._pools[slot] = pool, environment
        return pool

    def close(self) -> None:
        """End the processes at once: a run can be killed at any moment."""
        self._lifeline.close()
        for pool, _ in self._pools.values():
            pool.shutdown(cancel_futures=True)


def _gpus(run: Run) -> list[str]:
    """The GPUs among which a run may be placed: none if it names its device, as in cuda:1."""
    if run.device != "cuda":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return names[: torch.cuda.device_count()]


def _initialise(lifeline: Connection, name: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)  # before torch is imported
    multiprocessing.current_process().name = name
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()


def _die_with_parent(lifeline: Connection) -> None:
    lifeline.poll(None)  # returns when the parent closes its end, or dies
    os._exit(1)
