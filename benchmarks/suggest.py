"""The step that `inna.torch.suggest` finds, beside a grid of twelve.

    python benchmarks/suggest.py RECORDS OPTIMIZER SEED WORKLOAD...   run what the records do not hold yet
    python benchmarks/suggest.py RECORDS                              print what they hold

On each workload OPTIMIZER (innaprop or inna, memory 10, direct share .2) is trained with a warm-up over the
first twentieth, a cosine to 0 and no clipping, from the steps of a grid and from the step that `suggest`
finds, from the same weights and on the same mini-batches. `suggest` sees the training loss, so that is what
counts: its mean at the end, over the training data in evaluation mode; the loss on data held out stands
beside it; of several seeds their means count, with the step that each of them got. A record is a line of
JSON. After a kill the same command goes on with the next run.
"""

import itertools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from travel import factor, read
from workloads import WORKLOADS, Workload

from inna.hyperparameters import from_adamw, from_memory
from inna.torch import INNA, INNAprop, suggest

MEMORY, DIRECT = 10.0, 0.2
GRIDS = {
    "innaprop": [1e-4 * 10 ** (k / 4) for k in range(12)],
    "inna": [1e-2 * 10 ** (k / 4) for k in range(12)],
}
"""Twelve long-run steps, four to a decade: .0001 to .056, and .01 to 5.6."""


def settings(name: str, step: float) -> dict[str, float]:
    """The keyword arguments that have a long-run step."""
    if name == "inna":
        return dict(from_memory(step, MEMORY, DIRECT))  # type: ignore[arg-type]
    return dict(from_adamw(step, (1 - 1 / MEMORY, 0.99), 0.0, direct=DIRECT))  # type: ignore[arg-type]


def found(workload: Workload, name: str, seed: int) -> tuple[float, float]:
    """The long-run step that `suggest` finds on the first 400 mini-batches, and the seconds that took."""
    model = workload.model(seed)
    batches = list(itertools.islice(workload.batches(seed), 400))
    start = time.monotonic()
    given = suggest(
        lambda batch: workload.loss(model, batch),
        model,
        optimizer="inna" if name == "inna" else "innaprop",
        batches=batches,
        memory=MEMORY,
        direct=DIRECT,
    ).settings
    return given["lr"] / given["alpha"], time.monotonic() - start


def train(workload: Workload, name: str, step: float, seed: int) -> tuple[float, float]:
    """The losses at the end, on the training data and on data held out; infinite after divergence."""
    model = workload.model(seed)
    made: Any = INNA if name == "inna" else INNAprop
    optimizer = made(model.parameters(), **settings(name, step))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: factor(k, workload.steps))
    for _, batch in zip(range(workload.steps), workload.batches(seed), strict=False):
        optimizer.zero_grad()
        loss = workload.loss(model, batch)
        if not loss.isfinite():
            return math.inf, math.inf
        loss.backward()
        optimizer.step()
        schedule.step()
    ends = workload.evaluate(model, training=True), workload.evaluate(model)
    return ends if all(map(math.isfinite, ends)) else (math.inf, math.inf)


def main() -> None:
    """Run the workloads that are named, or print what the records hold."""
    path = Path(sys.argv[1])
    known = read(path)
    torch.set_num_threads(1)
    if len(sys.argv) == 2:
        report(known)
        return
    name, seed = sys.argv[2], int(sys.argv[3])
    for workload in sys.argv[4:]:
        done = {
            r["step"] if r["of"] == "grid" else r["of"]
            for r in known
            if (r["workload"], r["optimizer"], r["seed"]) == (workload, name, seed)
        }
        for step in [*GRIDS[name], None]:
            if (step or "suggest") in done:
                continue
            chosen, seconds = found(WORKLOADS[workload], name, seed) if step is None else (step, 0.0)
            training, held_out = train(WORKLOADS[workload], name, chosen, seed)
            record = {
                "workload": workload,
                "optimizer": name,
                "seed": seed,
                "of": "suggest" if step is None else "grid",
                "step": chosen,
                "loss": training,
                "held_out": held_out,
                "seconds": round(seconds, 1),
            }
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")


def report(known: list[dict[str, Any]]) -> None:
    """A row for each optimizer and workload, of the seeds that are complete."""
    print(
        "| | seeds | best of the grid | its step | with `suggest` | its step | seconds | ratio | held out |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, workload in itertools.product(GRIDS, WORKLOADS):
        mine = [r for r in known if (r["workload"], r["optimizer"]) == (workload, name)]
        seeds = {s for s in range(3) if len([r for r in mine if r["seed"] == s]) == len(GRIDS[name]) + 1}
        if not seeds:
            continue
        mine = [r for r in mine if r["seed"] in seeds]
        ours = [r for r in mine if r["of"] == "suggest"]
        grid = [[r for r in mine if r["of"] == "grid" and r["step"] == step] for step in GRIDS[name]]
        best = min(grid, key=lambda of_step: mean(of_step, "loss"))
        held_out = mean(ours, "held_out") / min(mean(of_step, "held_out") for of_step in grid)
        steps = ", ".join(f"{r['step']:.2g}" for r in ours)
        print(
            f"| {name}, {workload} | {len(seeds)} | {mean(best, 'loss'):.4g} | {best[0]['step']:.2g} | "
            f"{mean(ours, 'loss'):.4g} | {steps} | {mean(ours, 'seconds'):.0f} | "
            f"{mean(ours, 'loss') / mean(best, 'loss'):.2f} | {held_out:.2f} |"
        )


def mean(runs: list[dict[str, Any]], field: str) -> float:
    """The mean of a field."""
    return sum(r[field] for r in runs) / len(runs)


if __name__ == "__main__":
    main()
