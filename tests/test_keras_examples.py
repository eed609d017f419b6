"""The examples for Keras run on their backends, and what they train gets better."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = [
    ("fit", "torch"),
    ("fit", "jax"),
    ("fit", "tensorflow"),
    ("tape", "tensorflow"),
    ("stateless", "jax"),
]


@pytest.mark.parametrize(("name", "backend"), RUNS)
def test_an_example_lowers_its_loss(name: str, backend: str, tmp_path: Path) -> None:
    for needed in ("sklearn", "keras", backend):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}")
    on_backend = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"keras_{name}.py"],
        env=os.environ | on_backend,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"loss ([\d.]+) -> ([\d.]+)", done.stdout)[-1])
    assert after < 0.4 * before


def test_every_example_is_run() -> None:
    assert {f"keras_{name}.py" for name, _ in RUNS} == {path.name for path in EXAMPLES.glob("keras_*.py")}
