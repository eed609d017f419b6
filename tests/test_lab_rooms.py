"""The rooms of the laboratory: who knows whom, what is loaded for what, and where what has moved is found."""

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import inna.lab
from inna.lab import _moved, archive, protocol
from made_records import MadeUp
from short_plan import PLAN

LAB = Path(inna.lab.__file__).parent

MAY_IMPORT = {
    "gallery": {"style", "files"},
    "results": {"plan", "records"},
    "hypotheses": {"plan", "records", "files"},
    "reporting": {"results", "plan", "records", "hypotheses", "style", "files"},
    "running": {"plan", "records", "data", "files", "imports", "tasks", "search"},
    "tasks": {"imports"},
    "protocol": {"plan", "records", "results", "search"},
    "search": {"plan"},
    "archive": {"plan", "records", "results", "protocol", "files"},
    "records": {"plan", "files"},
    "plan": {"files", "spaces"},
    "files": set(),
    "style": {"files"},
    "data": {"files"},
}
"""Of the rooms and files of the laboratory; the door, ``__init__``, may import all."""


FILES = {
    ".".join(file.relative_to(LAB).with_suffix("").parts).removesuffix(".__init__"): file
    for file in LAB.rglob("*.py")
}
"""By the names of their modules below inna.lab; a folder's is that of its ``__init__``."""


@cache
def imported(name: str) -> set[str]:
    """The modules of the laboratory that a module imports, wherever in it."""
    file = FILES[name]
    package = ["inna", "lab", *file.relative_to(LAB).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    below = {
        module.removeprefix("inna.lab.") for module in found if module.startswith("inna.lab.")
    } & FILES.keys()
    folders = {module for module in below if any(other.startswith(f"{module}.") for other in below)}
    return below - folders - {name}


@cache
def rooms() -> dict[str, set[str]]:
    """Each folder or file of the laboratory, and which others it imports."""
    found: dict[str, set[str]] = {}
    for name in FILES:
        room = name.partition(".")[0]
        found.setdefault(room, set()).update(module.partition(".")[0] for module in imported(name))
        found[room].discard(room)
    return found


def floor(room: str, above: tuple[str, ...] = ()) -> int:
    assert room not in above, f"a circle: {' -> '.join((*above, room))}"
    return 1 + max((floor(lower, (*above, room)) for lower in rooms()[room]), default=0)


def test_no_circle_and_at_most_seven_floors() -> None:
    floors = {room: floor(room) for room in rooms()}
    assert max(floors.values()) <= 7
    assert floors["gallery"] <= 3
    assert floors["plan"] <= 2


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert rooms()[room] <= MAY_IMPORT[room]


def test_nothing_but_the_door_knows_both_running_and_the_report() -> None:
    assert [room for room, known in rooms().items() if {"running", "reporting"} <= known] == ["__init__"]


def test_the_files_of_a_room_import_each_other_in_no_circle() -> None:
    known = {name: imported(name) for name in FILES}
    while leaves := [name for name, lower in known.items() if not lower & known.keys()]:
        for leaf in leaves:
            del known[leaf]
    assert known == {}


READ = """
import sys
from inna.cli import run
for arguments in (["status"], ["report"], ["export"], ["reproduce", "figure1", "--out"]):
    sys.argv = ["inna", *arguments, sys.argv[-1]]
    try:
        run()
    except SystemExit as end:
        assert not end.code, arguments
    heavy = {"torch", "ray", "dask", "distributed", "inna.lab.running"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""


def test_reading_results_loads_neither_torch_nor_an_engine(tmp_path: Path) -> None:
    archive.keep_plan(tmp_path, PLAN)
    protocol.reproduce(PLAN, MadeUp(tmp_path / "runs"), [2, 3, 4])
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("report.html", "records.csv", "figure1.svg"):
        assert (tmp_path / name).stat().st_size > 1000


FIGURE1 = """
import sys
from inna.cli import run
sys.argv = ["inna", "reproduce", "figure1", "--out", sys.argv[-1]]
try:
    run()
except SystemExit as end:
    assert not end.code
print(sorted({"scipy", "plotly.offline", "requests", "pandas", "sklearn"} & set(sys.modules)))
"""


def test_figure_1_alone_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIGURE1, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("old", [*_moved.MOVED, "inna.lab.engines._placing"])
def test_a_module_that_has_moved_is_found_where_it_was(old: str) -> None:
    found = importlib.import_module(old)
    assert found is importlib.import_module(_moved.new(old))
    assert getattr(sys.modules[old.rpartition(".")[0]], old.rpartition(".")[2]) is found


def test_old_names_work_in_a_fresh_process() -> None:
    code = "from inna.lab.figure1 import draw; from inna.lab import explorer; import inna.lab.sources"
    subprocess.run([sys.executable, "-c", code], check=True)
