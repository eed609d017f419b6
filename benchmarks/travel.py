"""Settings that travel: one (step, memory, direct share) on workloads of different kinds, beside tuned peers.

    python benchmarks/travel.py RECORDS WORKLOAD...    run what the records do not hold yet
    python benchmarks/travel.py RECORDS                print what they hold

Each optimizer is tuned over twelve settings on one seed; the best is run on five fresh seeds. Declared before
the first run, for paired losses, one-sided, p < .05 after Holm's correction over the workloads:

1. INNAprop with the settings of `from_adamw` is ahead of the tuned AdamW in whose place it stands.
2. INNAprop, tuned, is ahead of AdamW, tuned; and the other way round.
3. INNA, tuned, is ahead of Nesterov's momentum, tuned; and the other way round.

Every run has a warm-up over the first twentieth, then a cosine to 0, gradients clipped to norm 1, and one
thread. A record is a line of JSON: workload, optimizer, settings, seed, steps and the loss on data held out.
After a kill the same command goes on with the next run.
"""

import json
import math
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import nn
from workloads import WORKLOADS

from inna.hyperparameters import from_adamw, from_memory
from inna.torch import INNA, INNAprop

Trial = dict[str, Any]
TUNING, FRESH = 0, (10, 11, 12, 13, 14)
DECAY, BETA2 = 0.1, 0.99
SPACES: dict[str, list[tuple[float, float, float]]] = {
    "AdamW": [(step, m, 1 / m) for step in (0.001, 0.002, 0.004, 0.008) for m in (5, 10, 20)],
    "INNAprop": [
        (step, m, c) for step in (0.001, 0.002, 0.004, 0.008) for m, c in ((10, 0.2), (10, 0.3), (20, 0.2))
    ],
    "Nesterov": [(step, m, (2 * m - 1) / m**2) for step in (0.1, 0.3, 0.6, 1, 2, 3) for m in (5, 10)],
    "INNA": [(step, m, c) for step in (0.3, 0.6, 1, 2) for m, c in ((10, 0.2), (10, 0.3), (20, 0.12))],
}
"""Twelve settings (step, memory, direct share) for each optimizer, tried on the tuning seed."""


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


def trial(workload: str, name: str, setting: tuple[float, float, float], seed: int) -> Trial:
    """A run: a setting on a workload with a seed."""
    settings = dict(zip(("step", "memory", "direct"), setting, strict=True))
    steps = WORKLOADS[workload].steps
    return {"workload": workload, "optimizer": name, "settings": settings, "seed": seed, "steps": steps}


def tuning(workload: str) -> list[Trial]:
    """Twelve trials for each optimizer."""
    return [trial(workload, name, s, TUNING) for name, space in SPACES.items() for s in space]


def testing(workload: str, known: list[Trial]) -> list[Trial]:
    """On fresh seeds: the best settings, and INNAprop in the place of AdamW, tuned and as it comes."""
    arms = {name: best(workload, name, known) for name in SPACES}
    step, memory, _ = arms["AdamW"]
    pairs = [*arms.items(), ("INNAprop", (step, memory, max(0.2, 1 / memory)))]
    pairs += [("AdamW", (0.001, 10, 0.1)), ("INNAprop", (0.001, 10, 0.2))]
    return [trial(workload, name, setting, seed) for seed in FRESH for name, setting in dict.fromkeys(pairs)]


def best(workload: str, name: str, known: list[Trial]) -> tuple[float, float, float]:
    """The setting with the smallest loss on the tuning seed."""
    tried = [r for r in known if (r["workload"], r["optimizer"], r["seed"]) == (workload, name, TUNING)]
    settings: dict[str, float] = min(tried, key=lambda r: r["loss"])["settings"]
    return settings["step"], settings["memory"], settings["direct"]


def key(trial: Trial) -> str:
    return json.dumps(
        {k: trial[k] for k in ("workload", "optimizer", "settings", "seed", "steps")}, sort_keys=True
    )


def main() -> None:
    """Run the workloads that are named, or print what the records hold."""
    path = Path(sys.argv[1])
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    torch.set_num_threads(1)
    for workload in sys.argv[2:]:
        execute(tuning(workload), known, path)
        execute(testing(workload, known), known, path)
    if len(sys.argv) == 2:
        report(known)


def execute(planned: list[Trial], known: list[Trial], path: Path) -> None:
    """Train what is not known yet."""
    done = {key(record) for record in known}
    for planned_trial in planned:
        if key(planned_trial) in done:
            continue
        start = time.monotonic()
        record = {
            **planned_trial,
            "loss": train(planned_trial),
            "seconds": round(time.monotonic() - start, 1),
        }
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        known.append(record)


def report(known: list[Trial]) -> None:
    """For each workload the arms of the test, and INNAprop against the AdamW in whose place it stands."""
    for workload in dict.fromkeys(r["workload"] for r in known):
        losses: dict[tuple[str, tuple[float, float, float]], list[float]] = defaultdict(list)
        for planned in testing(workload, known):
            found = [r["loss"] for r in known if key(r) == key(planned)]
            losses[planned["optimizer"], tuple(planned["settings"].values())] += found  # type: ignore[index]
        print(f"\n{workload}")
        for (name, setting), values in sorted(losses.items(), key=lambda x: sum(x[1]) / max(len(x[1]), 1)):
            mean = sum(values) / len(values) if values else math.nan
            print(f"  {name:9} {setting!s:32} {mean:.4f} ", *(f"{x:.4f}" for x in values))
        for step, memory in {(s[0], s[1]) for (name, s) in losses if name == "AdamW"}:
            ours = losses["INNAprop", (step, memory, max(0.2, 1 / memory))]
            theirs = losses["AdamW", (step, memory, 1 / memory)]
            if len(ours) == len(theirs) > 1:
                p = stats.ttest_rel(ours, theirs, alternative="less").pvalue
                print(f"  from_adamw({step}, {1 - 1 / memory:g}) is ahead of that AdamW with p = {p:.2g}")


if __name__ == "__main__":
    main()
