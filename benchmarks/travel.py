"""Settings that travel: one (step, memory, direct share) on workloads of different kinds, beside tuned peers.

    python benchmarks/travel.py RECORDS WORKLOAD...    run what the records do not hold yet
    python benchmarks/travel.py RECORDS                print what they hold
    python benchmarks/travel.py RECORDS PICTURE.png    draw the tuning

Each optimizer is tuned over twelve settings on one seed; where the best step is the first or the last, the
grid goes on at that end, at most four times. The best setting is run on five fresh seeds. Declared for paired
losses, one-sided, p < .05 after Holm's correction over the workloads:

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

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import stats
from torch import nn
from workloads import WORKLOADS

from inna.hyperparameters import from_adamw, from_memory
from inna.lab.results.design import holm
from inna.torch import INNA, INNAprop

Trial = dict[str, Any]
TUNING, FRESH = 0, (10, 11, 12, 13, 14)
DECAY, BETA2 = 0.1, 0.99
Setting = tuple[float, float, float]
SPACES: dict[str, tuple[list[float], list[tuple[float, float]]]] = {
    "AdamW": ([0.001, 0.002, 0.004, 0.008], [(m, 1 / m) for m in (5, 10, 20)]),
    "INNAprop": ([0.001, 0.002, 0.004, 0.008], [(10, 0.2), (10, 0.3), (20, 0.2)]),
    "Nesterov": ([0.1, 0.3, 0.6, 1, 2, 3], [(m, (2 * m - 1) / m**2) for m in (5, 10)]),
    "INNA": ([0.3, 1, 3, 10], [(10, 0.2), (10, 0.3), (20, 0.12)]),
}
"""The steps, and the memories and direct shares, whose twelve combinations are tried on the tuning seed.

Nesterov's step is the lr of SGD, whose long-run step is lr times the memory; the others' are long-run steps.
"""
EXTENSIONS = 4
TUNED_ON = {"gpt-3m": "gpt"}
"""The larger GPT is trained with what was best for the smaller one."""


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


def trial(workload: str, name: str, setting: Setting, seed: int) -> Trial:
    """A run: a setting on a workload with a seed."""
    settings = dict(zip(("step", "memory", "direct"), setting, strict=True))
    steps = WORKLOADS[workload].steps
    return {"workload": workload, "optimizer": name, "settings": settings, "seed": seed, "steps": steps}


def space(workload: str, name: str, known: list[Trial]) -> list[Setting]:
    """The settings to be tried: the grid, and beyond an end whose step is the best of those known so far."""
    (steps, shapes), losses = SPACES[name], {key(r): r["loss"] for r in known}
    for _ in range(EXTENSIONS + 1):
        settings = [(step, m, c) for step in steps for m, c in shapes]
        keys = [key(trial(workload, name, setting, TUNING)) for setting in settings]
        if any(k not in losses for k in keys):
            break
        lead = min(zip(keys, settings, strict=True), key=lambda pair: losses[pair[0]])[1][0]
        if lead == steps[0]:
            steps = [float(f"{steps[0] ** 2 / steps[1]:.3g}"), *steps]
        elif lead == steps[-1]:
            steps = [*steps, float(f"{steps[-1] ** 2 / steps[-2]:.3g}")]
        else:
            break
    return settings


def testing(workload: str, known: list[Trial]) -> list[Trial]:
    """On fresh seeds: each arm."""
    pairs = dict.fromkeys(arms(workload, known).values())
    return [trial(workload, name, setting, seed) for seed in FRESH for name, setting in pairs]


def arms(workload: str, known: list[Trial]) -> dict[str, tuple[str, Setting]]:
    """The optimizer and the settings of each arm whose optimizer has been tuned.

    AdamW tuned, what `from_adamw` makes of that, INNAprop tuned; AdamW as it comes, what `from_adamw` makes
    of that; Nesterov's momentum tuned, INNA tuned.
    """
    found: dict[str, tuple[str, Setting]] = {
        "AdamW 1e-3": ("AdamW", (0.001, 10, 0.1)),
        "INNAprop for 1e-3": ("INNAprop", (0.001, 10, 0.2)),
    }
    for name in SPACES:
        if not untried(workload, name, known):
            found[name] = name, best(TUNED_ON.get(workload, workload), name, known)
    if "AdamW" in found:
        _, (step, memory, _) = found["AdamW"]
        found["INNAprop for it"] = "INNAprop", (step, memory, max(0.2, 1 / memory))
    return found


def best(workload: str, name: str, known: list[Trial]) -> Setting:
    """The setting with the smallest loss on the tuning seed."""
    losses = {key(r): r["loss"] for r in known}
    settings = space(workload, name, known)
    return min(settings, key=lambda setting: losses[key(trial(workload, name, setting, TUNING))])


def untried(workload: str, name: str, known: list[Trial]) -> list[Trial]:
    """The trials that the tuning of an optimizer still wants."""
    workload, done = TUNED_ON.get(workload, workload), {key(r) for r in known}
    trials = [trial(workload, name, setting, TUNING) for setting in space(workload, name, known)]
    return [each for each in trials if key(each) not in done]


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
    if sys.argv[2:] and sys.argv[2].endswith(".png"):
        draw(known, sys.argv[2])
        return
    for workload in sys.argv[2:]:
        for name in SPACES:
            while trials := untried(workload, name, known):
                execute(trials, known, path)
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


def draw(known: list[Trial], picture: str) -> None:
    """The loss of the tuning over the long-run step, with the best memory and direct share at each step."""
    losses = {key(record): record["loss"] for record in known}
    workloads = [w for w in WORKLOADS if w not in TUNED_ON and arms(w, known).keys() & SPACES.keys()]
    rows = math.ceil(len(workloads) / 2)
    fig, axes = plt.subplots(rows, 4, figsize=(13, 2.4 * rows), layout="constrained", squeeze=False)
    colours = dict(zip(SPACES, ("tab:blue", "tab:red", "tab:blue", "tab:red"), strict=True))
    for k, workload in enumerate(workloads):
        axes.flat[2 * k + 1].sharey(axes.flat[2 * k])
        for name in SPACES:
            ax = axes.flat[2 * k + (name in ("Nesterov", "INNA"))]
            least: dict[float, float] = {}
            for step, memory, direct in space(workload, name, known):
                found = losses.get(key(trial(workload, name, (step, memory, direct), TUNING)), math.inf)
                long_run = step * memory if name == "Nesterov" else step
                least[long_run] = min(least.get(long_run, math.inf), found)
            if all(map(math.isinf, least.values())):
                continue
            ax.loglog(*zip(*sorted(least.items()), strict=True), ".-", color=colours[name], label=name)
        for ax in axes.flat[2 * k : 2 * k + 2]:
            ax.set_title(workload, fontsize=10)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("{x:g}")
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.legend(fontsize=8)
    for ax in axes.flat[2 * len(workloads) :]:
        ax.set_visible(False)
    fig.supxlabel("long-run step")
    fig.supylabel("loss on data held out")
    fig.savefig(picture, dpi=100)


def report(known: list[Trial]) -> None:
    """The arms of each workload as a table, and the declared tests."""
    found = {workload: losses for workload in WORKLOADS if (losses := tested(workload, known))}
    print("| workload | " + " | ".join(ARMS) + " |")
    print("|---|" + "---|" * len(ARMS))
    for workload, losses in found.items():
        least = min(map(mean, losses.values()))
        cells = [f"{mean(losses[arm]):.4f}" if arm in losses else "" for arm in ARMS]
        marked = [f"**{cell}**" if cell == f"{least:.4f}" else cell for cell in cells]
        print(f"| {workload} | " + " | ".join(marked) + " |")
    print()
    for ahead, behind in TESTS:
        both = {workload: losses for workload, losses in found.items() if {ahead, behind} <= losses.keys()}
        ps = [p_value(losses[ahead], losses[behind]) for losses in both.values()]
        print(f"{ahead} ahead of {behind}:")
        for (workload, losses), p, adjusted in zip(both.items(), ps, holm(ps), strict=True):
            ratio, star = mean(losses[ahead]) / mean(losses[behind]), "  *" if adjusted < 0.05 else ""
            print(f"  {workload:12} ratio {ratio:.3f}  p = {p:.2g}  after Holm {adjusted:.2g}{star}")


ARMS = ("AdamW", "INNAprop for it", "INNAprop", "AdamW 1e-3", "INNAprop for 1e-3", "Nesterov", "INNA")
TESTS = (
    ("INNAprop for it", "AdamW"),
    ("INNAprop for 1e-3", "AdamW 1e-3"),
    ("INNAprop", "AdamW"),
    ("AdamW", "INNAprop"),
    ("INNA", "Nesterov"),
    ("Nesterov", "INNA"),
)


def tested(workload: str, known: list[Trial]) -> dict[str, list[float]]:
    """The losses on the fresh seeds of each arm that has them all."""
    losses = {key(record): record["loss"] for record in known}
    found = {
        arm: [losses.get(key(trial(workload, name, setting, seed)), math.nan) for seed in FRESH]
        for arm, (name, setting) in arms(workload, known).items()
    }
    return {arm: values for arm, values in found.items() if not any(map(math.isnan, values))}


def mean(losses: list[float]) -> float:
    """The mean over the seeds."""
    return sum(losses) / len(losses)


def p_value(ours: list[float], theirs: list[float]) -> float:
    """Student's paired test, one-sided; 1 where both are the same."""
    return 1.0 if ours == theirs else float(stats.ttest_rel(ours, theirs, alternative="less").pvalue)


if __name__ == "__main__":
    main()
