from pathlib import Path
from typing import Any

import pytest

from inna.lab import optimizers, plan
from inna.lab.plan import Plan, PlanError, validated

SOUND: dict[str, Any] = {
    "name": "test",
    "description": "a plan for tests",
    "problems": [{"dataset": "digits", "network": "small"}],
    "settings": [{"label": "SGD", "optimizer": "torch.optim.SGD"}],
    "epochs": 2,
    "selection_epochs": 1,
    "grid": [0.1],
    "max_extensions": 0,
    "seeds": [0],
}


def test_the_paper_preset_is_section_5_2() -> None:
    paper = plan.load("paper")
    assert [p.name for p in paper.problems] == ["mnist-nin", "cifar10-nin", "cifar100-nin"]
    assert all((p.train, p.test) == (50_000, 10_000) for p in paper.problems)
    assert (paper.epochs, paper.selection_epochs, paper.batch_size, len(paper.seeds)) == (200, 15, 32, 5)
    inna = [s for s in paper.settings if s.role == "candidate"]
    assert [(s.options["alpha"], s.options["beta"], s.q) for s in inna] == [
        (0.1, 0.1, 0.5),
        (0.5, 0.1, 0.5),
        (0.5, 0.5, 0.5),
        (0.5, 1.0, 0.5),
    ]
    peers = {s.label: s for s in paper.settings if s.role == "peer"}
    assert {label: s.q for label, s in peers.items()} == {"SGD": 0.5, "ADAGRAD": 0.0, "ADAM": 0.0}
    assert peers["SGD"].options == {}
    assert paper.decays == (0.25, 0.125, 0.0625)


def test_the_quick_preset_has_the_same_curves() -> None:
    quick, paper = plan.load("quick"), plan.load("paper")
    assert (quick.settings, quick.decays, quick.grid, quick.seeds) == (
        paper.settings,
        paper.decays,
        paper.grid,
        paper.seeds,
    )


def test_a_plan_is_read_from_a_file_and_cut_to_a_data_set(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text((plan.PRESETS / "paper.toml").read_text())
    only = plan.load(str(file), datasets=["mnist"], device="meta")
    assert [p.dataset for p in only.problems] == ["mnist"]
    assert only.device == "meta"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"problems": [{"dataset": "imagenet", "network": "nin"}]},
            "unknown data set 'imagenet': choose from",
        ),
        ({"problems": [{"dataset": "digits", "network": "vgg"}]}, "unknown network 'vgg': choose from"),
        ({"problems": []}, r"problems: .*got \[\]"),
        (
            {"settings": [{"label": "x", "optimizer": "torch.optim.Addam"}]},
            "unknown optimizer 'torch.optim.Addam'",
        ),
        ({"settings": [{"label": "x", "optimizer": "no.such.thing"}]}, "unknown optimizer 'no.such.thing'"),
        ({"settings": SOUND["settings"] * 2}, "the label 'SGD' occurs twice"),
        ({"seeds": [3, 3]}, "the seed 3 occurs twice"),
        ({"seeds": [-1]}, "seeds.0: .*got -1"),
        ({"grid": [0.1, -0.1]}, "grid.1: .*greater than 0, got -0.1"),
        ({"grid": [float("nan")]}, "grid.0: .*got nan"),
        ({"epochs": 0}, "epochs: .*got 0"),
        ({"init": "zeros"}, "unknown initialiser 'zeros'"),
        ({"epoch": 3}, "epoch: Extra inputs are not permitted, got 3"),
    ],
)
def test_what_is_not_sound_is_named(change: dict[str, Any], message: str) -> None:
    validated(Plan, SOUND)
    with pytest.raises(PlanError, match=message):
        validated(Plan, SOUND | change)


def test_unknown_presets_and_files(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="unknown preset 'slow': choose from paper, quick"):
        plan.load("slow")
    with pytest.raises(PlanError, match="unknown data set of quick 'mnist': choose from mnist5k"):
        plan.load("quick", datasets=["mnist"])
    (tmp_path / "bad.toml").write_text("epochs = ")
    with pytest.raises(PlanError, match="is not a TOML file"):
        plan.load(str(tmp_path / "bad.toml"))


def test_no_two_runs_share_a_folder_and_a_run_survives_json() -> None:
    quick = plan.load("quick")
    (problem,) = quick.problems
    runs = [
        make(problem, setting, lr, seed)
        for make in (quick.selection_run, quick.long_run)
        for setting in quick.settings
        for lr in quick.grid
        for seed in quick.seeds
    ]
    more_threads = [run.model_copy(update={"threads": 2}) for run in runs]
    folders = [run.folder for run in runs + more_threads]
    assert len(set(folders)) == len(folders)
    assert plan.Run.model_validate_json(runs[0].model_dump_json()) == runs[0]


def test_optimizers_are_found_by_path_and_by_name_in_any_case() -> None:
    import torch

    import inna.torch

    assert optimizers.resolve("INNA") is optimizers.resolve("inna") is inna.torch.INNA
    assert optimizers.resolve("adamw") is optimizers.resolve("torch.optim.AdamW") is torch.optim.AdamW
    for wrong in ("Lion", "torch.optim.lr_scheduler", "torch.nn.Linear", "inna.torch.inna"):
        with pytest.raises(ValueError, match=f"unknown optimizer '{wrong}'"):
            optimizers.resolve(wrong)
