"""The package as a whole: what importing it costs, what loads later, what is shipped."""

import ast
import importlib.metadata
import importlib.resources
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import inna

CHECKOUT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; import inna\n"

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the code in a fresh interpreter, away from the checkout."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )


def output(code: str, folder: Path) -> list[str]:
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_inna_imports_numpy_and_the_standard_library_alone(tmp_path: Path) -> None:
    # What NumPy and the site-packages' start-up hooks load is there before.
    code = "import sys, numpy; before = set(sys.modules); import inna; print(*set(sys.modules) - before)"
    tops = {name.partition(".")[0] for name in output(code, tmp_path)}
    assert "inna" in tops
    assert tops - {"inna", "numpy"} - sys.stdlib_module_names == set()


def test_importing_inna_leaves_the_upper_floors_unloaded(tmp_path: Path) -> None:
    loaded = output("import sys, inna; print(*[m for m in sys.modules if m.startswith('inna')])", tmp_path)
    ground_floor = ["_oscillator", "_translation", "hyperparameters", "reference", "schedules"]
    assert sorted(loaded) == ["inna", *(f"inna.{name}" for name in ground_floor)]


@needs_torch
def test_inna_torch_loads_on_first_use(tmp_path: Path) -> None:
    code = """
import sys, inna
assert "inna.torch" not in sys.modules and "torch" not in sys.modules
assert inna.torch is inna.torch is sys.modules["inna.torch"]
print(inna.torch.INNA.__name__, "torch" in sys.modules, "keras" in sys.modules, "jax" in sys.modules)
"""
    assert output(code, tmp_path) == ["INNA", "True", "False", "False"]


@needs_torch
def test_dir_lists_a_room_once_after_it_has_loaded(tmp_path: Path) -> None:
    assert output("import inna; inna.torch; print(dir(inna).count('torch'))", tmp_path) == ["1"]


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'inna' has no attribute 'tourch'"):
        inna.tourch  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(inna, "__wrapped__")


@pytest.mark.parametrize("use", ["inna.torch", "import inna.torch", "from inna import torch"])
def test_a_missing_torch_is_one_line_that_names_the_extra(use: str, tmp_path: Path) -> None:
    done = run(WITHOUT_TORCH + use, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: inna.torch needs PyTorch: pip install 'inna[torch]'"
    )


def test_a_missing_part_of_the_lab_is_one_line_that_names_the_extra(tmp_path: Path) -> None:
    done = run("import sys; sys.modules['filelock'] = None; import inna; inna.lab", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: inna.lab needs filelock: pip install 'inna[lab]'"
    )


def test_without_torch_the_ground_floor_works(tmp_path: Path) -> None:
    code = "print(inna.schedules.power(0.5)(3), inna.hyperparameters.max_stable_lr(1, 1, 1))"
    assert output(WITHOUT_TORCH + code, tmp_path) == ["0.5", "2.0"]


def test_dir_lists_what_loads_later(tmp_path: Path) -> None:
    names = output("import inna; print(*dir(inna))", tmp_path)
    assert {"torch", "lab", "reference", "schedules", "hyperparameters", "__version__"} <= set(names)


def test_everything_in_all_exists() -> None:
    for module in (inna, inna.reference, inna.schedules, inna.hyperparameters):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_version_is_the_distributions() -> None:
    assert inna.__version__ == importlib.metadata.version("inna")


def test_the_package_ships_its_type_marker() -> None:
    assert importlib.resources.files("inna").joinpath("py.typed").is_file()


def test_nothing_outside_the_package_shadows_a_framework() -> None:
    git = shutil.which("git")
    if git is None or not (CHECKOUT / ".git").exists():
        pytest.skip("the tests are not run from a git checkout")
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip(f"git cannot list the checkout: {listed.stderr.strip()}")
    files = [Path(name) for name in listed.stdout.split("\0") if name]
    assert Path("src/inna/__init__.py") in files
    outside = [file for file in files if not file.is_relative_to("src/inna")]
    frameworks = {"torch", "keras", "jax"}
    assert [file for file in outside if frameworks & {p.removesuffix(".py") for p in file.parts}] == []


COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp


def clashes(function: ast.AST) -> set[str]:
    """Names that are one comprehension's variable and a global for another in the same function."""
    variables: set[str] = set()
    used: set[str] = set()
    local = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}

    def visit(node: ast.AST, bound: set[str], inside: bool) -> None:
        if isinstance(node, COMPREHENSIONS):
            stored = {name for part in node.generators for name in stored_in(part.target)}
            variables.update(stored)
            bound, inside = bound | stored, True
        if isinstance(node, ast.Name) and node.id not in bound:
            if isinstance(node.ctx, ast.Store):
                local.add(node.id)
            elif inside:
                used.add(node.id)
        for child in ast.iter_child_nodes(node):
            visit(child, bound, inside)

    visit(function, set(), False)
    return variables & used - local


def stored_in(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def test_no_comprehension_hides_a_global_from_another() -> None:
    """Python 3.12.0 to 3.12.3 raise UnboundLocalError there."""
    assert clashes(ast.parse("def f(x): return [len(a) for a in x], [len for len in x]").body[0]) == {"len"}
    package = Path(inna.__file__).parent
    found = {
        f"{file.name}: {node.name}": names
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (names := clashes(node))
    }
    assert found == {}
