"""A plan of seconds, on a fast machine too, and what tests of killed processes look at while it runs."""

import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inna.lab import plan, records

TOML = """
name = "short"
description = "a plan for tests, whose long runs are long enough to be killed"
epochs = 4
selection_epochs = 1
grid = [0.1]
max_extensions = 0
seeds = [0, 1]
batch_size = 1
decays = [0.25]

[[problems]]
dataset = "digits"
network = "small"
train = 800
test = 100

[[settings]]
label = "INNA"
role = "candidate"
optimizer = "inna.torch.INNA"
q = 0.5

[[settings]]
label = "ADAM"
optimizer = "torch.optim.Adam"
"""

PLAN = plan.validated(plan.Plan, tomllib.loads(TOML))
RUNS = [
    PLAN.long_run(PLAN.problems[0], setting, 0.1, seed) for setting in PLAN.settings for seed in PLAN.seeds
]
"""The long runs of Figure 3; Figure 2 has the first two."""


def command(figure: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `inna reproduce` in a process group of its own; its runs lie in the folder's `runs`."""
    file = folder / "plan.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(TOML)
    start = [sys.executable, "-m", "inna", "reproduce", figure, "--preset", str(file), "--out", str(folder)]
    return subprocess.Popen(
        [*start, "--jobs", "2", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for the command's success."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    assert b"report.html" in output


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


def until(condition: Callable[[], bool], *, seconds: float = 300) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it has not happened")
        time.sleep(0.01)
