"""Records that no training has written."""

from inna.lab.records import Record


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
