"""Real processes, really killed: nothing here is simulated by an exception."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inna.lab import plan, records, workers

PLAN = """
name = "interrupted"
description = "a plan for tests, whose long runs take seconds, on a fast machine too"
epochs = 12
selection_epochs = 2
grid = [0.1]
max_extensions = 0
seeds = [0, 1]
batch_size = 2
decays = [0.25]

[[problems]]
dataset = "digits"
network = "small"
train = 800
test = 100

[[settings]]
label = "INNA"
role = "candidate"
optimizer = "inna.torch.INNA"
q = 0.5

[[settings]]
label = "ADAM"
optimizer = "torch.optim.Adam"
"""


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plan") / "plan.toml"
    file.write_text(PLAN)
    return file


def reproduce(plan_file: Path, out: Path, *, jobs: int = 2) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own."""
    command = [sys.executable, "-m", "inna", "reproduce", "figure4", "--preset", str(plan_file)]
    return subprocess.Popen(
        [*command, "--out", str(out), "--jobs", str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[bytes]) -> None:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    assert b"figure4.png" in output


def lasting(out: Path) -> dict[str, list[dict[str, Any]]]:
    """All records below a folder, without what may differ."""
    return {
        str(log.relative_to(out)): [
            {k: v for k, v in record.items() if k not in records.VOLATILE} for record in records.read(log)
        ]
        for log in sorted((out / "runs").rglob("records.jsonl"))
    }


@pytest.fixture(scope="module")
def undisturbed(plan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("undisturbed")
    finished(reproduce(plan_file, out))
    found = lasting(out)
    assert len(found) == 12  # INNA, ADAM and k^-1/4; selection and long; two seeds
    return found


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], *, pause: float = 0.01
) -> bool:
    """Wait for a moment in the life of a process; False if it ended before."""
    while not condition():
        if process.poll() is not None:
            return False
        time.sleep(pause)
    return True


def long_runs(plan_file: Path, out: Path) -> list[Path]:
    """Folders of the first runs long enough to write checkpoints."""
    loaded = plan.load(str(plan_file))
    return [
        out / "runs" / loaded.long_run(loaded.problems[0], setting, 0.1, seed).folder
        for setting in loaded.settings
        for seed in loaded.seeds
    ]


def in_an_epoch(folders: list[Path], delay: float) -> Callable[[], bool]:
    """True some time after some run has taken up its work again or begun it."""
    started = time.monotonic()
    known = {folder: records.last_epoch(folder / "records.jsonl") for folder in folders}

    def condition() -> bool:
        nonlocal started
        if not any(records.last_epoch(f / "records.jsonl") > known[f] for f in folders):
            started = time.monotonic()
        return time.monotonic() - started > delay

    return condition


def in_a_checkpoint_write(folders: list[Path]) -> Callable[[], bool]:
    unfinished = [str(folder / ".checkpoint.pt.tmp") for folder in folders]
    return lambda: any(map(os.path.exists, unfinished))


def test_kill_9_at_any_moment_changes_no_record(
    plan_file: Path, undisturbed: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print("random seed", seed)  # shown when the test fails
    moments = random.Random(seed)
    folders = long_runs(plan_file, tmp_path)
    kills = 0
    begun: dict[Path, dict[str, Any]] = {}
    for inside_a_write in (False, True, False, True, False):
        process = reproduce(plan_file, tmp_path)
        condition = (
            in_a_checkpoint_write(folders)
            if inside_a_write
            else in_an_epoch(folders, moments.uniform(0, 1.5))
        )
        if wait_until(condition, process, pause=0 if inside_a_write else 0.01):
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        for folder in folders:
            if (folder / "checkpoint.pt").exists():
                begun.setdefault(folder, records.read(folder / "records.jsonl")[0])
    finished(reproduce(plan_file, tmp_path))
    assert kills >= 3
    assert lasting(tmp_path) == undisturbed
    assert begun  # these runs went on inside: their first record, process number and all, was not made again
    for folder, first in begun.items():
        first_now, *_, last_now = records.read(folder / "records.jsonl")
        assert first_now == first
        assert last_now["process"] != first["process"]
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_two_commands_at_once_and_any_number_of_jobs_agree(
    plan_file: Path, undisturbed: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    both = [reproduce(plan_file, tmp_path, jobs=jobs) for jobs in (1, 2)]
    for process in both:
        finished(process)
    assert lasting(tmp_path) == undisturbed
    done_by = {records.read(log)[-1]["process"] for log in (tmp_path / "runs").rglob("records.jsonl")}
    assert len(done_by) >= 2


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists() or shutil.which("ps") is None, reason="needs /proc and ps"
)


@needs_proc
def test_a_killed_worker_is_replaced(
    plan_file: Path, undisturbed: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folders = long_runs(plan_file, tmp_path)
    process = reproduce(plan_file, tmp_path)
    assert wait_until(lambda: any((f / "checkpoint.pt").exists() for f in folders), process)
    at_work = {records.read(f / "records.jsonl")[-1]["process"] for f in folders if (f / "run.json").exists()}
    victim = next(pid for pid in at_work if alive(pid))
    os.kill(victim, signal.SIGKILL)
    finished(process)
    assert lasting(tmp_path) == undisturbed


@needs_proc
def test_workers_die_with_their_parent(plan_file: Path, tmp_path: Path) -> None:
    folders = long_runs(plan_file, tmp_path)
    process = reproduce(plan_file, tmp_path)
    assert wait_until(lambda: any((f / "run.json").exists() for f in folders), process)
    offspring = children(process.pid)
    assert len(offspring) >= 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(map(alive, offspring)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, offspring))


def test_ctrl_c_says_so_and_loses_nothing(
    plan_file: Path, undisturbed: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folders = long_runs(plan_file, tmp_path)
    process = reproduce(plan_file, tmp_path)
    assert wait_until(lambda: any((f / "run.json").exists() for f in folders), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.decode() == "inna: stopped; nothing is lost, the same command goes on from here\n"
    finished(reproduce(plan_file, tmp_path))
    assert lasting(tmp_path) == undisturbed


def test_a_damaged_record_stops_the_command_and_stays_as_it_is(plan_file: Path, tmp_path: Path) -> None:
    folder, *_ = long_runs(plan_file, tmp_path)
    folder.mkdir(parents=True)
    whole = [json.dumps({"epoch": epoch, "diverged": False}) for epoch in range(2)]
    damaged = f"{whole[0]}\nrubbish\n{whole[1]}\n"
    (folder / "records.jsonl").write_text(damaged)
    process = reproduce(plan_file, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.decode().count("\n") == 1
    assert "records.jsonl, line 2, is damaged: delete the folder" in errors.decode()
    assert (folder / "records.jsonl").read_text() == damaged


def test_a_run_that_kills_every_worker_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, torch\n"
        "class Deadly(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = plan.Run(
        problem=plan.Problem(dataset="digits", network="small", train=10, test=10),
        optimizer="deadly.Deadly",
        options={},
        lr=0.1,
        q=0,
        init="glorot_normal",
        batch_size=5,
        epochs=1,
        seed=0,
        threads=1,
        device="cpu",
        evaluate="every epoch",
    )
    with (
        pytest.raises(RuntimeError, match=r"workers died 4 times, last at one of .*Deadly"),
        workers.Workers(tmp_path / "runs", jobs=1) as pool,
    ):
        pool.execute([run], "deadly")
