"""Five seeds of NiN on 50,000 images like CIFAR-10's: ours on one GPU against plain loops in turn.

Run it with `python benchmarks/seeds_gpu.py [--device cuda] [--seeds 5] [--jobs 1 3 5] [--epochs 10]`. The
plain loops, one seed after the other, have their data on the device as well; both evaluate the training and
the test loss after every epoch. The ratio of the two times is printed for each number of jobs.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from inna.lab.plan import Problem, Run
from inna.lab.running import networks, optimizers, provenance
from inna.lab.running.workers import Workers

SHAPE, CLASSES, BATCH = (3, 32, 32), 10, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--network", default="nin")
    arguments = parser.parse_args()
    print(provenance.environment(arguments.device)["machine"], f"torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = images(folder / "images.npz", arguments.images)
        runs = [a_run(file, seed, arguments) for seed in range(arguments.seeds)]
        plain = timed(lambda: [plain_loop(run) for run in runs])
        print(f"plain loops: {plain:.1f} s for {arguments.seeds} seeds, {arguments.epochs} epochs each")
        for jobs in arguments.jobs:
            with Workers(folder / f"jobs{jobs}", jobs=jobs) as workers:
                ours = timed(lambda workers=workers: workers.execute(runs, "seeds"))
            print(f"{jobs} at once: {ours:.1f} s, ratio {ours / plain:.2f}, start of the processes included")


def images(path: Path, number: int) -> Path:
    random = np.random.default_rng(0)
    tests = max(number // 5, CLASSES)
    labels = [np.arange(n) % CLASSES for n in (number, tests)]
    pixels = [random.integers(256, size=(n, 32, 32, 3), dtype=np.uint8) for n in (number, tests)]
    np.savez(path, x_train=pixels[0], y_train=labels[0], x_test=pixels[1], y_test=labels[1])
    return path


def a_run(file: Path, seed: int, arguments: argparse.Namespace) -> Run:
    return Run(
        problem=Problem(dataset=str(file), network=arguments.network),
        optimizer="inna.torch.INNA",
        options={"alpha": 0.1, "beta": 0.1},
        lr=0.01,
        q=0.5,
        init="glorot_normal",
        batch_size=BATCH,
        epochs=arguments.epochs,
        seed=seed,
        threads=1,
        device=arguments.device,
        evaluate="every epoch",
    )


def plain_loop(run: Run) -> None:
    with np.load(run.problem.dataset) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    x, x_test = (
        (arrays[key].permute(0, 3, 1, 2) / 255).contiguous().to(run.device) for key in ("x_train", "x_test")
    )
    y, y_test = (arrays[key].to(run.device) for key in ("y_train", "y_test"))
    net = networks.build(run.problem.network, SHAPE, CLASSES, init=run.init, seed=run.seed).to(run.device)
    optimizer = optimizers.resolve(run.optimizer)(net.parameters(), lr=run.lr, **run.options)
    k = 0
    for _ in range(run.epochs):
        net.train()
        for chosen in torch.randperm(len(y)).to(run.device).split(run.batch_size):
            optimizer.param_groups[0]["lr"] = run.lr * (k + 1) ** -run.q
            optimizer.zero_grad()
            cross_entropy(net(x[chosen]), y[chosen]).backward()
            optimizer.step()
            k += 1
        evaluate(net, x, y)
        evaluate(net, x_test, y_test)


@torch.no_grad()
def evaluate(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    net.eval()
    pairs = zip(x.split(500), y.split(500), strict=True)
    return sum(cross_entropy(net(a), b, reduction="sum").item() for a, b in pairs) / len(y)


def timed(work: object) -> float:
    begin = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
