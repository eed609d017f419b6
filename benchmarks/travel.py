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
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import nn
from workloads import WORKLOADS

from inna.hyperparameters import from_adamw, from_memory
from inna.lab.results.design import holm
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


def optimizer(name: str, settings: dict[str, float], model: nn.Module, **flags: Any) -> torch.optim.Optimizer:
    """The optimizer of a trial; matrices decay, biases and gains do not. The flags are INNA's."""
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
        made = INNAprop(groups, **from_adamw(step, (1 - 1 / memory, BETA2), DECAY, direct=direct), **flags)
    elif name == "INNA":
        made = INNA(groups, **from_memory(step, memory, direct), **flags)
    else:
        made = torch.optim.SGD(groups, step, momentum=1 - 1 / memory, nesterov=name == "Nesterov")
    made.param_groups[1]["weight_decay"] = 0.0
    return made


def factor(k: int, steps: int) -> float:
    """Of lr: a warm-up over the first twentieth of the steps, then a cosine to 0."""
    warm_up = max(1, steps // 20)
    if k <= warm_up:
        return min((k + 1) / warm_up, 1.0)
    return (1 + math.cos(math.pi * (k - warm_up) / (steps - warm_up))) / 2


def train(trial: Trial) -> float:
    """Train as the trial says; the loss on data held out, infinite after divergence."""
    workload = WORKLOADS[trial["workload"]]
    steps = trial["steps"]
    model = workload.model(trial["seed"])
    stepper = optimizer(trial["optimizer"], trial["settings"], model, **trial.get("flags", {}))
    factors = torch.optim.lr_scheduler.LambdaLR(stepper, lambda k: factor(k, steps))
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
    """What a run is, without what it came to."""
    return json.dumps({k: v for k, v in trial.items() if k not in ("loss", "seconds")}, sort_keys=True)


def read(path: Path) -> list[Trial]:
    """The records so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Run the workloads that are named, or print what the records hold."""
    path = Path(sys.argv[1])
    known = read(path)
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
    """The arms of each workload as a table, and the declared tests."""
    workloads = [workload for workload in WORKLOADS if tested(known, workload)]
    print("| workload | " + " | ".join(ARMS) + " |")
    print("|---|" + "---|" * len(ARMS))
    for workload in workloads:
        arms = tested(known, workload)
        best = min(ARMS, key=lambda arm: mean(arms[arm]))
        cells = [
            f"{'**' if arm == best else ''}{mean(arms[arm]):.4f}{'**' if arm == best else ''}" for arm in ARMS
        ]
        print(f"| {workload} | " + " | ".join(cells) + " |")
    print()
    for ahead, behind in TESTS:
        ps = [p_value(tested(known, workload), ahead, behind) for workload in workloads]
        adjusted = holm(ps)
        print(f"{ahead} ahead of {behind}:")
        for workload, p, least in zip(workloads, ps, adjusted, strict=True):
            arms = tested(known, workload)
            ratio, star = mean(arms[ahead]) / mean(arms[behind]), "  *" if least < 0.05 else ""
            print(f"  {workload:12} ratio {ratio:.3f}  p = {p:.2g}  after Holm {least:.2g}{star}")


ARMS = ("AdamW", "INNAprop for it", "INNAprop", "AdamW 1e-3", "INNAprop for 1e-3", "Nesterov", "INNA")
"""AdamW tuned, what `from_adamw` makes of that, INNAprop tuned; AdamW as it comes, what `from_adamw` makes of
that; Nesterov's momentum tuned, INNA tuned."""
TESTS = (
    ("INNAprop for it", "AdamW"),
    ("INNAprop for 1e-3", "AdamW 1e-3"),
    ("INNAprop", "AdamW"),
    ("AdamW", "INNAprop"),
    ("INNA", "Nesterov"),
    ("Nesterov", "INNA"),
)


def of(known: list[Trial], workload: str) -> list[Trial]:
    """The records of a workload."""
    return [record for record in known if record["workload"] == workload]


def tested(known: list[Trial], workload: str) -> dict[str, list[float]]:
    """The losses of each arm on the fresh seeds; nothing while one is missing."""
    mine = of(known, workload)
    if len({key(r) for r in mine if r["seed"] == TUNING}) < sum(map(len, SPACES.values())):
        return {}
    step, memory, _ = best(workload, "AdamW", mine)
    arms = {
        "AdamW": ("AdamW", best(workload, "AdamW", mine)),
        "INNAprop for it": ("INNAprop", (step, memory, max(0.2, 1 / memory))),
        "INNAprop": ("INNAprop", best(workload, "INNAprop", mine)),
        "AdamW 1e-3": ("AdamW", (0.001, 10, 0.1)),
        "INNAprop for 1e-3": ("INNAprop", (0.001, 10, 0.2)),
        "Nesterov": ("Nesterov", best(workload, "Nesterov", mine)),
        "INNA": ("INNA", best(workload, "INNA", mine)),
    }
    losses = {key(record): record["loss"] for record in mine}
    found = {
        arm: [losses.get(key(trial(workload, name, setting, seed)), math.nan) for seed in FRESH]
        for arm, (name, setting) in arms.items()
    }
    return {} if any(math.isnan(x) for values in found.values() for x in values) else found


def mean(losses: list[float]) -> float:
    """The mean over the seeds."""
    return sum(losses) / len(losses)


def p_value(arms: dict[str, list[float]], ahead: str, behind: str) -> float:
    """Student's paired test, one-sided; 1 where both are the same."""
    ours, theirs = arms[ahead], arms[behind]
    if ours == theirs:
        return 1.0
    return float(stats.ttest_rel(ours, theirs, alternative="less").pvalue)


if __name__ == "__main__":
    main()
