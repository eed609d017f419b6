import ast
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("inna", deadline=None)  # a busy machine is no failure
settings.load_profile("inna")

CHECKOUT = Path(__file__).parents[1]
GROUND_FLOOR = {"test_package.py", "test_reference.py", "test_schedules.py", "test_hyperparameters.py"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--touched",
        action="store_true",
        help="run only the ground floor's tests and those of the files that differ from main",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--touched") or collection_path.suffix != ".py":
        return None
    return None if collection_path.name in chosen() else True


@cache
def chosen() -> set[str]:
    return GROUND_FLOOR.union(*(tests_of(file) for file in touched()))


def touched() -> list[Path]:
    """The files of the checkout that differ from main, committed or not."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if done.returncode == 0]

    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    changed = git("diff", "--name-only", *base)
    return [Path(name) for name in changed + git("ls-files", "--others", "--exclude-standard")]


def tests_of(file: Path) -> set[str]:
    """A file of tests itself; those named after a module, or else all that import it or its room."""
    if file.parent.name == "tests":
        return {file.name}
    if file.is_relative_to("src/inna/lab/plans"):
        texts = {
            test.name: test.read_text(encoding="utf-8") for test in (CHECKOUT / "tests").glob("test_*.py")
        }
        return {name for name, text in texts.items() if f'"{file.stem}"' in text}
    if not file.is_relative_to("src/inna") or file.suffix != ".py":
        return set()
    *rooms, name = file.relative_to("src").with_suffix("").parts
    names = (
        {".".join((*rooms, name)), ".".join(rooms)} if name.startswith("_") else {".".join((*rooms, name))}
    )
    concerned = {
        test.name
        for test in (CHECKOUT / "tests").glob("test_*.py")
        if names & imports(test) or rooms[-1] in test.stem.split("_")
    }
    return {test for test in concerned if name.strip("_") in Path(test).stem.split("_")} or concerned


def imports(test: Path) -> set[str]:
    """The modules, and the names from modules, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's headless Chromium, driven by Playwright; its pages cannot reach the network."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs a browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=quiet)
        context = launched.new_context(offline=True)
        yield context
        launched.close()
