"""The workers of a Ray cluster."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # the tries to reach a cluster, 40 s each

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, WorkerCrashedError

from ...plan import Run
from ._placing import gpu_share, processors

__all__ = ["Ray"]

T = TypeVar("T")

TIMEOUT = 30
"""Seconds in which a cluster has to answer."""


class Ray:
    """A Ray cluster, which places runs by the processors and GPUs they ask for.

    The address is that of `ray.init`, ``ray://...`` included; in a session that has called `ray.init` it is
    that session's cluster.
    """

    lost = (WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError)

    def __init__(self, jobs: int | None, address: str | None) -> None:
        self._jobs = jobs
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address or os.environ.get("RAY_ADDRESS") or "local", jobs)

    def places(self, run: Run) -> int:
        """As many as asked for; or as fit, and one that waits, by which Ray's autoscaler sees the need."""
        if self._jobs is not None:
            return self._jobs
        total = ray.cluster_resources()
        fit = total.get("CPU", 0) // run.threads
        return int(min(fit, total.get("GPU", 0)) if _on_gpu(run) else fit) + 1

    def submit(self, run: Run, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Do some work where the run's processors, and its GPU if it needs one, are free."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(node.get("GPU", 0) for node in nodes)
        share = gpu_share(self._jobs, int(gpus)) if _on_gpu(run) else 0
        if not any(node.get("CPU", 0) >= run.threads and node.get("GPU", 0) >= share for node in nodes):
            gpu = " and a GPU" if share else ""
            raise RuntimeError(f"no node of the Ray cluster has the {run.threads} processors{gpu} of a run")
        task = _in_worker.options(num_cpus=run.threads, num_gpus=share)
        future: Future[T] = task.remote(work, *arguments).future()
        return future

    def close(self) -> None:
        """Leave the cluster, which ends what it still does for us."""
        if self._ours:
            ray.shutdown()


@ray.remote(max_retries=0)  # type: ignore[untyped-decorator]
def _in_worker(work: Callable[..., T], *arguments: Any) -> T:
    multiprocessing.current_process().name = f"ray-{ray.get_runtime_context().get_worker_id()[:8]}"
    return work(*arguments)


def _on_gpu(run: Run) -> bool:
    return run.device.startswith("cuda")


def _connect(address: str, jobs: int | None) -> None:
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if address == "local":
            ray.init(address, num_cpus=max(jobs or 1, processors()), include_dashboard=False, **quiet)
            return
        if host and port.isdigit():
            socket.create_connection((host, int(port)), timeout=TIMEOUT).close()
        ray.init(address, **quiet)
    except Exception as error:
        what = "Ray does not start here" if address == "local" else f"no Ray cluster answers at {address}"
        raise ConnectionError(f"{what}: {' '.join(str(error).split())}") from None
