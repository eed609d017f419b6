"""The examples run, and what they train gets better."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDS = {
    "lightning": "lightning",
    "accelerate": "accelerate",
    "transformers": "transformers",
    "plain": "torch",
    "compile": "torch",
}


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_lowers_its_loss(name, tmp_path):
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    script = EXAMPLES / f"torch_{name}.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"loss ([\d.]+) -> ([\d.]+)", done.stdout)[-1])
    assert after < 0.8 * before


def test_every_example_is_run():
    assert {f"torch_{name}.py" for name in NEEDS} == {path.name for path in EXAMPLES.glob("torch_*.py")}
