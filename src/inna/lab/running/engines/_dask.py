"""The workers of a Dask cluster."""

import logging
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import dask
from distributed import Client, LocalCluster, get_worker
from distributed.scheduler import KilledWorker

from ...plan import Run
from ._placing import gpu_share, processors

__all__ = ["Dask"]

T = TypeVar("T")

TIMEOUT = 30
"""Seconds in which a scheduler has to answer."""


class Dask:
    """A Dask cluster of workers with one thread each: a run has its process, so its random state, to itself.

    Where workers declare a resource ``GPU``, runs on a GPU ask for it; elsewhere each worker should see one
    GPU, as those of dask-cuda do.
    """

    lost = (KilledWorker,)

    def __init__(self, jobs: int | None, address: str | None) -> None:
        self._jobs = jobs
        self._cluster = None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # dead workers are our business
        address = address or dask.config.get("scheduler-address", None)
        if address is None:
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):  # we resubmit, and count
                self._cluster = LocalCluster(
                    n_workers=jobs or processors(),
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    preload=__name__,
                )
        try:
            self._client = Client(self._cluster or address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"no Dask cluster answers at {address}: {error}") from None
        try:
            self._client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError:
            self.close()
            raise ConnectionError(f"the Dask cluster at {address} has no workers") from None

    def places(self, run: Run) -> int:
        """As many as asked for, or as there are workers."""
        return self._jobs or max(1, len(self._client.nthreads()))

    def submit(self, run: Run, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Do some work in a worker, on a GPU that it has declared if the run needs one."""
        workers = self._client.scheduler_info()["workers"].values()
        gpus = sum(worker["resources"].get("GPU", 0) for worker in workers)
        needs = {"GPU": gpu_share(self._jobs, int(gpus))} if gpus and run.device.startswith("cuda") else None
        executor = self._client.get_executor(pure=False, retries=0, resources=needs)
        future: Future[T] = executor.submit(_in_worker, work, *arguments)
        return future

    def close(self) -> None:
        """Leave the cluster, and end it if it is ours."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def dask_setup(worker: object) -> None:
    """Let the workers that we start leave Ctrl-C to us; Dask calls this in each of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_worker(work: Callable[..., T], *arguments: Any) -> T:
    worker = get_worker()
    if worker.state.nthreads != 1:
        raise RuntimeError(
            f"a run needs a Dask worker to itself, {worker.address} has {worker.state.nthreads} threads: "
            "start it with dask worker --nthreads 1"
        )
    multiprocessing.current_process().name = f"dask-{worker.name}"
    return work(*arguments)
