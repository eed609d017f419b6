"""Settings that travel: one (step, memory, direct share) on workloads of different kinds, beside tuned peers.

    python benchmarks/travel.py RECORDS PART...    run what the records do not hold yet
    python benchmarks/travel.py RECORDS            print what they hold

Every run has a warm-up over the first twentieth, then a cosine to 0, gradients clipped to norm 1, and one
thread. A record is a line of JSON: workload, optimizer, settings, seed, steps and the loss on data held out.
After a kill the same command goes on with the next run.
"""

import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from workloads import WORKLOADS

from inna.hyperparameters import from_adamw, from_memory
from inna.torch import INNA, INNAprop

Trial = dict[str, Any]
TUNING, FRESH = (0,), (10, 11, 12, 13, 14)
DECAY, BETA2 = 0.1, 0.99
DECLARED = {
    "gpt": [
        ("AdamW", 0.004, 10, 0.1),
        ("INNAprop", 0.004, 10, 0.2),
        ("AdamW", 0.004, 5, 0.2),
        ("Nesterov", 2, 10, 0.19),
        ("INNA", 3, 20, 0.12),
        ("INNAprop", 0.004, 10, 0.3),
    ]
}
"""What is compared on fresh seeds, declared before the first of these runs: AdamW as it is used and as it is
best tuned (seeds 0 to 2), INNAprop in its place, and INNA beside the best Nesterov."""


def optimizer(name: str, settings: dict[str, float], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a trial; matrices decay, biases and gains do not."""
    groups = [
        {"params": [p for p in model.parameters() if p.requires_grad and (p.ndim > 1) == matrix]}
        for matrix in (True, False)
    ]
    step, memory, direct = settings["step"], settings["memory"], settings.get("direct", 0.0)
    if name == "AdamW":
        made: torch.optim.Optimizer = torch.optim.AdamW(
            groups, step, betas=(1 - 1 / memory, BETA2), weight_decay=DECAY
        )
    elif name == "INNAprop":
        made = INNAprop(groups, **from_adamw(step, (1 - 1 / memory, BETA2), DECAY, direct=direct))
    elif name == "INNA":
        made = INNA(groups, **from_memory(step, memory, direct))
    else:
        made = torch.optim.SGD(groups, step, momentum=1 - 1 / memory, nesterov=name == "Nesterov")
    made.param_groups[1]["weight_decay"] = 0.0
    return made


def train(trial: Trial) -> float:
    """Train as the trial says; the loss on data held out, infinite after divergence."""
    workload = WORKLOADS[trial["workload"]]
    steps = trial["steps"]
    model = workload.model(trial["seed"])
    stepper = optimizer(trial["optimizer"], trial["settings"], model)
    warm_up = max(1, steps // 20)
    factors = torch.optim.lr_scheduler.LambdaLR(
        stepper,
        lambda k: min(
            (k + 1) / warm_up,
            (1 + math.cos(math.pi * (k - warm_up) / (steps - warm_up))) / 2 if k > warm_up else 1,
        ),
    )
    for _, batch in zip(range(steps), workload.batches(trial["seed"]), strict=False):
        stepper.zero_grad()
        loss = workload.loss(model, batch)
        if not loss.isfinite():
            return math.inf
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        stepper.step()
        factors.step()
    found = workload.evaluate(model)
    return found if math.isfinite(found) else math.inf


def trials(
    workload: str, name: str, seeds: tuple[int, ...], steps: int | None = None, **axes: list[float]
) -> Iterator[Trial]:
    """Every combination of the axes, on every seed."""
    combinations: list[dict[str, float]] = [{}]
    for axis, values in axes.items():
        combinations = [{**c, axis: value} for c in combinations for value in values]
    for settings in combinations:
        for seed in seeds:
            yield {
                "workload": workload,
                "optimizer": name,
                "settings": settings,
                "seed": seed,
                "steps": steps or WORKLOADS[workload].steps,
            }


def part(name: str) -> Iterator[Trial]:
    """The trials of a part: tune:WORKLOAD, surface:WORKLOAD, or test:WORKLOAD:STEP:MEMORY and so on."""
    kind, workload, *_ = name.split(":")
    if kind == "tune":
        yield from trials(workload, "AdamW", TUNING, step=[0.001, 0.002, 0.004, 0.008], memory=[5, 10, 20])
        yield from trials(workload, "Nesterov", TUNING, step=[0.1, 0.3, 1, 2, 3], memory=[10])
    elif kind == "surface":
        yield from trials(
            workload,
            "INNAprop",
            TUNING,
            step=[0.001, 0.002, 0.004, 0.008],
            memory=[5, 10, 20],
            direct=[0.2, 0.3],
        )
        yield from trials(workload, "INNA", TUNING, step=[0.3, 1, 2, 3], memory=[10, 20], direct=[0.12, 0.2])
    elif kind == "test":
        for seed in FRESH:
            for optimizer, step, memory, direct in DECLARED[workload]:
                yield from trials(workload, optimizer, (seed,), step=[step], memory=[memory], direct=[direct])
    else:
        raise SystemExit(f"unknown part {name!r}: choose from tune:WORKLOAD, surface:WORKLOAD")


def key(trial: Trial) -> str:
    return json.dumps(
        {k: trial[k] for k in ("workload", "optimizer", "settings", "seed", "steps")}, sort_keys=True
    )


def main() -> None:
    path = Path(sys.argv[1])
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {key(record) for record in known}
    torch.set_num_threads(1)
    for name in sys.argv[2:]:
        for trial in part(name):
            if key(trial) in done:
                continue
            start = time.monotonic()
            record = {**trial, "loss": train(trial), "seconds": round(time.monotonic() - start, 1)}
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            done.add(key(trial))
    if len(sys.argv) == 2:
        table(known)


def table(records: list[Trial]) -> None:
    found: dict[tuple[Any, ...], dict[int, float]] = defaultdict(dict)
    for r in records:
        found[r["workload"], r["optimizer"], r["steps"], json.dumps(r["settings"])][r["seed"]] = r["loss"]
    for (workload, name, steps, settings), losses in sorted(
        found.items(), key=lambda x: (x[0][:3], min(x[1].values()))
    ):
        print(
            f"{workload:12} {name:9} {steps:6} {settings:50}",
            *(f"{x:.4f}" for _, x in sorted(losses.items())),
        )


if __name__ == "__main__":
    main()
