"""The rooms of the laboratory: who knows whom, and where what has moved is found."""

import importlib
import subprocess
import sys

import pytest

from inna.lab import _moved


@pytest.mark.parametrize("old", [*_moved.MOVED, "inna.lab.engines._placing"])
def test_a_module_that_has_moved_is_found_where_it_was(old: str) -> None:
    found = importlib.import_module(old)
    assert found is importlib.import_module(_moved.new(old))
    assert getattr(sys.modules[old.rpartition(".")[0]], old.rpartition(".")[2]) is found


def test_old_names_work_in_a_fresh_process() -> None:
    code = "from inna.lab.figure1 import draw; from inna.lab import explorer; import inna.lab.sources"
    subprocess.run([sys.executable, "-c", code], check=True)
