"""One training run. It can be killed at any moment; the same call goes on from its last checkpoint.

The records of a run depend on its `Run` alone (bit for bit on a CPU), however often it was interrupted.
"""

import ctypes
import datetime
import io
import math
import multiprocessing
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .. import records
from ..data import Dataset
from ..files import remove, write_atomically
from ..plan import Evaluation, Run
from ..tasks.task import Batch, Split, Task, moved
from . import graphs, networks, optimizers, provenance
from .images import Images
from .own_code import check_same_code, own_code

__all__ = ["Trainer", "train"]

CHECKPOINT_SHARE = 0.02


@contextmanager
def _without_denormals() -> Iterator[None]:
    """The momentum of a dead unit decays to denormals, which are slow; the process gets them back."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def train(
    run: Run, folder: Path, data: Dataset | Task, on_epoch: Callable[[int], object] | None = None
) -> None:
    """Execute a run, or go on with it, until it is complete.

    Args:
        run: what to do.
        folder: where `records.jsonl` and the rest go. One process at a time.
        data: the run's data set, loaded, or its task.
        on_epoch: called with the epoch after each record.

    Raises:
        ValueError: the optimizer refuses its options, or the network the data.
        records.RecordError: the records on the disk are damaged, or belong to other data.
    """
    left = records.RunFolder(folder, run.epochs)
    if left.records():
        _check_same_data(left, data)
        check_same_code(run, left)
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


def _description(run: Run, data: Dataset | Task) -> dict[str, Any]:
    plain = {"run": run.model_dump(mode="json"), "data": {"sha256": data.digest}}
    if isinstance(data, Task):
        plain["better"] = data.better
    if code := own_code(run):
        plain["own_code"] = code
    return plain | provenance.environment(run.device)


def _check_same_data(left: records.RunFolder, data: Dataset | Task) -> None:
    then = left.description()["data"]["sha256"]
    name = data.name if isinstance(data, Dataset) else "the task"
    if then != data.digest:
        raise records.RecordError(
            f"{left.path} holds records of other data (sha256 {then[:12]}..., that of {name} is now "
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

    def __init__(self, run: Run, data: Dataset | Task) -> None:
        torch.set_num_threads(run.threads)
        _keep_freed_memory()
        if run.device.startswith("cuda"):
            set_up_gpu(run.precision)
        self.run = run
        if isinstance(data, Dataset):
            self.task: Task = Images(run, data)
        else:
            self.task = data.hold_out(run.validation) if run.validation else data
        self.schedule = optimizers.decay(run.q, run.schedule)
        self.per_pass = math.ceil(self.task.steps(run.batch_size) / run.accumulate)
        self.batches = run.epoch_steps or self.per_pass  # steps of an epoch
        self.start()
        if isinstance(self.task, Images):
            self.task.try_smallest_batch(self.net)

    def start(self) -> None:
        """Go to the state before training, which depends on the seed alone."""
        run = self.run
        torch.manual_seed(run.seed)
        net = self.task.network()
        torch.manual_seed(run.seed)  # dropout does not depend on how the weights were drawn
        self.net = net.to(run.device)
        params = optimizers.parameters(self.net, run.weight_decay_on)
        self.optimizer = optimizers.build(run.optimizer, params, run.lr, run.options)
        self.gammas = [float(group.get("lr", run.lr)) for group in self.optimizer.param_groups]
        averaging = get_ema_multi_avg_fn(run.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.net, multi_avg_fn=averaging) if run.ema else None
        self.epoch = 0
        self.batch = 0  # steps done of epoch + 1
        self.running = torch.zeros((), dtype=torch.float64, device=run.device)
        self.seen = 0  # rows since the epoch began
        self.seconds = 0.0
        self.replay: Callable[[Tensor], Tensor] | None = None

    def finish_epoch(self, after_step: Callable[[], None]) -> None:
        """Train from the current position to the end of the epoch."""
        run = self.run
        steps = self._steps_from(self.epoch * self.batches)
        self.net.train()
        plain = run.accumulate == 1 and run.precision != "bfloat16"
        ours = run.problem.network in networks.NETWORKS
        if self.replay is None and self.running.is_cuda and ours and plain:
            self.replay = graphs.record(self.net, self._loss, run.batch_size, run.device)
        self.seen = sum(sum(map(self.task.size, step)) for step in islice(steps, self.batch))
        started = time.monotonic()
        while self.batch < self.batches:
            batches = next(steps)
            factor = self.factor(self.epoch * self.batches + self.batch)
            for group, gamma_0 in zip(self.optimizer.param_groups, self.gammas, strict=False):
                group["lr"] = float(gamma_0 * factor)  # groups may have rates of their own
            self._set_gradients(batches)
            if run.clip_value:
                clip_grad_value_(self.net.parameters(), run.clip_value)
            if run.clip_norm:
                clip_grad_norm_(self.net.parameters(), run.clip_norm)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.net)
            self.batch += 1
            if self.running.is_cuda and self.batch == self.batches:
                torch.cuda.synchronize(run.device)  # once an epoch: nothing before waits for the device
            self.seconds += time.monotonic() - started
            after_step()
            started = time.monotonic()
        self.epoch, self.batch = self.epoch + 1, 0

    def _steps_from(self, step: int) -> Iterator[list[Batch]]:
        """The mini-batches of each step, from one on: pass after pass through the data."""
        run = self.run
        through, done = divmod(step, self.per_pass)
        while True:
            batches = iter(self.task.batches(run.seed, through, run.batch_size))
            for position in range(self.per_pass):
                batch = list(islice(batches, run.accumulate))
                if not batch:
                    raise ValueError(
                        f"epoch {through + 1} of {run.problem.title} has {position} steps, "
                        f"steps({run.batch_size}) says {self.per_pass}"
                    )
                if position >= done:
                    yield batch
            through, done = through + 1, 0

    def _set_gradients(self, batches: list[Batch]) -> None:
        """The mean gradient over the rows of a step's mini-batches."""
        sizes = [self.task.size(batch) for batch in batches]
        rows = sum(sizes)
        replayed = self.replay is not None and rows == self.run.batch_size
        if not replayed:
            self.optimizer.zero_grad()
        for batch, size in zip(batches, sizes, strict=True):
            if self.replay is not None and replayed:
                loss = self.replay(batch)
            else:
                loss = self._loss(moved(batch, self.run.device))
                part = loss if size == rows else loss * (size / rows)
                part.backward()  # type: ignore[no-untyped-call]
            self.running += loss.detach() * size
        self.seen += rows

    def _loss(self, batch: Batch) -> Tensor:
        """The loss of a mini-batch."""
        if self.run.precision != "bfloat16":
            return self.task.loss(self.net, batch)
        with torch.autocast(torch.device(self.run.device).type, torch.bfloat16):
            return self.task.loss(self.net, batch)

    def factor(self, k: int) -> float:
        """gamma_k over gamma_0."""
        factor = self.schedule(k)
        if not 0 <= self.run.lr * factor < math.inf:
            raise ValueError(
                f"schedule {self.run.schedule!r} must give factors >= 0, got {factor} at k = {k}"
            )
        return factor

    def record(self) -> dict[str, Any]:
        """Evaluate, and describe the epoch that is over; losses that are not finite mean divergence."""
        run = self.run
        every = run.evaluate is Evaluation.every_epoch
        running = self.running.item() / self.seen if self.epoch > 0 else None
        diverged = running is not None and not math.isfinite(running)
        train: dict[str, float] = {}
        test: dict[str, float] = {}
        held: dict[str, float] = {}
        if not diverged and (every or self.epoch == run.epochs):
            if run.train_loss == "running" and running is not None:
                train = {"loss": running}
            else:
                train = self._evaluate("train")
            if every:
                test = self._evaluate("test")
            elif run.evaluate is Evaluation.validation:
                held = self._evaluate("validation")
            diverged = not math.isfinite(train["loss"])
        record = {
            "epoch": self.epoch,
            "train_loss": _finite(train.get("loss")),
            "train_loss_running": _finite(running),
            "train_accuracy": _finite(train.get("accuracy")),
            "test_loss": _finite(test.get("loss")),
            "test_accuracy": _finite(test.get("accuracy")),
            "lr": float(run.lr * self.factor(max(self.epoch * self.batches - 1, 0))),
            "diverged": diverged,
            "seconds": round(self.seconds, 4),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "process": os.getpid(),
            "worker": multiprocessing.current_process().name,
        }
        for split, found in (("train", train), ("test", test)):
            others = found.keys() - {"loss", "accuracy"}
            record |= {f"{split}_{name}": _finite(found[name]) for name in sorted(others)}
        record |= {f"validation_{name}": _finite(found) for name, found in sorted(held.items())}
        self.running.zero_()
        self.seen = 0
        self.seconds = 0.0
        return record

    def _evaluate(self, split: Split) -> dict[str, float]:
        """The means over a split, the network in evaluation mode (dropout off)."""
        net = self.net if self.average is None else self.average.module
        with self._averaged_by_the_optimizer():
            return self.task.evaluate(net.eval(), split, self.run.device)

    @contextmanager
    def _averaged_by_the_optimizer(self) -> Iterator[None]:
        """The weights that a schedule-free optimizer evaluates; afterwards to the bit those it trains."""
        modes: Any = self.optimizer
        if not (hasattr(modes, "eval") and hasattr(modes, "train")):
            yield
            return
        trained = [param.detach().clone() for param in self.net.parameters()]
        modes.eval()
        yield
        modes.train()
        with torch.no_grad():
            for param, value in zip(self.net.parameters(), trained, strict=True):
                param.copy_(value)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        torch.save(
            {
                "network": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
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
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.epoch, self.batch, self.seconds = state["epoch"], state["batch"], state["seconds"]
            self.running.copy_(state["running"])
            self.seen = 0
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


def set_up_gpu(precision: str) -> None:
    """Say how convolutions and products compute there, which torch has convolutions do in TF32 by default."""
    with warnings.catch_warnings():  # of torch 2.9, whose new flags torch.compile does not read yet
        warnings.simplefilter("ignore", UserWarning)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True  # all mini-batches but the last have one shape


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
