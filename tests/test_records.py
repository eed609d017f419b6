import errno
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inna.lab import files, records
from inna.lab.records import RunFolder
from made_records import record


def lines(n: int) -> list[records.Record]:
    return [record(epoch, 1 / (epoch + 1)) for epoch in range(n)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of nine epochs, three of which are done."""
    left = RunFolder(tmp_path, 9)
    for made in lines(4):
        left.append(made)
    return left


def test_what_is_appended_is_read(run: RunFolder) -> None:
    assert run.records() == lines(4)
    assert run.last_epoch == 3
    assert records.read(run.log.with_name("none.jsonl")) == []


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_last_line_is_ignored_and_removed_before_going_on(run: RunFolder, cut: int) -> None:
    run.log.write_bytes(run.log.read_bytes()[:-cut])
    assert run.records() == lines(3)
    assert run.rewind(3) == lines(3)
    run.append(lines(4)[3])
    assert run.records() == lines(4)


def test_rewinding_drops_what_is_later(run: RunFolder) -> None:
    assert run.rewind(1) == lines(2)
    assert run.records() == lines(2)


def changed(field: str, value: object) -> str:
    return json.dumps(record(1) | {field: value})


def without(field: str) -> str:
    return json.dumps({key: value for key, value in record(1).items() if key != field})


NO_NUMBERS: list[object] = [float("nan"), float("inf"), "1", True, []]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("{}", "without epoch, diverged, train_loss"),
        ("not json", ""),
        ("[1]", "no JSON object"),
        ("[" * 100_000, ""),
        ("\x00", ""),
        ("", ""),
        *((without(field), f"without {field}") for field in record(1)),
        (json.dumps(record(0)), "epoch 1 expected, got 0"),
        (json.dumps(record(2)), "epoch 1 expected, got 2"),
        (changed("epoch", True), "epoch 1 expected, got True"),
        *(
            (changed(field, value), f"{field} must be finite or null")
            for field in records.NUMBERS
            for value in NO_NUMBERS
        ),
        (json.dumps(record(1)).replace('"lr": 0.1', '"lr": 1e400'), "lr must be finite or null, got inf"),
        (changed("diverged", 0), "diverged must be of type bool"),
        (changed("process", "1"), "process must be of type int"),
        (changed("time", "yesterday"), "yesterday"),
        (changed("time", "2026-01-01T00:00:00"), "time must be a time with its zone"),
    ],
)
def test_a_damaged_line_is_named(run: RunFolder, damage: str, reason: str) -> None:
    first, _, *rest = run.log.read_text().splitlines(keepends=True)
    content = "".join([first, damage + "\n", *rest])
    run.log.write_text(content)
    with pytest.raises(records.RecordError, match=r"jsonl, line 2, is damaged: delete the folder") as told:
        run.records()
    assert reason in str(told.value)
    assert "\n" not in str(told.value)
    assert run.log.read_text() == content  # nothing lost


def test_bytes_that_are_no_text_are_a_damaged_line(run: RunFolder) -> None:
    run.log.write_bytes(b"\xff\n" + run.log.read_bytes())
    with pytest.raises(records.RecordError, match=r"records\.jsonl, line 1, is damaged"):
        run.records()


def test_nothing_comes_after_a_divergence_or_the_last_epoch(run: RunFolder) -> None:
    with pytest.raises(records.RecordError, match=r"holds epoch 3 of a run of 2: delete the folder"):
        RunFolder(run.path, 2).records()
    run.append(record(4, diverged=True))
    run.append(record(5))
    with pytest.raises(records.RecordError, match=r"line 6, is damaged: .* \(the run had diverged before\)"):
        run.records()


def test_a_run_is_complete_after_its_last_epoch_or_its_divergence(run: RunFolder) -> None:
    assert RunFolder(run.path, 3).is_complete
    assert not run.is_complete
    run.append(record(4, diverged=True))
    assert run.is_complete
    assert not RunFolder(run.path / "none", 0).is_complete


def test_what_is_not_finite_is_never_written(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.append(record(4, float("nan")))
    assert run.records() == lines(4)


@pytest.mark.parametrize("wait", [True, False])
def test_a_file_system_without_locks_is_one_clear_error(
    run: RunFolder, wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is anything waited for, nor does a lock stay behind."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    before = sorted(run.path.iterdir())
    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(OSError, match=r"the file system has no locks \(No locks available\): use"):
        run.locked(wait=wait).__enter__()
    assert not run.is_held
    assert [path for path in sorted(run.path.iterdir()) if path not in before] == [run.path / "lock"]


def test_a_lock_is_held_by_one_and_given_back(run: RunFolder) -> None:
    assert not run.is_held
    with run.locked(wait=True):
        assert run.is_held
        with pytest.raises(files.Held):
            run.locked(wait=False).__enter__()
    assert not run.is_held
    with run.locked(wait=False):
        pass


def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.html"
    files.write_atomically(file, b"old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


FULL_DISK = """
import resource, sys
import inna.torch  # PyTorch 2.9 writes longer files of its own when it is imported
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from inna.__main__ import main
sys.argv[0] = "inna"
main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="limits of a file's size are POSIX's")
def test_a_disk_that_refuses_to_write_is_one_line_and_loses_no_record(tmp_path: Path) -> None:
    """The kernel refuses what goes beyond 2,000 bytes a file, as a full disk would."""
    digits = ["--dataset", "digits", "--network", "small", "--train-images", "50", "--test-images", "50"]
    command = ["train", *digits, "--epochs", "3", "--out", str(tmp_path)]
    refused = subprocess.run([sys.executable, "-c", FULL_DISK, *command], capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "cannot write" in refused.stderr
    (log,) = tmp_path.rglob("records.jsonl")
    assert str(log.parent) in refused.stderr
    losses = [record["train_loss"] for record in records.read(log)]
    assert len(losses) == 2  # epochs 0 and 1; the checkpoint after it is too long
    assert sorted(p.name for p in log.parent.iterdir()) == ["lock", "records.jsonl", "run.json"]
    done = subprocess.run([sys.executable, "-m", "inna", *command], capture_output=True, text=True)
    assert done.returncode == 0
    assert [record["train_loss"] for record in records.read(log)][:2] == losses
