"""The GPU playbook, rehearsed on a CPU: every part runs, and slices of a plan give the records of one run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inna.lab import records
from short_plan import TOML, until

PLAYBOOK = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def start(out: Path, plan: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PLAYBOOK), str(out), "--plan", str(plan), "--datasets", "digits"]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--jobs", "1", "--rehearsal", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def play(out: Path, plan: Path, *options: str) -> str:
    process = start(out, plan, *options)
    text, errors = process.communicate()
    assert process.returncode == 0, errors
    return text


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "plan.toml"
    file.write_text(TOML.replace("train = 800", "train = 200"))
    return file


def lasting(folder: Path) -> dict[str, list[tuple[int, float]]]:
    return {
        str(path.parent.relative_to(folder)): [(r["epoch"], r["train_loss"]) for r in records.read(path)]
        for path in sorted(folder.rglob("records.jsonl"))
    }


def test_every_part_comes_to_its_end(tmp_path: Path, plan: Path) -> None:
    out = tmp_path / "out"
    play(out, plan, "--parts", "machine", "tests", "steps", "seeds")
    for part in ("machine", "tests", "steps", "seeds"):
        assert json.loads((out / f"{part}.json").read_text())["complete"], part
    assert "INNA, fused" in json.loads((out / "steps.json").read_text())["text"]
    again = play(out, plan, "--parts", "machine", "steps")
    assert again.splitlines() == ["machine: done before", "steps: done before"]


def test_a_plan_in_slices_on_one_machine_after_the_other_gives_the_same_records(
    tmp_path: Path, plan: Path
) -> None:
    play(tmp_path / "whole", plan, "--parts", "slices")
    here = tmp_path / "slice0"
    assert "the time is up" in play(here, plan, "--parts", "slices", "--seconds", "0")
    process = start(here, plan, "--parts", "slices")
    until(lambda: bool(lasting(here / "plan")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = process.communicate()
    assert "goes on from here" in errors
    assert not (here / "slices.json").exists()
    assert 0 < len(lasting(here / "plan")) < len(lasting(tmp_path / "whole" / "plan"))
    sizes = [path.stat().st_size for path in here.iterdir() if path.is_file()]
    assert max(sizes) <= 16_000_000
    there = tmp_path / "slice1"
    shutil.copytree(here, there, ignore=shutil.ignore_patterns("plan"))
    play(there, plan, "--parts", "slices")
    assert (there / "slices.json").exists()
    assert lasting(there / "plan") == lasting(tmp_path / "whole" / "plan")
