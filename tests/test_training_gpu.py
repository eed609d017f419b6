"""The GPU's way through a run: the recorded step is the plain step, and nothing waits for the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inna.lab import data, records
from inna.lab.plan import Problem, Run
from inna.lab.running import training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def a_run(**change: Any) -> Run:
    fields: dict[str, Any] = {
        "problem": Problem(dataset="cifar10", network="nin"),
        "optimizer": "inna.torch.INNA",
        "options": {},
        "lr": 0.1,
        "q": 0.5,
        "init": "glorot_normal",
        "batch_size": 16,
        "epochs": 2,
        "seed": 0,
        "threads": 1,
        "device": "cuda",
        "evaluate": "every epoch",
    }
    return Run(**{**fields, **change})


def images(number: int = 168) -> data.Dataset:
    """Ten mini-batches of 16 and one of 8."""
    random = np.random.default_rng(0)
    y = random.integers(10, size=number)
    x = random.random((number, 3, 32, 32), dtype=np.float32) * (y / 9).astype(np.float32)[:, None, None, None]
    return data.Dataset("cifar10", 10, x, y, x[:20], y[:20])


def trainer(run: Run, *, dropout: bool = True) -> training.Trainer:
    made = training.Trainer(run, images())
    for module in made.net.modules():
        if isinstance(module, torch.nn.Dropout) and not dropout:
            module.p = 0.0
    return made


def losses(made: training.Trainer) -> list[float]:
    totals = [0.0]
    made.finish_epoch(after_step=lambda: totals.append(made.running.item()))
    return [float(loss) for loss in np.diff(totals) / ([16] * 10 + [8])]


@pytest.mark.parametrize("optimizer", ["inna.torch.INNA", "torch.optim.Adam", "torch.optim.SGD"])
def test_the_recorded_step_is_the_cpus_step(optimizer: str) -> None:
    lr = 0.001 if "Adam" in optimizer else 0.1
    found = losses(trainer(a_run(optimizer=optimizer, lr=lr), dropout=False))
    expected = losses(trainer(a_run(optimizer=optimizer, lr=lr, device="cpu"), dropout=False))
    assert found == pytest.approx(expected, abs=5e-3)  # convolutions may be done in TF32
    assert max(found) - min(found) > 0.01


def test_recording_leaves_no_trace() -> None:
    made = trainer(a_run())
    before = [param.clone() for param in made.net.parameters()]
    made.batch = made.batches  # nothing is left to train: the step is recorded alone
    random = torch.cuda.get_rng_state()
    made.finish_epoch(after_step=lambda: None)
    assert made.replay is not None
    assert torch.equal(torch.cuda.get_rng_state(), random)
    for a, b in zip(before, made.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_dropout_is_drawn_anew_at_every_step() -> None:
    made = trainer(a_run(lr=1e-30))
    made.finish_epoch(after_step=lambda: None)
    assert made.replay is not None
    chosen = torch.arange(16, device="cuda")
    assert made.replay(chosen).item() != made.replay(chosen).item()


def test_no_step_waits_for_the_device() -> None:
    made = trainer(a_run())
    made.finish_epoch(after_step=lambda: None)  # records
    began: list[bool] = []

    def forbid() -> None:
        if not began:
            torch.cuda.set_sync_debug_mode("error")
            began.append(True)

    try:
        made.finish_epoch(after_step=forbid)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert began


def test_a_run_on_a_gpu_is_recorded_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    run = a_run(epochs=3)
    training.train(run, tmp_path / "whole", images())
    whole = records.read(tmp_path / "whole" / "records.jsonl")
    assert [record["epoch"] for record in whole] == [0, 1, 2, 3]
    first = training.Trainer(run, images())
    first.finish_epoch(
        after_step=lambda: first.save(tmp_path / "checkpoint.pt") if first.batch == 5 else None
    )
    resumed = training.Trainer(run, images())
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.batch == 5
    resumed.finish_epoch(after_step=lambda: None)
    assert resumed.record()["train_loss"] == pytest.approx(whole[1]["train_loss"], rel=1e-2)
