"""What several single-threaded processes reach of the sum of single ones, and what starting a worker costs.

Run it with `python benchmarks/local_jobs.py [--jobs N]` on a machine that does nothing else. LeNet-5 on MNIST
digits, as many equal runs as jobs: one process alone, then all at once.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from inna.lab.plan import Problem, Run
from inna.lab.running.engines._placing import processors
from inna.lab.running.workers import Workers


def a_run(seed: int, epochs: int) -> Run:
    return Run(
        problem=Problem(dataset="mnist5k", network="lenet5", train=2000, test=100),
        optimizer="inna.torch.INNA",
        options={},
        lr=0.1,
        q=0.5,
        init="glorot_normal",
        batch_size=32,
        epochs=epochs,
        seed=seed,
        threads=1,
        device="cpu",
        evaluate="every epoch",
    )


def seconds_per_epoch(jobs: int) -> tuple[float, float]:
    """The median over epochs and runs, and the time until each worker has started and evaluated once."""
    with tempfile.TemporaryDirectory() as folder, Workers(Path(folder), jobs=jobs) as workers:
        started = time.monotonic()
        workers.execute([a_run(seed, 0) for seed in range(jobs)], "start")
        start = time.monotonic() - started
        runs = [a_run(seed, 6) for seed in range(jobs)]
        workers.execute(runs, "measure")
        seconds = [record["seconds"] for run in runs for record in workers.records(run)[1:]]
    return statistics.median(seconds), start


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=processors())
    jobs = parser.parse_args().jobs
    alone, start_alone = seconds_per_epoch(1)
    together, start_together = seconds_per_epoch(jobs)
    print(f"1 process: {alone:.2f} s an epoch, {start_alone:.1f} s until its first record")
    print(f"{jobs} processes: {together:.2f} s an epoch, {start_together:.1f} s until their first records")
    print(f"together they reach {alone / together:.0%} of the sum of single ones")


if __name__ == "__main__":
    main()
