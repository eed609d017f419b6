"""How many units of the last ReLU still answer to an image of the mini-batch, every hundred steps.

    python benchmarks/live_units.py DATA_DIR PLAN LABEL LR STEPS SEED...

DATA_DIR holds the data set, PLAN is a plan of one problem, LABEL the name of one of its settings. Each seed
is trained with LR as the plan says, for at most an epoch. Nothing is recorded.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from inna.lab import data
from inna.lab.plan import load
from inna.lab.running.training import Trainer


def follow(trainer: Trainer, steps: int) -> None:
    """Train, and print the units and the mean loss of each hundred steps, until no unit is left."""
    live, before = 0, 0.0

    def count(module: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal live
        live = int(output.transpose(0, 1).flatten(1).gt(0).any(1).sum())

    def after_step() -> None:
        nonlocal before
        if trainer.batch % 100 == 0:
            loss = (trainer.running.item() - before) / 100 / trainer.run.batch_size
            print(f"seed {trainer.run.seed}, step {trainer.batch}: loss {loss:.4f}, {live} units", flush=True)
            before = trainer.running.item()
            if trainer.batch >= steps or not live:
                raise StopIteration

    *_, last = (module for module in trainer.net.modules() if isinstance(module, torch.nn.ReLU))
    last.register_forward_hook(count)
    try:
        trainer.finish_epoch(after_step)
    except StopIteration:
        return


def main() -> None:
    """Follow each seed."""
    folder, name, label, lr, steps, *seeds = sys.argv[1:]
    plan = load(name)
    (problem,) = plan.problems
    (setting,) = (setting for setting in plan.settings if setting.label == label)
    images = data.load(problem.dataset, Path(folder), train=problem.train, test=100)
    for seed in seeds:
        follow(Trainer(plan.long_run(problem, setting, float(lr), int(seed)), images), int(steps))


if __name__ == "__main__":
    main()
