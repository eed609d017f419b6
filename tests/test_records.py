import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inna.lab import files, records


def lines(n: int) -> list[dict[str, object]]:
    return [{"epoch": epoch, "train_loss": 1 / (epoch + 1), "diverged": False} for epoch in range(n)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for record in lines(4):
        records.append(tmp_path / "records.jsonl", record)
    return tmp_path / "records.jsonl"


def test_what_is_appended_is_read(log: Path) -> None:
    assert records.read(log) == lines(4)
    assert records.last_epoch(log) == 3
    assert records.read(log.with_name("none.jsonl")) == []


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_last_line_is_ignored_and_removed_before_going_on(log: Path, cut: int) -> None:
    log.write_bytes(log.read_bytes()[:-cut])
    assert records.read(log) == lines(3)
    assert records.rewind(log, 3) == lines(3)
    records.append(log, lines(4)[3])
    assert records.read(log) == lines(4)


def test_rewinding_drops_what_is_later(log: Path) -> None:
    assert records.rewind(log, 1) == lines(2)
    assert records.read(log) == lines(2)


@pytest.mark.parametrize("damage", [b"{}\n", b"not json\n", b"[1]\n", b'{"epoch": 1}\n', b"\xff\n", b"\n"])
def test_a_damaged_line_is_named(log: Path, damage: bytes) -> None:
    first, *rest = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + damage + b"".join(rest))
    with pytest.raises(records.RecordError, match=r"records\.jsonl, line 2, is damaged: delete the folder"):
        records.read(log)
    assert log.read_bytes() == first + damage + b"".join(rest)  # nothing lost


def test_completeness(log: Path) -> None:
    assert records.is_complete(log, 3)
    assert not records.is_complete(log, 4)
    records.append(log, {"epoch": 4, "diverged": True})
    assert records.is_complete(log, 100)
    assert not records.is_complete(log.with_name("none.jsonl"), 0)


def test_numbers_that_json_does_not_know_are_refused(log: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.append(log, {"epoch": 4, "train_loss": float("nan"), "diverged": False})
    assert records.read(log) == lines(4)


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
