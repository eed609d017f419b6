"""A byte of state for each value beside float32: the loss at the end, with the same seeds.

    python benchmarks/eight_bit.py RECORDS WORKLOAD...   run what the records do not hold yet
    python benchmarks/eight_bit.py RECORDS               print what they hold

Each arm is an optimizer with a memory of 10 or of 10,000 steps; it is trained from five seeds in float32 and
in 8 bits, by the fused step, as in travel.py. Declared before the first run: a paired, two-sided test of the
losses on data held out, at p < .01.
"""

import itertools
import sys
from pathlib import Path

import torch
from scipy import stats
from travel import Trial, execute, key, mean, read, trial

SEEDS = (20, 21, 22, 23, 24)
ARMS = {
    "INNAprop, memory 10": ("INNAprop", (0.003, 10, 0.2)),
    "INNAprop, memory 10,000": ("INNAprop", (0.01, 10_000, 0.09)),
    "INNA, memory 10,000": ("INNA", (0.6, 10_000, 0.2)),
}
"""Long-run step, memory and direct share; the second is INNAprop as it comes."""
DTYPES = ("float32", "8bit")


def planned(workload: str, arm: str, dtype: str, seed: int) -> Trial:
    """A run of an arm."""
    name, setting = ARMS[arm]
    flags = {"fused": True, "state_dtype": dtype if dtype == "8bit" else None}
    return {**trial(workload, name, setting, seed), "flags": flags}


def main() -> None:
    """Run the workloads that are named, or print what the records hold."""
    path = Path(sys.argv[1])
    known = read(path)
    torch.set_num_threads(1)
    asked = itertools.product(ARMS, sys.argv[2:], SEEDS, DTYPES)
    execute([planned(workload, arm, dtype, seed) for arm, workload, seed, dtype in asked], known, path)
    if len(sys.argv) == 2:
        report({key(record): record["loss"] for record in known})


def report(losses: dict[str, float]) -> None:
    """A row for each workload and arm that is complete."""
    print("| workload | optimizer | float32 | 8 bits | ratio | p |")
    print("|---|---|---|---|---|---|")
    for workload, arm in itertools.product(("gpt", "nin"), ARMS):
        wide, coded = (
            [losses[k] for seed in SEEDS if (k := key(planned(workload, arm, dtype, seed))) in losses]
            for dtype in DTYPES
        )
        if len(wide) == len(coded) == len(SEEDS):
            p = stats.ttest_rel(wide, coded).pvalue
            ratio = mean(coded) / mean(wide)
            print(f"| {workload} | {arm} | {mean(wide):.4f} | {mean(coded):.4f} | {ratio:.4f} | {p:.2g} |")


if __name__ == "__main__":
    main()
