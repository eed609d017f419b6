"""Real processes, really killed: nothing here is simulated by an exception."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inna.lab import records
from inna.lab.running import workers
from made_records import record
from short_plan import RUNS, alive, command, finish, lasting, until

pytestmark = [
    pytest.mark.xdist_group("interruption"),  # they compare with the same undisturbed records
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
]

Records = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Records:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(command("figure3", out))
    found = lasting(out / "runs")
    assert len(found) == 8  # INNA and ADAM; selection and long; two seeds
    return found


def of_figure2(found: Records) -> Records:
    return {log: run for log, run in found.items() if "INNA" in log}


KILLS = int(os.environ.get("INNA_KILLS", "4"))
"""The moments are others each time; 20 take some minutes."""


def test_kill_9_at_any_moment_changes_no_record_and_costs_no_finished_epoch(
    undisturbed: Records, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print("random seed", seed)  # shown when the test fails
    chance = random.Random(seed)
    last = ["driver" if pair % 2 else "machine" for pair in range(KILLS // 2)]
    chance.shuffle(last)
    siege = Siege(tmp_path, undisturbed)
    for number, victim in enumerate(victim for killed_last in last for victim in ("worker", killed_last)):
        while not siege.reaches([siege.any_time, siege.an_epoch, siege.a_write][number % 3], chance):
            siege.finish()  # the plan came to its end before all had been killed
            siege.start()
        siege.kill(victim, chance)
    siege.finish()


class Siege:
    """A plan that is started again after each kill of its command, and anew when it has come to its end."""

    def __init__(self, folder: Path, undisturbed: Records) -> None:
        self.folder = folder
        self.undisturbed = undisturbed
        self.plans = 0
        self.start()

    def start(self) -> None:
        self.plans += 1
        self.out = self.folder / str(self.plans)
        self.logs = [self.out / "runs" / run.folder / "records.jsonl" for run in RUNS]
        self.seen: list[list[dict[str, Any]]] = [[] for _ in RUNS]
        self.process = command("figure3", self.out)

    def finish(self) -> None:
        finish(self.process)
        self.look()
        assert lasting(self.out / "runs") == self.undisturbed
        assert not [path for path in self.out.rglob("*") if path.suffix in (".tmp", ".pt")]

    def look(self) -> None:
        """What was recorded stays, process number and all; a kill right after an epoch may cost this one."""
        now = [records.read(log) for log in self.logs]
        for before, after in zip(self.seen, now, strict=True):
            assert len(before) <= 2 or after[: len(before) - 1] == before[:-1]
        self.seen = now

    def reaches(self, moment: Callable[[float], Callable[[], bool]], chance: random.Random) -> bool:
        """Wait for a moment of the plan; False if its command ended before."""
        has_come = moment(chance.random())
        while not (has_come() and self.workers()):
            if self.process.poll() is not None:
                return False
            time.sleep(0.0002)
        return True

    def any_time(self, part: float) -> Callable[[], bool]:
        due = time.monotonic() + 4 * part
        return lambda: time.monotonic() > due

    def an_epoch(self, part: float) -> Callable[[], bool]:
        begun = self.recorded()
        due: list[float] = []

        def has_come() -> bool:
            if not due and self.recorded() > begun:
                due.append(time.monotonic() + 0.5 * part)
            return bool(due) and time.monotonic() > due[0]

        return has_come

    def a_write(self, part: float) -> Callable[[], bool]:
        unfinished = [log.with_name(".checkpoint.pt.tmp") for log in self.logs]
        left_behind = {inode(path) for path in unfinished}
        return lambda: any(inode(path) not in {None, *left_behind} for path in unfinished)

    def recorded(self) -> int:
        return sum(log.stat().st_size for log in self.logs if log.exists())

    def workers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if b"spawn_main" in command_line(pid)]

    def kill(self, victim: str, chance: random.Random) -> None:
        if victim == "worker":
            os.kill(chance.choice(self.workers()), signal.SIGKILL)
        else:
            (os.killpg if victim == "machine" else os.kill)(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        self.look()
        if victim != "worker":
            self.process = command("figure3", self.out)


def inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def at_work(out: Path) -> bool:
    return any((out / "runs" / run.folder / "run.json").exists() for run in RUNS)


def test_two_commands_at_once_and_any_number_of_jobs_agree(undisturbed: Records, tmp_path: Path) -> None:
    def done_by() -> set[int]:
        logs = (tmp_path / "runs").rglob("records.jsonl")
        return {record["process"] for log in logs for record in records.read(log)}

    first = command("figure2", tmp_path, "--jobs", "1")
    until(lambda: at_work(tmp_path))
    os.killpg(first.pid, signal.SIGSTOP)  # it keeps its run, and the other begins before all is done
    second = command("figure2", tmp_path, "--jobs", "2")
    until(lambda: len(done_by()) >= 2)
    os.killpg(first.pid, signal.SIGCONT)
    for process in (first, second):
        finish(process)
    assert lasting(tmp_path / "runs") == of_figure2(undisturbed)


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    process = command("figure2", tmp_path)
    until(lambda: at_work(tmp_path))
    offspring = children(process.pid)
    assert len(offspring) >= 2
    process.kill()
    process.communicate()
    until(lambda: not any(map(alive, offspring)))


def test_ctrl_c_says_so_and_loses_nothing(undisturbed: Records, tmp_path: Path) -> None:
    process = command("figure2", tmp_path)
    until(lambda: at_work(tmp_path))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.decode() == "inna: stopped; nothing is lost, the same command goes on from here\n"
    finish(command("figure2", tmp_path))
    assert lasting(tmp_path / "runs") == of_figure2(undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_other_signals_leave_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = command("figure2", tmp_path)
    until(lambda: any((tmp_path / "runs").glob(".at-work-*")))
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    # A worker that was only starting may complain after it.
    assert errors.decode().startswith("inna: stopped; nothing is lost, the same command goes on from here\n")
    assert not list((tmp_path / "runs").glob(".at-work-*"))


def test_a_damaged_record_stops_the_command_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / RUNS[0].folder
    folder.mkdir(parents=True)
    whole = [json.dumps(record(epoch)) for epoch in range(2)]
    damaged = f"{whole[0]}\nrubbish\n{whole[1]}\n"
    (folder / "records.jsonl").write_text(damaged)
    process = command("figure2", tmp_path)
    _, errors = process.communicate(timeout=300)
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
    deadly = RUNS[0].model_copy(update={"optimizer": "deadly.Deadly", "options": {}})
    with (
        pytest.raises(RuntimeError, match=r"workers died 4 times at .*Deadly"),
        workers.Workers(tmp_path / "runs", jobs=1) as pool,
    ):
        pool.execute([deadly], "deadly")
