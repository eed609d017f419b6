"""A plan of seconds, on a fast machine too, and what tests of killed processes look at while it runs."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inna.lab import plan, records

PLAN = plan.Plan(
    name="short",
    description="a plan for tests, whose long runs write checkpoints",
    problems=(plan.Problem(dataset="digits", network="small", train=800, test=100),),
    settings=(
        plan.Setting(label="INNA", role="candidate", optimizer="inna.torch.INNA", q=0.5),
        plan.Setting(label="ADAM", optimizer="torch.optim.Adam"),
    ),
    decays=(0.25,),
    batch_size=2,
    epochs=12,
    selection_epochs=2,
    grid=(0.1,),
    max_extensions=0,
    seeds=(0, 1),
)
RUNS = [PLAN.long_run(PLAN.problems[0], setting, 0.1, seed) for setting in PLAN.settings for seed in PLAN.seeds]
"""The runs of Figure 3 that come first and last for seconds."""


def lasting(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """All records below a folder, without what may differ."""
    return {
        str(log.relative_to(runs)): [
            {k: v for k, v in record.items() if k not in records.VOLATILE} for record in records.read(log)
        ]
        for log in sorted(runs.rglob("records.jsonl"))
    }


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it has not happened")
        time.sleep(0.01)
