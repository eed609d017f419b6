from pathlib import Path
from typing import Any

import pytest

from inna.lab import comparing, plan
from inna.lab.running.lookup import looked_up

OPTIONS: dict[str, Any] = {
    "dataset": "digits",
    "network": "small",
    "train": 100,
    "test": None,
    "grid": "0.01 0.1",
    "epochs": 2,
    "selection_epochs": 1,
    "seeds": [0],
}


def test_a_setting_in_words() -> None:
    words = "torch.optim.SGD, momentum=0.9, nesterov=true, q=0.5, grid=0.1 1, label=Nesterov"
    assert comparing.setting(words) == {
        "label": "Nesterov",
        "optimizer": "torch.optim.SGD",
        "options": {"momentum": 0.9, "nesterov": True},
        "q": 0.5,
        "grid": [0.1, 1],
    }
    assert comparing.setting("inna, beta=0.5, grid=1")["label"] == "inna beta=0.5"


def test_the_plan_survives_its_file(tmp_path: Path) -> None:
    odd = 'inna, beta=1e-7, label=a "quoted" \\ ünusual label'
    made = comparing.plan([odd, "adam, schedule=inverse_k_log", "sgd, momentum=0.5"], **OPTIONS)
    comparing.keep(tmp_path / "plan.toml", made)
    loaded = plan.load(str(tmp_path / "plan.toml"))
    assert loaded.model_copy(update={"modules": made.modules}) == made
    comparing.keep(tmp_path / "plan.toml", made)


def test_all_of_the_paper_survives_its_file(tmp_path: Path) -> None:
    paper = plan.load("paper")
    (tmp_path / "plan.toml").write_text(comparing.toml(paper))
    assert plan.load(str(tmp_path / "plan.toml")).model_copy(update={"modules": ()}) == paper


def test_another_plan_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("# edited\n")
    with pytest.raises(ValueError, match="is another plan: go on with `inna run"):
        comparing.keep(tmp_path / "plan.toml", comparing.plan(["sgd"], **OPTIONS))
    assert (tmp_path / "plan.toml").read_text() == "# edited\n"


@pytest.mark.parametrize(
    ("optimizers", "change", "message"),
    [
        (["inna, beta"], {}, "options are written NAME, KEY=VALUE, ..., got 'beta'"),
        (["sgd", "sgd"], {}, "the label 'sgd' occurs twice"),
        (["lion"], {}, r"settings\.0\.optimizer: unknown optimizer 'lion'"),
        (["sgd, grid=0.1 -1"], {}, r"settings\.0\.grid\.1: .*greater than 0, got -1"),
        (["sgd"], {"grid": ""}, "'sgd' has no grid, nor has the plan"),
        (["sgd"], {"grid": "0.1 abc"}, "grid.1: .*valid number.*'abc'"),
        (["sgd"], {"epochs": 0}, "epochs: .*got 0"),
        (["sgd"], {"network": "vgg"}, "unknown network 'vgg'"),
    ],
)
def test_mistakes_are_named(optimizers: list[str], change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        looked_up(comparing.plan(optimizers, **{**OPTIONS, **change}))
