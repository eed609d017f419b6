"""Optimizers of the user's own: their source belongs to a run, and they are tried before anything runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inna import lab
from inna.lab import plan, records, status
from short_plan import lasting

STEP = """
import torch
from {name}_helper import SCALE

class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {{"lr": lr}})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * SCALE * p.grad
"""

WRAPPER = """
import torch

class Both(torch.optim.Optimizer):
    "Momentum for matrices and kernels, Adam for the rest: neither takes an empty list."

    def __init__(self, params, lr):
        params = list(params)
        super().__init__(params, {"lr": lr})
        self.inner = [torch.optim.SGD([p for p in params if p.ndim >= 2], lr=lr, momentum=0.9),
                      torch.optim.Adam([p for p in params if p.ndim < 2], lr=lr)]

    def step(self):
        for inner in self.inner:
            inner.step()

class Signs(torch.optim.Optimizer):
    "Its momentum is not in the state, and changes the sign of a step alone."

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.momenta = {}

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.momenta[p] = 0.9 * self.momenta.get(p, 0) + 0.1 * p.grad
                p -= group["lr"] * self.momenta[p].sign()

class Keeps(Both):
    def state_dict(self):
        return {"inner": [inner.state_dict() for inner in self.inner]}

    def load_state_dict(self, state):
        for inner, saved in zip(self.inner, state["inner"]):
            inner.load_state_dict(saved)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def written(folder: Path, optimizer: str) -> Path:
    """A plan of a second."""
    file = folder / "plan.toml"
    file.write_text(f"""
name = "own"
epochs = 1
selection_epochs = 0
grid = [0.1]
seeds = [0]
[[problems]]
dataset = "digits"
network = "small"
train = 64
test = 20
[[settings]]
label = "mine"
optimizer = "{optimizer}"
""")
    return file


def test_records_of_an_optimizer_that_was_edited_are_refused_not_reused(folder: Path) -> None:
    (folder / "edited.py").write_text(STEP.format(name="edited"))
    (folder / "edited_helper.py").write_text("SCALE = 1.0\n")
    file = written(folder, "edited.Mine")
    lab.run(file, "out", jobs=1)
    first = lasting(folder / "out" / "runs")
    lab.run(file, "out", jobs=1)  # nothing has changed
    (folder / "edited_helper.py").write_text("SCALE = 0.0\n")
    with pytest.raises(records.RecordError, match=r"other code \(edited_helper has changed since\): delete"):
        lab.run(file, "out", jobs=1)
    assert lasting(folder / "out" / "runs") == first
    lab.run(file, "elsewhere", jobs=1)
    assert lasting(folder / "elsewhere" / "runs") != first


def test_records_from_before_the_code_was_noted_go_on(folder: Path) -> None:
    (folder / "older.py").write_text(STEP.format(name="older"))
    (folder / "older_helper.py").write_text("SCALE = 1.0\n")
    file = written(folder, "older.Mine")
    lab.run(file, "out", jobs=1)
    [left] = records.below(folder / "out" / "runs")
    described = left.description()
    assert set(described.pop("own_code")) == {"older", "older_helper"}
    left.describe(described)
    (folder / "older_helper.py").write_text("SCALE = 0.0\n")
    lab.run(file, "out", jobs=1)


def test_report_status_and_export_need_no_module(folder: Path) -> None:
    (folder / "gone.py").write_text(STEP.format(name="gone"))
    (folder / "gone_helper.py").write_text("SCALE = 1.0\n")
    lab.run(written(folder, "gone.Mine"), "out", jobs=1)
    for name in ("gone", "gone_helper"):
        (folder / f"{name}.py").unlink()
        del sys.modules[name]
    assert lab.report("out").table()["setting"].tolist() == ["mine"]
    assert status.status(Path("out")).summary == "Everything is done."
    assert lab.table("out")["setting"].tolist() == ["mine", "mine"]


def test_a_setting_is_tried_on_the_networks_parameters(folder: Path) -> None:
    with pytest.raises(
        plan.PlanError, match=r"settings\.0: .*only supports 2D param.* \(tried 'mine' on digits-small"
    ):
        lab.load(written(folder, "torch.optim.Muon"))
    (folder / "wrappers.py").write_text(WRAPPER)
    with pytest.raises(plan.PlanError, match=r"settings\.0: .*load_state_dict of wrappers\.Both lose"):
        lab.load(written(folder, "wrappers.Both"))
    with pytest.raises(plan.PlanError, match=r"settings\.0: .*load_state_dict of wrappers\.Signs lose"):
        lab.load(written(folder, "wrappers.Signs"))
    lab.load(written(folder, "wrappers.Keeps"))
    with pytest.raises(plan.PlanError, match=r"settings\.0: a step, or a .*LBFGS fails .*closure"):
        lab.load(written(folder, "torch.optim.LBFGS"))
