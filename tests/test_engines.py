"""The same plan on this machine's processes, on a real Ray and on a real Dask cluster of two workers each."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inna import __version__
from inna.lab import protocol, records
from inna.lab.plan import Run
from inna.lab.running import engines
from inna.lab.running.engines import _placing
from inna.lab.running.execution import Order, carry_out
from inna.lab.running.workers import Workers
from short_plan import PLAN, RUNS, alive, command, lasting, until

pytestmark = [
    pytest.mark.xdist_group("engines"),  # the clusters are started once
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
]

ANY_PORT: dict[str, Any] = {"dashboard_address": "127.0.0.1:0"}

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's own module."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "own_optimizers.py").write_text(
        "import os, pathlib, torch\n"
        "class Faulty(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        return {}['no such key']\n"
        "class Telling(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        told = [os.environ['OMP_NUM_THREADS'], str(torch.get_num_threads())]\n"
        "        pathlib.Path(os.environ['TELL']).write_text(' '.join(told))\n"
        "        super().step()\n"
    )
    return folder


@pytest.fixture(scope="module")
def addresses(modules: Path) -> Iterator[dict[str, str]]:
    """Two clusters that outlive each command."""
    import dask
    import ray
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELL", str(modules / "told"))
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
            ) as cluster,
        ):
            yield {"ray": ray.get_runtime_context().gcs_address, "dask": cluster.scheduler_address}
        ray.shutdown()


@pytest.fixture(autouse=True)
def found_by_the_command(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's module is, but not by the workers of a cluster, which are there before it."""
    monkeypatch.setenv("TELL", str(modules / "told"))
    monkeypatch.syspath_prepend(modules)


CLUSTERS = ["ray", "dask"]


def for_two_runs(request: pytest.FixtureRequest) -> dict[str, Any]:
    """An engine for two runs at once, as `Workers` takes it; `local` starts no cluster."""
    address = request.getfixturevalue("addresses")[request.param] if request.param in CLUSTERS else None
    return {"engine": request.param, "address": address, "jobs": 2}


@pytest.fixture
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where runs are executed."""
    return for_two_runs(request)


@pytest.fixture(scope="module", params=engines.ENGINES)
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """The workers of an engine, for tests that kill none and differ in their seeds."""
    with Workers(tmp_path_factory.mktemp(request.param), **for_two_runs(request)) as workers:
        yield workers


on_each_engine = pytest.mark.parametrize("where", engines.ENGINES, indirect=True)
on_each_cluster = pytest.mark.parametrize("where", CLUSTERS, indirect=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Figure 2's records as one process of this machine makes them."""
    root = tmp_path_factory.mktemp("undisturbed")
    with Workers(root, jobs=1) as workers:
        protocol.reproduce(PLAN, workers, [2])
    found = lasting(root)
    assert len(found) == 4  # selection and long, two seeds
    made = {record["process"] for log in root.rglob("records.jsonl") for record in records.read(log)}
    assert len(made) == 1  # a worker is kept from phase to phase
    return found


def made_by(run: Run, root: Path) -> list[int]:
    """The processes that made a run's records, epoch by epoch."""
    return [record["process"] for record in records.read(root / run.folder / "records.jsonl")]


def inside_an_epoch(run: Run, root: Path) -> bool:
    """Whether a run has recorded an epoch and can go on from a checkpoint."""
    return len(made_by(run, root)) > 1 and (root / run.folder / "checkpoint.pt").exists()


@on_each_engine
def test_a_killed_worker_s_run_goes_on_elsewhere_and_the_records_are_the_same(
    where: dict[str, Any], undisturbed: Records, tmp_path: Path
) -> None:
    victim: list[int] = []

    def kill_one_inside_an_epoch() -> None:
        until(lambda: inside_an_epoch(RUNS[0], tmp_path))
        victim.append(made_by(RUNS[0], tmp_path)[-1])
        os.kill(victim[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one_inside_an_epoch, daemon=True)
    killer.start()
    with Workers(tmp_path, **where) as workers:
        protocol.reproduce(PLAN, workers, [2])
    killer.join()
    assert lasting(tmp_path) == undisturbed
    first, last = made_by(RUNS[0], tmp_path)[0], made_by(RUNS[0], tmp_path)[-1]
    assert first == victim[0] != last  # what was recorded was not done again
    names = {record["worker"] for record in workers.records(RUNS[0])}
    assert all(name.startswith(f"{where['engine']}-") for name in names)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tmp", ".pt")]


@on_each_cluster
def test_after_a_killed_command_the_next_one_goes_on(
    where: dict[str, Any], undisturbed: Records, tmp_path: Path
) -> None:
    """Ray ends the workers of a dead driver; Dask's go on, and a second command waits for their results."""
    root = tmp_path / "runs"
    driver = command("figure2", tmp_path, "--engine", where["engine"], "--address", where["address"])
    until(lambda: inside_an_epoch(RUNS[0], root))
    orphan = made_by(RUNS[0], root)[-1]
    driver.kill()
    driver.communicate()
    with Workers(root, **where) as workers:
        protocol.reproduce(PLAN, workers, [2])
    assert lasting(root) == undisturbed
    makers = made_by(RUNS[0], root)
    if where["engine"] == "dask":
        assert set(makers) == {orphan}
        assert alive(orphan)
    else:
        assert makers[0] == orphan != makers[-1]
        assert not alive(orphan)


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_without_an_address_a_cluster_is_started_here_and_ended(engine: str, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    driver = command("figure2", tmp_path, "--engine", engine)
    until(lambda: all(inside_an_epoch(run, root) for run in RUNS[:2]))
    at_work = [made_by(run, root)[-1] for run in RUNS[:2]]
    assert len(set(at_work)) == 2
    interrupt(driver)
    until(lambda: not any(map(alive, at_work)))
    assert not list(root.glob(".at-work*"))


@pytest.mark.parametrize("where", ["dask"], indirect=True)  # Ray ends the workers of whoever leaves
def test_an_interrupted_command_s_workers_stop_after_the_epoch(where: dict[str, Any], tmp_path: Path) -> None:
    root, long = tmp_path / "runs", RUNS[0].model_copy(update={"epochs": 1000})
    (tmp_path / "driver.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "from inna.lab.plan import Run\nfrom inna.lab.running.workers import Workers\n"
        "with Workers(Path(sys.argv[1]), engine='dask', address=sys.argv[2], jobs=2) as workers:\n"
        "    workers.execute([Run.model_validate_json(sys.argv[3])], '')\n"
    )
    driver = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), str(root), where["address"], long.model_dump_json()],
        stderr=subprocess.DEVNULL,
    )
    until(lambda: inside_an_epoch(long, root))
    driver.send_signal(signal.SIGINT)
    driver.wait(timeout=300)
    until(lambda: unlocked(root / long.folder / "lock"))
    assert alive(made_by(long, root)[-1])
    assert len(made_by(long, root)) < long.epochs


def interrupt(driver: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C, as a terminal does it: to the whole group."""
    os.killpg(driver.pid, signal.SIGINT)
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 130
    assert errors.decode() == "inna: stopped; nothing is lost, the same command goes on from here\n"


def unlocked(path: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


def full_disk(folder: Path) -> Callable[[], None]:
    """Let what is written first end up on a device that is always full."""
    (folder / ".run.json.tmp").symlink_to("/dev/full")
    return lambda: None  # the link is gone with the attempt


def read_only_folder(folder: Path) -> Callable[[], None]:
    """Take the right to write; from root, whom rights do not bind, by the file system's own flag."""
    folder.chmod(0o500)
    if os.access(folder, os.W_OK) and shutil.which("chattr"):
        subprocess.run(["chattr", "+i", str(folder)], check=False, stderr=subprocess.DEVNULL)
    if os.access(folder, os.W_OK):
        pytest.skip("nothing makes a folder read-only for this user on this file system")

    def cure() -> None:
        if shutil.which("chattr"):
            subprocess.run(["chattr", "-i", str(folder)], check=False, stderr=subprocess.DEVNULL)
        folder.chmod(0o700)

    return cure


def damaged_checkpoint(folder: Path) -> Callable[[], None]:
    (folder / "checkpoint.pt").write_bytes(b"rubbish")
    return (folder / "checkpoint.pt").unlink


@pytest.mark.parametrize(
    ("seed", "spoil", "message"),
    [
        (10, full_disk, r"No space left on device"),
        (20, read_only_folder, r"(Permission denied|Operation not permitted): .*epochs1-"),
        (30, damaged_checkpoint, r"checkpoint\.pt is damaged .*: delete it to run this run again"),
    ],
)
def test_a_failing_disk_is_one_line_and_loses_nothing(
    pool: Workers, seed: int, spoil: Callable[[Path], Callable[[], None]], message: str
) -> None:
    good, bad = (PLAN.selection_run(PLAN.problems[0], PLAN.settings[0], 0.1, s) for s in (seed, seed + 1))
    folder, log = pool.root / bad.folder, pool.root / good.folder / "records.jsonl"
    folder.mkdir(parents=True)
    pool.execute([good], "good")
    kept = log.read_bytes()
    cure = spoil(folder)
    try:
        with pytest.raises(RuntimeError, match=message) as failure:
            pool.execute([good, bad], "bad")
    finally:
        cure()
    assert "\n" not in str(failure.value)
    assert not (folder / "records.jsonl").exists()
    pool.execute([good, bad], "cured")
    assert log.read_bytes() == kept
    assert pool.records(bad)[-1]["epoch"] == bad.epochs


def test_a_mistake_in_an_own_optimizer_is_one_line_that_names_the_place(pool: Workers) -> None:
    faulty = RUNS[0].model_copy(update={"optimizer": "own_optimizers.Faulty"})
    with pytest.raises(RuntimeError, match=r"^KeyError: 'no such key' \(.*own_optimizers\.py, line 4\)$"):
        pool.execute([faulty], "faulty")


def test_threads_are_the_run_s_and_not_the_worker_s(pool: Workers, modules: Path) -> None:
    few = RUNS[0].problem.model_copy(update={"train": 10, "test": 10})
    changes = {"optimizer": "own_optimizers.Telling", "options": {}, "threads": 2, "problem": few}
    pool.execute([RUNS[0].model_copy(update=changes)], "telling")
    assert (modules / "told").read_text() == "2 2"
    (modules / "told").unlink()


def test_a_worker_imports_no_torch_before_its_threads_are_set() -> None:
    leaves = (
        "import inna.lab.running.execution as _; from inna.lab.running.engines import _local, _ray, _dask"
    )
    probe = f"import sys; {leaves}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True).stdout == b"False\n"


def test_a_place_is_free_as_soon_as_its_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a future hears of its end before its callbacks do."""

    class Late(Future):  # type: ignore[type-arg]
        def _invoke_callbacks(self) -> None:
            pass

    engine = engines.start("local", jobs=1)
    monkeypatch.setattr(engine, "_pool", lambda *_: SimpleNamespace(submit=lambda *_: Late()))
    for _ in range(3):
        engine.submit(RUNS[0], abs, 1).set_result(1)
    engine.close()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_a_ray_cluster_that_does_not_answer_is_one_line(address: str, tmp_path: Path) -> None:
    with unanswered() as port:
        address = address.format(port=port)
        driver = command("figure2", tmp_path, "--engine", "ray", "--address", address)
        _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 1
    assert errors.decode().startswith(f"inna: no Ray cluster answers at {address}: ")
    assert errors.decode().count("\n") == 1
    assert not list((tmp_path / "runs").iterdir())


def test_a_dask_cluster_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from inna.lab.running.engines import _dask

    monkeypatch.setattr(_dask, "TIMEOUT", 0.5)
    with (
        unanswered() as port,
        pytest.raises(ConnectionError, match=rf"^no Dask cluster answers at tcp://127\.0\.0\.1:{port}: .*$"),
        Workers(tmp_path, engine="dask", address=f"tcp://127.0.0.1:{port}"),
    ):
        pass
    assert not list(tmp_path.iterdir())


@contextmanager
def unanswered() -> Iterator[int]:
    """A port that is taken and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_dask_cluster_without_workers_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from distributed import LocalCluster

    from inna.lab.running.engines import _dask

    monkeypatch.setattr(_dask, "TIMEOUT", 0.5)
    with (
        LocalCluster(n_workers=0, **ANY_PORT) as cluster,
        pytest.raises(ConnectionError, match=r"the Dask cluster at tcp://.* has no workers"),
        Workers(tmp_path, engine="dask", address=cluster.scheduler_address),
    ):
        pass


def test_a_dask_worker_that_would_share_its_random_state_is_refused(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **ANY_PORT) as cluster,
        Workers(tmp_path, engine="dask", address=cluster.scheduler_address) as workers,
        pytest.raises(RuntimeError, match=r"needs a Dask worker to itself, .* has 2 threads: .*--nthreads 1"),
    ):
        workers.execute(RUNS[:1], "two threads")


def test_a_run_that_fits_no_ray_node_is_told(addresses: dict[str, str], tmp_path: Path) -> None:
    wide = RUNS[0].model_copy(update={"threads": 1000})
    on_gpu = RUNS[0].model_copy(update={"device": "cuda"})
    with Workers(tmp_path, engine="ray", address=addresses["ray"]) as workers:
        with pytest.raises(RuntimeError, match="no node of the Ray cluster has the 1000 processors of a run"):
            workers.execute([wide], "wide")
        if not engines_see_a_gpu():
            with pytest.raises(RuntimeError, match="has the 1 processors and a GPU of a run"):
                workers.execute([on_gpu], "on a GPU")


def engines_see_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sign": "/nowhere/sign"}, r"process \d+ on .* does not see .*: the folder must be shared"),
        ({"version": "0.0.0"}, rf"has inna {__version__}, this command 0\.0\.0: install the same"),
    ],
)
def test_a_worker_with_another_disk_or_another_inna_does_nothing(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    here = str(tmp_path)
    order = Order(RUNS[0].model_dump(mode="json"), here, None, here, wait_for_lock=True, places=[])
    status, _, told = carry_out(order._replace(**change))
    assert status == "failed"
    assert re.search(message, told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_a_missing_engine_says_how_to_get_it(
    engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, f"inna.lab.running.engines._{engine}", raising=False)
    monkeypatch.setitem(sys.modules, engine, None)
    with (
        pytest.raises(
            ModuleNotFoundError, match=rf"the engine {engine} needs {engine}: pip install 'inna\[{engine}\]'"
        ),
        Workers(tmp_path, engine=engine),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "slurm"}, f"unknown engine 'slurm': choose from {', '.join(engines.ENGINES)}"),
        ({"name": "local", "address": "here"}, "the engine local has no address, got 'here'"),
        ({"name": "ray", "jobs": 0}, "jobs must be positive, got 0"),
    ],
)
def test_wrong_engines(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engines.start(**options)


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_runs_are_spread_evenly_over_the_devices(devices: int) -> None:
    slots = 2 * devices
    taken: set[int] = set()
    for _ in range(slots):
        taken.add(_placing.free_slot(taken, slots, devices))
        loads = [sum(slot % devices == device for slot in taken) for device in range(devices)]
        assert max(loads) - min(loads) <= 1
    for over in range(slots):  # a run that ends leaves its place to the next one
        assert _placing.free_slot(taken - {over}, slots, devices) == over


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("jobs", [None, 1, 2, 3, 4, 7])
def test_jobs_fit_on_the_devices(jobs: int | None, devices: int) -> None:
    share = _placing.gpu_share(jobs, devices)
    assert 0 < share <= 1
    assert devices * int(1 / share + 1e-9) >= (jobs or devices)
