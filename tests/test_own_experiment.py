"""docs/lab/tutorial.md, followed word by word by somebody new."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "lab" / "tutorial.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [text.replace("\\\n", "") for language, text in BLOCKS if language == "sh"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, each named in its first line, and the commands `inna` and `python`."""
    folder = tmp_path_factory.mktemp("new user")
    for language, text in BLOCKS:
        if language != "sh":
            first, _, rest = text.partition("\n")
            (folder / first.removeprefix("# ")).write_text(rest)
    (folder / "bin").mkdir()
    for name, arguments in (("python", ""), ("inna", "-m inna")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    return folder


def typed(commands: str, folder: Path) -> str:
    path = [
        str(Path(place).resolve()) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place
    ]
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path),
    }
    done = subprocess.run(
        ["sh", "-e"], input=commands, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plan_with_data_network_optimizer_and_schedule_of_ones_own(folder: Path) -> None:
    told = typed(COMMANDS[0], folder)
    for label in ("sign descent", "INNA", "AdamW, cosine"):
        assert label in told
    assert "Everything is done." in told
    results = json.loads((folder / "results" / "results.json").read_text())
    curves = {curve["setting"]["label"]: curve for curve in results["problems"][0]["curves"]}
    assert list(curves) == ["sign descent", "INNA", "AdamW, cosine"]
    for curve in curves.values():
        first, *_, last = curve["runs"][0]
        assert last["epoch"] == 6
        assert last["train_loss"] < 0.5 * first["train_loss"]
    assert {0.001, 0.01} <= {point["lr"] for point in curves["sign descent"]["grid"]}
    cosine = [record["lr"] / curves["AdamW, cosine"]["lr"] for record in curves["AdamW, cosine"]["runs"][0]]
    assert cosine[0] == 1
    assert cosine[-1] < 0.01
    assert results["problems"][0]["best"] is None
    assert (folder / "results" / "report.html").stat().st_size > 10_000


def test_the_same_in_python(folder: Path) -> None:
    told = typed(COMMANDS[2], folder)
    for label in ("sign descent", "INNA", "AdamW, cosine"):
        assert label in told
    assert (folder / "figure3.pdf").stat().st_size > 1000


def test_compare_writes_the_plan_that_it_ran(folder: Path) -> None:
    told = typed(COMMANDS[1], folder)
    assert told.count("torch.optim.Adam") >= 2
    runs = list((folder / "comparison" / "runs").rglob("run.json"))
    assert len(runs) == len(list((folder / "comparison" / "runs").rglob("records.jsonl")))
    again = (
        'inna compare --dataset digits --network small --optimizer sgd --out comparison || echo "status $?"'
    )
    assert "status 1" in typed(again, folder)
