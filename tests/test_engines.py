"""The same plan on this machine's processes, on a real Ray and on a real Dask cluster of two workers each."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from short_plan import PLAN, RUNS, alive, lasting, until

from inna.lab import engines, protocol, records
from inna.lab.engines import _placing
from inna.lab.execution import Order, carry_out
from inna.lab.plan import Run
from inna.lab.workers import Workers

pytestmark = [
    pytest.mark.xdist_group("clusters"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
]

ENGINES = ["local", "ray", "dask"]
TWO_RUNS = RUNS[:2]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which workers can import, as if its modules were installed."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "own_optimizers.py").write_text(
        "import os, pathlib, torch\n"
        "class Faulty(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        return {}['no such key']\n"
        "class Telling(torch.optim.SGD):\n"
        "    def __init__(self, params, lr, file):\n"
        "        super().__init__(params, lr)\n"
        "        told = [os.environ['OMP_NUM_THREADS'], str(torch.get_num_threads())]\n"
        "        pathlib.Path(file).write_text(' '.join(told))\n"
    )
    return folder


@pytest.fixture(scope="module")
def addresses(modules: Path) -> Iterator[dict[str, str]]:
    """Two clusters whose workers outlive each command, and with which this process has nothing to do."""
    import dask
    import ray
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(modules), prepend=os.pathsep)
        patch.syspath_prepend(modules)
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None
            ) as cluster,
        ):
            yield {"ray": ray.get_runtime_context().gcs_address, "dask": cluster.scheduler_address}
        ray.shutdown()


@pytest.fixture
def where(request: pytest.FixtureRequest, addresses: dict[str, str]) -> dict[str, Any]:
    """An engine for two runs at once, as `Workers` takes it."""
    return {"engine": request.param, "address": addresses.get(request.param), "jobs": 2}


on_each_engine = pytest.mark.parametrize("where", ENGINES, indirect=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    root = tmp_path_factory.mktemp("undisturbed")
    with Workers(root, jobs=2) as workers:
        protocol.reproduce(PLAN, workers, [2])
    found = lasting(root)
    assert len(found) == 4  # selection and long, two seeds
    return found


@on_each_engine
def test_a_killed_worker_s_run_goes_on_elsewhere_and_the_records_are_the_same(
    where: dict[str, Any], undisturbed: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    victims: list[int] = []

    def kill_one_inside_an_epoch() -> None:
        for folder in (tmp_path / run.folder for run in TWO_RUNS):
            until(lambda: records.last_epoch(folder / "records.jsonl") >= 2)  # noqa: B023
            time.sleep(0.1)
            process = records.read(folder / "records.jsonl")[-1]["process"]
            if alive(process) and process not in victims:
                os.kill(process, signal.SIGKILL)
                victims.append(process)

    killer = threading.Thread(target=kill_one_inside_an_epoch, daemon=True)
    killer.start()
    with Workers(tmp_path, **where) as workers:
        protocol.reproduce(PLAN, workers, [2])
    killer.join()
    assert lasting(tmp_path) == undisturbed
    assert victims
    at_work = [
        [(record["process"], record["worker"]) for record in records.read(tmp_path / r.folder / "records.jsonl")]
        for r in TWO_RUNS
    ]
    for victim in victims:
        taken_up = [run for run in at_work if run[0][0] == victim != run[-1][0]]
        assert taken_up  # its records stay, and another process has added the later ones
        assert all(name.startswith(f"{where['engine']}-") for run in taken_up for _, name in run)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tmp", ".pt")]
