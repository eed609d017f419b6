"""Time of a training step of NiN on images like CIFAR-10's, batch 32: ours against a plain loop's.

Run it with `python benchmarks/train_nin.py [--steps N] [--threads N] [--optimizer CLASS]`. The plain loop is
what one writes first: a DataLoader over a TensorDataset, the default layout, the optimizer's defaults. The
steps are paired, one of each in turn, in a process each, because what the laboratory asks of the C library's
memory holds for a whole process. Beforehand the losses of ten steps with dropout off are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from inna.lab.data import Dataset
from inna.lab.plan import Problem, Run
from inna.lab.running import networks, optimizers, provenance, training

SHAPE, CLASSES, WARM_UP = (3, 32, 32), 10, 3
AfterStep = Callable[[float], None]


def images(number: int) -> Dataset:
    """Random images, brighter from class to class: what they show does not change the time of a step."""
    random = np.random.default_rng(0)
    y = random.integers(CLASSES, size=number)
    x = (
        random.random((number, *SHAPE), dtype=np.float32)
        * ((y + 1) / CLASSES).astype(np.float32)[:, None, None, None]
    )
    return Dataset("random", CLASSES, x, y, x[:1], y[:1])


def a_run(optimizer: str, steps: int, threads: int, batch: int = 32) -> Run:
    return Run(
        problem=Problem(dataset="cifar10", network="nin", train=batch * steps),
        optimizer=optimizer,
        options={},
        lr=0.1,
        init="glorot_normal",
        batch_size=batch,
        epochs=1,
        seed=0,
        threads=threads,
        device="cpu",
        evaluate="every epoch",
    )


def laboratory(run: Run, dropout: bool, after_step: AfterStep) -> None:
    """Our loop, as it is."""
    trainer = training.Trainer(run, images(run.problem.train or 0))
    set_dropout(trainer.net, dropout)
    seen = [0.0]

    def report() -> None:
        seen.append(trainer.running.item() / run.batch_size)
        after_step(seen[-1] - seen[-2])

    trainer.finish_epoch(after_step=report)


def plain_loop(run: Run, dropout: bool, after_step: AfterStep) -> None:
    """The loop to compare with; it sees the images in the same order."""
    torch.set_num_threads(run.threads)
    data = images(run.problem.train or 0)
    net = networks.build("nin", SHAPE, CLASSES, init=run.init, seed=run.seed)
    set_dropout(net, dropout)
    optimizer = optimizers.resolve(run.optimizer)(net.parameters(), lr=run.lr)
    order = np.random.default_rng([run.seed, 1]).permutation(len(data.y_train))
    dataset = TensorDataset(torch.from_numpy(data.x_train), torch.from_numpy(data.y_train))
    net.train()
    for x, y in DataLoader(dataset, batch_size=run.batch_size, sampler=order.tolist()):
        optimizer.zero_grad()
        loss = cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        after_step(loss.item())


def set_dropout(net: nn.Module, dropout: bool) -> None:
    for module in net.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0


def losses(loop: Callable[[Run, bool, AfterStep], None], run: Run) -> list[float]:
    """The loss of every step, dropout off."""
    found: list[float] = []
    loop(run, False, found.append)
    return found


def in_turn(connection: Connection, loop: Callable[[Run, bool, AfterStep], None], run: Run) -> None:
    """Take a step whenever told to, and tell the time that it took."""
    begun = time.perf_counter()

    def after_step(_: float) -> None:
        nonlocal begun
        connection.send(time.perf_counter() - begun)
        connection.recv()
        begun = time.perf_counter()

    with suppress(EOFError):  # the comparison is over
        loop(run, True, after_step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--optimizer", default="inna.torch.INNA")
    arguments = parser.parse_args()

    ten = a_run(arguments.optimizer, 10, arguments.threads)
    differences = [abs(a - b) for a, b in zip(losses(laboratory, ten), losses(plain_loop, ten), strict=True)]
    machine = provenance.environment("cpu")["machine"]
    print(f"{machine['processor']}, {arguments.threads} thread(s), torch {torch.__version__}")
    print(f"{arguments.optimizer}: ten losses, dropout off, differ by {max(differences):.1e} at most")

    run = a_run(arguments.optimizer, arguments.steps + WARM_UP, arguments.threads)
    context, ends, processes = get_context("spawn"), [], []
    for loop in (laboratory, plain_loop):
        ours, theirs = Pipe()
        processes.append(context.Process(target=in_turn, args=(theirs, loop, run), daemon=True))
        processes[-1].start()
        ends.append(ours)
        ours.recv()  # the first step includes the start; both wait for their turn from here on
    times = []
    for _ in range(run.problem.train // run.batch_size - 1 if run.problem.train else 0):
        pair = []
        for end in ends:
            end.send("go")
            pair.append(end.recv())
        times.append(pair)
    times = times[WARM_UP - 1 :]
    ratios = sorted(ours / plain for ours, plain in times)
    ours, plain = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    low, high = ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]
    print(f"{len(times)} paired steps: ours {ours:.1f} ms, plain loop {plain:.1f} ms")
    print(f"ratio {statistics.median(ratios):.2f} (nine of ten within {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
