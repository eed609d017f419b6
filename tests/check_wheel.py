"""The built wheel, as a user gets it; `make wheel` runs this where the wheel is installed."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import inna

CHECKOUT = Path(__file__).parents[1]
PACKAGE = Path(inna.__file__).parent


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found because it lies in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_what_is_imported() -> None:
    assert PACKAGE.is_relative_to(sys.prefix)
    assert distribution("inna").read_text("direct_url.json") is not None


def test_it_holds_every_file_of_the_package_and_no_other() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/inna"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    ours = {str(Path(name).relative_to("src/inna")) for name in listed.stdout.split("\0") if name}
    shipped = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "py.typed" in ours
    assert shipped == ours


def test_the_metadata_say_where_it_lives_and_what_it_needs() -> None:
    metadata = distribution("inna").metadata
    assert metadata["Version"] == inna.__version__
    assert metadata["License-Expression"] == "MIT"
    assert {line.partition(",")[0] for line in metadata.get_all("Project-URL", [])} >= {"Homepage", "Issues"}
    assert {"torch", "keras", "jax", "theory", "lab"} <= set(metadata.get_all("Provides-Extra", []))


@pytest.mark.parametrize("room", ["dynamics", "jax", "keras", "lab", "nonsmooth", "torch"])
def test_a_room_loads_on_first_use(room: str) -> None:
    code = f"import sys, inna; assert 'inna.{room}' not in sys.modules; print(inna.{room}.__name__)"
    assert run("-c", code) == f"inna.{room}\n"


def test_the_kernel_is_compiled_from_the_source_in_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNA_CACHE_DIR", str(tmp_path / "cache"))
    code = """
import torch, inna
weights = torch.ones(3, requires_grad=True)
optimizer = inna.torch.INNA([weights], lr=0.1, fused=True)
weights.square().sum().backward()
optimizer.step()
print(weights.detach().tolist())
"""
    assert run("-c", code).startswith("[0.8")


def test_the_command_draws_figure_1(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("inna")
    done = subprocess.run(
        [command, "reproduce", "figure1", "--out", tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "out").rglob("figure1.png"))
