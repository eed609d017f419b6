"""One training run. It can be killed at any moment; the same call goes on from its last checkpoint.

The records of a run depend on its `Run` alone (bit for bit on a CPU), however often it was interrupted.
"""

import contextlib
import datetime
import io
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import schedules
from . import records
from .data import Dataset
from .networks import build
from .plan import Run, resolve_optimizer

__all__ = ["Trainer", "train"]

EVALUATION_BATCH = 250
CHECKPOINT_SHARE = 0.02


def train(run: Run, folder: Path, data: Dataset, on_epoch: Callable[[int], None] | None = None) -> None:
    """Execute a run, or go on with it, until it is complete.

    Args:
        run: what to do.
        folder: where `records.jsonl` and the rest go. One process at a time.
        data: the run's data set, loaded.
        on_epoch: called with the epoch after each record.

    Raises:
        ValueError: the optimizer refuses its options, or the network the data.
        records.RecordError: the records on the disk are damaged.
    """
    log, checkpoint = folder / "records.jsonl", folder / "checkpoint.pt"
    if records.is_complete(log, run.epochs):
        return
    trainer = Trainer(run, data)
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        trainer.load(checkpoint)
    if (
        len(records.rewind(log, trainer.epoch)) != trainer.epoch + 1
    ):  # nothing there, or records without checkpoint
        trainer.start()
        records.rewind(log, -1)
        records.write_atomically(folder / "run.json", _description(run).encode())
        records.append(log, trainer.record())
    save = _now_and_then(lambda: trainer.save(checkpoint))
    diverged = False
    while trainer.epoch < run.epochs and not diverged:
        trainer.finish_epoch(after_step=save)
        record = trainer.record()
        records.append(log, record)
        diverged = record["diverged"]
        trainer.save(checkpoint)  # a kill costs no more than the epoch it falls into
        if on_epoch is not None:
            on_epoch(trainer.epoch)
    checkpoint.unlink(missing_ok=True)


def _now_and_then(save: Callable[[], None]) -> Callable[[], None]:
    """Call `save` at most once a second, and so seldom that it takes no more than its share of the time."""
    due = time.monotonic() + 1

    def save_if_due() -> None:
        nonlocal due
        start = time.monotonic()
        if start >= due:
            save()
            end = time.monotonic()
            due = end + max(1, (end - start) / CHECKPOINT_SHARE)

    return save_if_due


class Trainer:
    """The state of a run: network, optimizer, position, and what the current epoch has summed up so far."""

    def __init__(self, run: Run, data: Dataset) -> None:
        torch.set_num_threads(run.threads)
        self.run = run
        self.classes = data.classes
        self.schedule = schedules.power(run.q)
        self.x_train, self.y_train = self._on_device(data.x_train), self._on_device(data.y_train)
        self.x_test, self.y_test = self._on_device(data.x_test), self._on_device(data.y_test)
        self.batches = math.ceil(len(data.y_train) / run.batch_size)
        self.start()

    def start(self) -> None:
        """Go to the state before training, which depends on the seed alone."""
        run = self.run
        torch.manual_seed(run.seed)
        _, channels, height, width = self.x_train.shape
        net = build(
            run.problem.network, (channels, height, width), self.classes, init=run.init, seed=run.seed
        )
        self.net = net.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = _optimizer(run, self.net)
        self.epoch = 0
        self.batch = 0  # position inside epoch + 1
        self.running = torch.zeros((), dtype=torch.float64, device=run.device)
        self.seconds = 0.0

    def _on_device(self, array: Any) -> Tensor:
        tensor = torch.from_numpy(array).to(self.run.device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def finish_epoch(self, after_step: Callable[[], None]) -> None:
        """Train from the current position to the end of the epoch."""
        run = self.run
        order = np.random.default_rng([run.seed, self.epoch + 1]).permutation(len(self.y_train))
        batches = torch.split(torch.from_numpy(order).to(run.device), run.batch_size)
        self.net.train()
        started = time.monotonic()
        while self.batch < self.batches:
            chosen = batches[self.batch]
            lr = run.lr * self.schedule(self.epoch * self.batches + self.batch)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.zero_grad()
            loss = cross_entropy(self.net(self.x_train[chosen]), self.y_train[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.running += loss.detach() * len(chosen)
            self.batch += 1
            now = time.monotonic()
            self.seconds, started = self.seconds + now - started, now
            after_step()
        self.epoch, self.batch = self.epoch + 1, 0

    def record(self) -> dict[str, Any]:
        """Evaluate, and describe the epoch that is over; losses that are not finite mean divergence."""
        run = self.run
        every = run.evaluate == "every epoch"
        running = self.running.item() / len(self.y_train) if self.epoch > 0 else None
        diverged = running is not None and not math.isfinite(running)
        train_loss = train_accuracy = test_loss = test_accuracy = None
        if not diverged and (every or self.epoch == run.epochs):
            train_loss, train_accuracy = self._evaluate(self.x_train, self.y_train)
            if every:
                test_loss, test_accuracy = self._evaluate(self.x_test, self.y_test)
            diverged = not math.isfinite(train_loss)
        record = {
            "epoch": self.epoch,
            "train_loss": _finite(train_loss),
            "train_loss_running": _finite(running),
            "train_accuracy": train_accuracy,
            "test_loss": _finite(test_loss),
            "test_accuracy": test_accuracy,
            "lr": run.lr * self.schedule(max(self.epoch * self.batches - 1, 0)),
            "diverged": diverged,
            "seconds": round(self.seconds, 4),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "process": os.getpid(),
            "worker": multiprocessing.current_process().name,
        }
        self.running.zero_()
        self.seconds = 0.0
        return record

    @torch.no_grad()
    def _evaluate(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Return the mean cross-entropy and the accuracy, the network in evaluation mode (dropout off)."""
        self.net.eval()
        loss = torch.zeros((), dtype=torch.float64, device=y.device)
        hits = torch.zeros((), dtype=torch.int64, device=y.device)
        for images, labels in zip(
            torch.split(x, EVALUATION_BATCH), torch.split(y, EVALUATION_BATCH), strict=True
        ):
            output = self.net(images)
            loss += cross_entropy(output, labels, reduction="sum")
            hits += (output.argmax(1) == labels).sum()
        return loss.item() / len(y), hits.item() / len(y)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        torch.save(
            {
                "network": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "epoch": self.epoch,
                "batch": self.batch,
                "running": self.running,
                "seconds": self.seconds,
                "rng": torch.get_rng_state(),
                "device_rng": torch.cuda.get_rng_state() if self.y_train.is_cuda else None,
            },
            buffer,
        )
        records.write_atomically(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Take up a checkpoint.

        Raises:
            records.RecordError: the file is damaged.
        """
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            self.net.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.batch, self.seconds = state["epoch"], state["batch"], state["seconds"]
            self.running.copy_(state["running"])
            torch.set_rng_state(state["rng"])
            if state["device_rng"] is not None:
                torch.cuda.set_rng_state(state["device_rng"])
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise records.RecordError(
                f"{path} is damaged ({reason}): delete it to run this run again from its start"
            ) from None


def _optimizer(run: Run, net: nn.Module) -> torch.optim.Optimizer:
    cls = resolve_optimizer(run.optimizer)
    try:
        optimizer: torch.optim.Optimizer = cls(net.parameters(), lr=run.lr, **run.options)
    except TypeError as error:
        raise ValueError(f"{run.optimizer} does not take these options: {error}") from None
    return optimizer


def _description(run: Run) -> str:
    environment = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("inna", "torch", "numpy"):
        with contextlib.suppress(Exception):
            environment[package] = version(package)
    return json.dumps({"run": run.model_dump(mode="json"), "environment": environment}, indent=1) + "\n"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
