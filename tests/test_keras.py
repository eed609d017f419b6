"""INNA and INNAprop for Keras: the contract holds on each backend, one process each."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PARITY = Path(__file__).parents[1] / "docs" / "keras_parity.md"
ROWS = re.findall(r"^\| `(test_\w+)` \| (.+?) \| (.+?) \|$", PARITY.read_text(), flags=re.MULTILINE)
CONTRACT = sorted(Path(__file__).parent.glob("contract_of_keras*.py"))

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="the extra keras is not installed"
)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ
        | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@needs_keras
@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_the_contract_holds(backend: str) -> None:
    pytest.importorskip(backend, reason=f"Keras's backend {backend} is not installed")
    options: tuple[str, ...] = ("-v", "-p", "no:cacheprovider", "-p", "no:xdist", "--doctest-modules")
    rooms = importlib.util.find_spec("inna")
    assert rooms is not None
    room = Path(str(rooms.origin)).with_name("keras")
    if importlib.util.find_spec("tensorflow") is None:  # `make quick` goes without
        options += (f"--ignore={room / '_on_tensorflow.py'}",)
    done = run("-m", "pytest", *options, *map(str, CONTRACT), str(room), KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stdout + done.stderr
    twins = {re.match(r"`tests/(\w+)\.py::(\w+)`", twin) for _, _, twin in ROWS}
    collected = set(re.findall(r"(\w+)\.py::(\w+)", done.stdout))
    assert {twin.groups() for twin in twins if twin} <= collected


def test_every_upstream_test_has_a_twin_or_a_reason() -> None:
    assert [
        name for name, _, twin in ROWS if not twin.startswith(("`tests/contract_of_keras", "none: "))
    ] == []


@needs_keras
def test_the_table_names_every_upstream_test() -> None:
    version = re.search(r"in Keras (\d+\.\d+\.\d+)", PARITY.read_text())
    installed = importlib.metadata.version("keras")
    assert version
    if installed != version[1]:
        pytest.skip(f"the table is that of Keras {version[1]}, not {installed}")
    source = Path(str(importlib.metadata.distribution("keras").locate_file("keras/src")))
    files = [
        *(source / "optimizers").glob("*_test.py"),
        *(source / "backend").glob("tensorflow/opt*_test.py"),
    ]
    for file in files:
        upstream = set(re.findall(r"def (test_\w+)\(", file.read_text()))
        stem = file.name.removesuffix("_test.py")
        assert upstream == {name for name, of, _ in ROWS if stem in of.split(", ")}, file.name


@needs_keras
def test_importing_it_imports_no_framework_that_keras_does_not() -> None:
    loaded = "import sys, {}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    frameworks = {"torch", "jax", "tensorflow", "optax", "flax"}
    modules = [set(run("-c", loaded.format(name)).stdout.split()) for name in ("keras", "inna.keras")]
    assert "inna" in modules[1]
    assert modules[0] & frameworks == modules[1] & frameworks


@pytest.mark.parametrize("use", ["import inna.keras", "import inna; inna.keras", "from inna import keras"])
def test_a_missing_keras_is_one_line_that_names_the_extra(use: str) -> None:
    done = run("-c", f"import sys; sys.modules['keras'] = None; {use}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: inna.keras needs Keras: pip install 'inna[keras]'"
    )
