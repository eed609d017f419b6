"""The examples run, and what they train gets better."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
VISION = Path(sys.prefix) / "vision"
NEEDS = {
    "lightning": "lightning",
    "lightning_cli": "jsonargparse",
    "accelerate": "accelerate",
    "transformers": "transformers",
    "trainer_class": "transformers",
    "skorch": "skorch",
    "optuna": "optuna",
    "schedulefree": "schedulefree",
    "pytorch_optimizer": "pytorch_optimizer",
    "plain": "torch",
    "compile": "torch",
}
NEEDS_VISION = {"timm": "timm", "fastai": "fastai"}
"""They need torchvision, which lies apart: where its operators are built for another PyTorch than the one at
hand, Transformers and Lightning cannot be imported beside it."""

DECLARED_OPERATORS = r"""
import re, runpy, sys, torch
from importlib.util import find_spec
from pathlib import Path

try:
    import torchvision
except RuntimeError:  # its operators do not load; timm and fastai call none of them here
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    folder = Path(find_spec("torchvision").submodule_search_locations[0])
    source = (folder / "_meta_registrations.py").read_text()
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(re.findall(r'register_meta."(\w+)"|torchvision::(\w+)"', source))):
        library.define(f"{max(name)}(Tensor x) -> Tensor")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def check_that_it_learns(command, folder, **variables):
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"loss ([\d.]+) -> ([\d.]+)", done.stdout)[-1])
    assert after < 0.95 * before


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_lowers_its_loss(name, tmp_path):
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    check_that_it_learns([sys.executable, EXAMPLES / f"torch_{name}.py"], tmp_path)


@pytest.mark.parametrize("name", NEEDS_VISION)
def test_an_example_that_needs_torchvision_lowers_its_loss(name, tmp_path):
    if not (VISION / NEEDS_VISION[name]).exists():
        pytest.skip(f"needs {NEEDS_VISION[name]} in {VISION}, where `make test` puts it")
    path = os.pathsep.join(filter(None, [str(VISION), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", DECLARED_OPERATORS, EXAMPLES / f"torch_{name}.py"]
    check_that_it_learns(command, tmp_path, PYTHONPATH=path)


def test_every_example_is_run():
    assert {f"torch_{name}.py" for name in NEEDS | NEEDS_VISION} == {
        path.name for path in EXAMPLES.glob("torch_*.py")
    }
