"""One training run. It can be killed at any moment; the same call goes on from its last checkpoint.

The records of a run depend on its `Run` alone (bit for bit on a CPU), however often it was interrupted.
"""

import copy
import ctypes
import datetime
import io
import math
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss

from .. import records
from ..data import Dataset
from ..files import remove, write_atomically
from ..plan import Evaluation, Run
from . import graphs, networks, optimizers, provenance

__all__ = ["Trainer", "train"]

EVALUATION_BATCH = {"cpu": 50, "cuda": 1000}
KERAS_EPSILON = 1e-7
CHECKPOINT_SHARE = 0.02


def clipped_cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """The cross-entropy of Keras 2.2.4, of probabilities clipped to [1e-7, 1 - 1e-7]: no gradient outside."""
    likelihood = logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    return nll_loss(
        likelihood.clamp(KERAS_EPSILON, 1 - KERAS_EPSILON).log()[:, None],
        torch.zeros_like(labels),
        reduction=reduction,
    )


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "clipped_cross_entropy": clipped_cross_entropy,
}


@contextmanager
def _without_denormals() -> Iterator[None]:
    """The momentum of a dead unit decays to denormals, which are slow; the process gets them back."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def train(run: Run, folder: Path, data: Dataset, on_epoch: Callable[[int], object] | None = None) -> None:
    """Execute a run, or go on with it, until it is complete.

    Args:
        run: what to do.
        folder: where `records.jsonl` and the rest go. One process at a time.
        data: the run's data set, loaded.
        on_epoch: called with the epoch after each record.

    Raises:
        ValueError: the optimizer refuses its options, or the network the data.
        records.RecordError: the records on the disk are damaged, or belong to other data.
    """
    left = records.RunFolder(folder, run.epochs)
    if left.records():
        _check_same_data(left, data)
    if left.is_complete:
        remove(left.checkpoint)
        return
    trainer = Trainer(run, data)
    folder.mkdir(parents=True, exist_ok=True)
    if left.checkpoint.exists():
        trainer.load(left.checkpoint)
    if len(left.rewind(trainer.epoch)) != trainer.epoch + 1:  # nothing, or records without checkpoint
        trainer.start()
        left.rewind(-1)
        left.describe(_description(run, data))
        left.append(trainer.record())
    save = _now_and_then(lambda: trainer.save(left.checkpoint))
    diverged = False
    while trainer.epoch < run.epochs and not diverged:
        trainer.finish_epoch(after_step=save)
        record = trainer.record()
        left.append(record)
        diverged = record["diverged"]
        if trainer.epoch < run.epochs and not diverged:
            trainer.save(left.checkpoint)  # a kill costs no more than the epoch it falls into
        if on_epoch is not None:
            on_epoch(trainer.epoch)
    remove(left.checkpoint)


def _description(run: Run, data: Dataset) -> dict[str, Any]:
    plain = {"run": run.model_dump(mode="json"), "data": {"sha256": data.digest}}
    return plain | provenance.environment(run.device)


def _check_same_data(left: records.RunFolder, data: Dataset) -> None:
    then = left.description()["data"]["sha256"]
    if then != data.digest:
        raise records.RecordError(
            f"{left.path} holds records of other data (sha256 {then[:12]}..., that of {data.name} is now "
            f"{data.digest[:12]}...): delete it, or name another folder with --out"
        )


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
        _keep_freed_memory()
        _set_up_gpu(run.precision)
        self.run = run
        self.shape: networks.Shape = data.x_train.shape[1:]
        self.classes = data.classes
        self.layout = networks.layout(run.problem.network)
        self.schedule = optimizers.decay(run.q, run.schedule)
        self.criterion = LOSSES[run.loss]
        self.train_set = self._on_device(data.x_train, data.y_train)
        seen = None if run.evaluate is Evaluation.every_epoch else 0  # the others never see the test data
        self.test_set = self._on_device(data.x_test[:seen], data.y_test[:seen])
        self.batches = math.ceil(len(data.y_train) / run.batch_size)
        self.start()
        self._try_smallest_batch()

    def start(self) -> None:
        """Go to the state before training, which depends on the seed alone."""
        run = self.run
        torch.manual_seed(run.seed)
        net = networks.build(run.problem.network, self.shape, self.classes, init=run.init, seed=run.seed)
        self.net = net.to(run.device, memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer = optimizers.build(run.optimizer, self.net.parameters(), run.lr, run.options)
        self.gammas = [float(group.get("lr", run.lr)) for group in self.optimizer.param_groups]
        self.epoch = 0
        self.batch = 0  # position inside epoch + 1
        self.running = torch.zeros((), dtype=torch.float64, device=run.device)
        self.seconds = 0.0
        self.replay: Callable[[Tensor], Tensor] | None = None

    def _on_device(self, images: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Images as rows in the network's layout, of which a mini-batch is one fast gather, and labels."""
        x = torch.from_numpy(images).to(self.run.device).contiguous(memory_format=self.layout)
        rows = x.permute(0, 2, 3, 1) if self.layout is torch.channels_last else x
        return rows.flatten(1), torch.from_numpy(labels).to(self.run.device)

    def images(self, rows: Tensor) -> Tensor:
        """Rows as what the network takes: (N, channels, height, width)."""
        channels, height, width = self.shape
        if self.layout is torch.channels_last:
            return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return rows.view(-1, channels, height, width)

    def finish_epoch(self, after_step: Callable[[], None]) -> None:
        """Train from the current position to the end of the epoch."""
        run = self.run
        batches = torch.split(torch.from_numpy(self._order()).to(run.device), run.batch_size)
        self.net.train()
        if self.replay is None and self.running.is_cuda and run.problem.network in networks.NETWORKS:
            self.replay = graphs.record(self.net, self._loss, run.batch_size, run.device)
        started = time.monotonic()
        while self.batch < self.batches:
            chosen = batches[self.batch]
            factor = self.factor(self.epoch * self.batches + self.batch)
            for group, gamma_0 in zip(self.optimizer.param_groups, self.gammas, strict=False):
                group["lr"] = float(gamma_0 * factor)  # groups may have rates of their own
            if self.replay is not None and len(chosen) == run.batch_size:
                loss = self.replay(chosen)
            else:
                self.optimizer.zero_grad()
                loss = self._loss(chosen)
                loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.running += loss.detach() * len(chosen)
            self.batch += 1
            if self.running.is_cuda and self.batch == self.batches:
                torch.cuda.synchronize(run.device)  # once an epoch: nothing before waits for the device
            self.seconds += time.monotonic() - started
            after_step()
            started = time.monotonic()
        self.epoch, self.batch = self.epoch + 1, 0

    def _loss(self, chosen: Tensor) -> Tensor:
        """The loss of a mini-batch."""
        rows, labels = self.train_set
        return self.criterion(self.net(self.images(rows.index_select(0, chosen))), labels[chosen])

    def _order(self) -> NDArray[np.int64]:
        """The images of epoch + 1, in the order of training: each once, or drawn independently."""
        random, images = np.random.default_rng([self.run.seed, self.epoch + 1]), len(self.train_set[1])
        if self.run.sampling == "independent":
            return random.integers(images, size=self.batches * self.run.batch_size)
        return random.permutation(images)

    def factor(self, k: int) -> float:
        """gamma_k over gamma_0."""
        factor = self.schedule(k)
        if not 0 <= self.run.lr * factor < math.inf:
            raise ValueError(
                f"schedule {self.run.schedule!r} must give factors >= 0, got {factor} at k = {k}"
            )
        return factor

    def _try_smallest_batch(self) -> None:
        """Refuse a network that cannot take a last mini-batch of one image, as batch normalisation cannot."""
        run, images = self.run, len(self.train_set[1])
        per_epoch = images if run.sampling == "epochs" else self.batches * run.batch_size
        if run.problem.network in networks.NETWORKS or per_epoch % run.batch_size != 1 % run.batch_size:
            return
        trial = copy.deepcopy(self.net).train()
        try:
            with torch.random.fork_rng([run.device] if self.running.is_cuda else []), torch.no_grad():
                trial(self.images(self.train_set[0][:1]))
        except Exception as error:  # whatever somebody's network does
            reason = str(error).partition("\n")[0]
            cure = "another batch_size" + (f" or train = {images - 1}" if run.batch_size > 1 else "")
            raise ValueError(
                f"network {run.problem.network} fails on a mini-batch of one image, the last of each epoch "
                f"({images} images, batches of {run.batch_size}): {reason}; choose {cure}"
            ) from None

    def record(self) -> dict[str, Any]:
        """Evaluate, and describe the epoch that is over; losses that are not finite mean divergence."""
        run = self.run
        every = run.evaluate is Evaluation.every_epoch
        seen = len(self.train_set[1]) if run.sampling == "epochs" else self.batches * run.batch_size
        running = self.running.item() / seen if self.epoch > 0 else None
        diverged = running is not None and not math.isfinite(running)
        train_loss = train_accuracy = test_loss = test_accuracy = None
        if not diverged and (every or self.epoch == run.epochs):
            if run.train_loss == "running" and running is not None:
                train_loss = running
            else:
                train_loss, train_accuracy = self._evaluate(*self.train_set)
            if every:
                test_loss, test_accuracy = self._evaluate(*self.test_set)
            diverged = not math.isfinite(train_loss)
        record = {
            "epoch": self.epoch,
            "train_loss": _finite(train_loss),
            "train_loss_running": _finite(running),
            "train_accuracy": train_accuracy,
            "test_loss": _finite(test_loss),
            "test_accuracy": test_accuracy,
            "lr": float(run.lr * self.factor(max(self.epoch * self.batches - 1, 0))),
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

    @torch.inference_mode()
    def _evaluate(self, rows: Tensor, labels: Tensor) -> tuple[float, float]:
        """Return the mean cross-entropy and the accuracy, the network in evaluation mode (dropout off)."""
        self.net.eval()
        loss = torch.zeros((), dtype=torch.float64, device=labels.device)
        hits = torch.zeros((), dtype=torch.int64, device=labels.device)
        size = EVALUATION_BATCH.get(labels.device.type, 250)
        for some, truth in zip(torch.split(rows, size), torch.split(labels, size), strict=True):
            output = self.net(self.images(some))
            loss += self.criterion(output, truth, reduction="sum")
            hits += (output.argmax(1) == truth).sum()
        return loss.item() / len(labels), hits.item() / len(labels)

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
                "device_rng": torch.cuda.get_rng_state(self.run.device) if self.running.is_cuda else None,
            },
            buffer,
        )
        write_atomically(path, buffer.getvalue())

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
                torch.cuda.set_rng_state(state["device_rng"], self.run.device)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise records.RecordError(
                f"{path} is damaged ({reason}): delete it to run this run again from its start"
            ) from None


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed: giving pages back at every step takes a quarter of NiN's time."""
    if sys.platform == "linux":
        m_trim_threshold, m_mmap_threshold, gibibyte = -1, -3, 2**30
        for threshold in (m_trim_threshold, m_mmap_threshold):
            getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)(threshold, gibibyte)


def _set_up_gpu(precision: str) -> None:
    """Say how convolutions and products compute there, which torch has convolutions do in TF32 by default."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True  # all mini-batches but the last have one shape


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
