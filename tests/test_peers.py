"""Peers from elsewhere, in runs of the laboratory: killed, gone on with, evaluated where they want to be."""

from pathlib import Path
from typing import Any

import pytest
import schedulefree
import torch
from torch import nn

from inna.lab.peers import Muon
from inna.lab.plan import Evaluation, Problem, Run
from inna.lab.records import VOLATILE, read
from inna.lab.running import optimizers
from inna.lab.running.training import Trainer, train
from inna.lab.tasks import make

PEERS = (
    "muon",
    "pytorch_optimizer.Lion",
    "pytorch_optimizer.AdEMAMix",
    "pytorch_optimizer.Prodigy",
    "pytorch_optimizer.ScheduleFreeAdamW",
    "schedulefree.AdamWScheduleFree",
)


def run_of(optimizer: str, **changes: Any) -> Run:
    content: dict[str, Any] = {
        "problem": Problem(task="regression"),
        "optimizer": optimizer,
        "options": {},
        "lr": 0.01,
        "init": "own",
        "batch_size": 32,
        "epochs": 3,
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "evaluate": Evaluation.every_epoch,
    }
    return Run(**{**content, **changes})


def kept(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k not in VOLATILE} for one in read(folder / "records.jsonl")]


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", PEERS)
def test_a_peer_that_is_killed_goes_on_to_the_bit(optimizer: str, tmp_path: Path) -> None:
    run, task = run_of(optimizer), make("regression", {})

    def die(epoch: int) -> None:
        if epoch < 3:
            raise Killed

    train(run, tmp_path / "whole", task)
    for _ in range(2):
        with pytest.raises(Killed):
            train(run, tmp_path / "killed", task, on_epoch=die)
    train(run, tmp_path / "killed", task, on_epoch=die)
    assert kept(tmp_path / "killed") == kept(tmp_path / "whole")
    first, *_, last = kept(tmp_path / "whole")
    assert last["train_loss"] < first["train_loss"]


def test_schedule_free_is_evaluated_at_its_average_and_trained_on_as_if_it_had_not_been() -> None:
    trainer = Trainer(run_of("schedulefree.AdamWScheduleFree"), make("regression", {}))
    trainer.finish_epoch(after_step=lambda: None)
    trained = [p.detach().clone() for p in trainer.net.parameters()]
    loss = trainer.record()["train_loss"]
    assert all(map(torch.equal, trained, trainer.net.parameters()))
    assert isinstance(trainer.optimizer, schedulefree.AdamWScheduleFree)
    trainer.optimizer.eval()
    assert not all(map(torch.equal, trained, trainer.net.parameters()))
    assert trainer.task.evaluate(trainer.net.eval(), "train", "cpu")["loss"] == pytest.approx(loss)


def test_muon_gives_matrices_to_muon_and_the_rest_to_adamw() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3))
    groups = optimizers.parameters(net, "matrices")
    made = Muon(groups, lr=0.02, weight_decay=0.1)
    kinds = {name: type(part).__name__ for part in made._parts for name in names(net, part)}
    assert kinds == {
        "1.weight": "Muon",
        "0.weight": "AdamW",
        "1.bias": "AdamW",
        "2.weight": "AdamW",
        "2.bias": "AdamW",
    }
    decays = {name: g["weight_decay"] for g in made.param_groups for name in names_of(net, g)}
    assert decays == {"1.weight": 0.1, "0.weight": 0.0, "1.bias": 0.0, "2.weight": 0.0, "2.bias": 0.0}
    assert {group["lr"] for group in made.param_groups} == {0.02}


def test_muons_steps_are_as_long_as_adamws() -> None:
    torch.manual_seed(0)
    net = nn.Linear(40, 30)
    before = [p.detach().clone() for p in net.parameters()]
    made = Muon(net.parameters(), lr=0.01, weight_decay=0.0)

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss: torch.Tensor = net(torch.randn(64, 40)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert made.step(closure) is not None
    sizes = [(p - q).square().mean().sqrt().item() for p, q in zip(net.parameters(), before, strict=True)]
    assert sizes == pytest.approx(
        [0.002, 0.01], rel=0.3
    )  # AdamW's is 0.2 to 0.4 lr on average; its first is lr


def names(net: nn.Module, part: torch.optim.Optimizer) -> list[str]:
    return [name for group in part.param_groups for name in names_of(net, group)]


def names_of(net: nn.Module, group: dict[str, Any]) -> list[str]:
    return [name for name, p in net.named_parameters() if any(p is q for q in group["params"])]
