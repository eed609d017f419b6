"""Records that no training has written."""

import math
from pathlib import Path

from inna.lab.plan import Run
from inna.lab.records import Record, RunFolder


def record(epoch: int, loss: float | None = None, *, diverged: bool = False, **change: object) -> Record:
    """The record of an epoch, whole."""
    made: Record = {
        "epoch": epoch,
        "train_loss": loss,
        "train_loss_running": loss,
        "train_accuracy": 0.5,
        "test_loss": loss,
        "test_accuracy": 0.5,
        "lr": 0.1,
        "diverged": diverged,
        "seconds": 1.0,
        "time": f"2026-01-01T00:00:{epoch:02}+00:00",
        "host": "here",
        "process": 1,
        "worker": "local-0",
    }
    return made | change


class MadeUp:
    """A runner that writes records instead of training: the nearer lr to 0.1, the lower the loss."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def execute(self, runs: list[Run], description: str) -> None:
        for run in runs:
            left = RunFolder.of(run, self.root)
            left.path.mkdir(parents=True, exist_ok=True)
            left.describe({"run": run.model_dump(mode="json"), "data": {"sha256": "made up"}})
            for epoch in range(len(left.records()), run.epochs + 1):
                left.append(record(epoch, 2.0**-epoch + abs(math.log(run.lr / 0.1)) + 0.01 * run.seed))

    def records(self, run: Run) -> list[Record]:
        return RunFolder.of(run, self.root).records()
