"""Does the best memory grow with the run? INNAprop's memories at run lengths of 400 to 12,800 steps.

    python benchmarks/lengths.py RECORDS WORKLOAD...   run what the records do not hold yet
    python benchmarks/lengths.py RECORDS               print what they hold

Every memory is tried with every long-run step, at a direct share of .2, as in travel.py; a memory counts with
its best step at each length, over the seeds. The loss is that on data held out.
"""

import itertools
import sys
from pathlib import Path

import torch
from travel import Trial, execute, key, mean, read, trial
from workloads import WORKLOADS

LENGTHS = (400, 1600, 6400, 12_800)
MEMORIES = (5, 10, 30, 100, 300)
STEPS = (0.001, 0.002, 0.004)
SEEDS = (30, 31)


def planned(workload: str, length: int, memory: int, step: float, seed: int) -> Trial:
    """A run of so many steps."""
    return {**trial(workload, "INNAprop", (step, memory, 0.2), seed), "steps": length}


def main() -> None:
    """Run the workloads that are named, or print what the records hold."""
    path = Path(sys.argv[1])
    known = read(path)
    torch.set_num_threads(1)
    asked = itertools.product(sys.argv[2:], LENGTHS, MEMORIES, STEPS, SEEDS)
    execute([planned(*one) for one in asked], known, path)
    if len(sys.argv) == 2:
        report({key(record): record["loss"] for record in known})


def report(losses: dict[str, float]) -> None:
    """A row for each workload and length that is complete: the best loss of each memory, and its step."""
    print("| workload, steps | " + " | ".join(f"m = {memory}" for memory in MEMORIES) + " |")
    print("|---|" + "---|" * len(MEMORIES))
    for workload, length in itertools.product(WORKLOADS, LENGTHS):
        cells = []
        for memory in MEMORIES:
            of_step = {
                step: [losses.get(key(planned(workload, length, memory, step, seed))) for seed in SEEDS]
                for step in STEPS
            }
            if any(loss is None for each in of_step.values() for loss in each):
                break
            means = {
                step: mean([loss for loss in each if loss is not None]) for step, each in of_step.items()
            }
            best = min(means, key=means.__getitem__)
            cells.append((means[best], best))
        else:
            lowest = min(cells)[0]
            texts = [
                f"{'**' if loss == lowest else ''}{loss:.4f}{'**' if loss == lowest else ''} ({step})"
                for loss, step in cells
            ]
            print(f"| {workload}, {length:,} | " + " | ".join(texts) + " |")


if __name__ == "__main__":
    main()
