"""The examples for JAX run, and what they train gets better."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {"optax": "optax", "vmap": "optax", "flax": "flax", "optimistix": "optimistix"}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_lowers_its_loss(name: str, tmp_path: Path) -> None:
    for needed in ("sklearn", NEEDS[name]):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}")
    script = EXAMPLES / f"jax_{name}.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"loss ([\d.]+) -> ([\d.]+)", done.stdout)[-1])
    assert after < 0.3 * before


def test_every_example_is_run() -> None:
    assert {f"jax_{name}.py" for name in NEEDS} == {path.name for path in EXAMPLES.glob("jax_*.py")}
