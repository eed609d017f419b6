import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from here import Here
from inna.lab import data, protocol, records
from inna.lab.plan import Plan, validated
from inna.lab.results.curves import Curve, GridPoint, Result, Summary

PLAN: dict[str, Any] = {
    "name": "test",
    "description": "a plan for tests",
    "problems": [{"dataset": "digits", "network": "small", "train": 100, "test": 50}],
    "settings": [
        {"label": "INNA a", "role": "candidate", "optimizer": "inna.torch.INNA", "q": 0.5},
        {
            "label": "INNA b",
            "role": "candidate",
            "optimizer": "inna.torch.INNA",
            "options": {"beta": 1.0},
            "q": 0.5,
        },
        {"label": "SGD", "optimizer": "torch.optim.SGD", "q": 0.5},
        {"label": "ADAM", "optimizer": "torch.optim.Adam"},
    ],
    "decays": [0.25],
    "epochs": 2,
    "selection_epochs": 1,
    "grid": [0.01, 0.1],
    "max_extensions": 1,
    "seeds": [0, 1],
}


DIGITS = data.load("digits", train=100, test=50)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Here, Result]:
    here = Here(tmp_path_factory.mktemp("runs"), DIGITS)
    (result,) = protocol.reproduce(validated(Plan, PLAN), here, [2, 3, 4])
    return here, result


def test_gamma_0_has_the_smallest_mean_training_loss_of_the_grid(
    reproduced: tuple[Here, Result],
) -> None:
    _, result = reproduced
    for curve in result.curves + result.decays:
        means = {point.lr: np.mean(np.array(point.losses, dtype=float)) for point in curve.grid}
        assert curve.lr == min(means, key=lambda lr: means[lr])


def test_the_grid_grows_while_its_best_point_lies_on_its_edge(
    reproduced: tuple[Here, Result],
) -> None:
    _, result = reproduced
    steps = {curve.setting.label: [point.lr for point in curve.grid] for curve in result.curves}
    assert steps["SGD"] == [0.01, 0.1, 0.2]
    assert steps["ADAM"] == [0.005, 0.01, 0.1]


def test_figure_3_shows_the_best_inna_of_figure_2(reproduced: tuple[Here, Result]) -> None:
    _, result = reproduced
    assert result.best
    losses = {c.setting.label: c.series("train_loss")[:, -1].mean() for c in result.candidates}
    assert list(losses) == ["INNA a", "INNA b"]
    assert result.best.setting.label == min(losses, key=lambda label: losses[label])
    assert [c.setting.label for c in result.compared] == ["SGD", "ADAM", result.best.setting.label]


def test_figure_4_runs_the_best_inna_with_its_own_gamma_0(reproduced: tuple[Here, Result]) -> None:
    _, result = reproduced
    (decay,) = result.decays
    assert result.best
    assert (decay.setting.label, decay.setting.q) == ("k^-1/4", 0.25)
    assert decay.setting.options == result.best.setting.options
    assert len(decay.grid) >= 2


def test_swapping_the_test_labels_changes_no_choice(reproduced: tuple[Here, Result], tmp_path: Path) -> None:
    _, result = reproduced
    swapped = dataclasses.replace(DIGITS, y_test=(DIGITS.y_test + 1) % 10)
    (other,) = protocol.reproduce(validated(Plan, PLAN), Here(tmp_path, swapped), [2, 3, 4])
    for ours, theirs in zip(result.curves + result.decays, other.curves + other.decays, strict=True):
        assert (ours.lr, ours.grid) == (theirs.lr, theirs.grid)
    assert other.best
    assert result.best
    assert other.best.setting.label == result.best.setting.label
    accuracy = [best.final("test_accuracy").mean for best in (result.best, other.best)]
    assert accuracy[0] != accuracy[1]  # the labels did matter, where they may


@pytest.mark.parametrize(
    ("figure", "labels"),
    [(2, ["INNA a", "INNA b"]), (3, ["INNA a", "INNA b", "SGD", "ADAM"]), (4, ["INNA a", "INNA b", "ADAM"])],
)
def test_a_figure_runs_what_it_needs(tmp_path: Path, figure: int, labels: list[str]) -> None:
    plan = validated(Plan, PLAN | {"grid": [0.1], "seeds": [0], "max_extensions": 0})
    (result,) = protocol.reproduce(plan, Here(tmp_path, DIGITS), [figure])
    assert [curve.setting.label for curve in result.curves] == labels
    assert len(result.decays) == (1 if figure == 4 else 0)


def test_a_step_with_a_diverged_run_is_never_chosen(tmp_path: Path) -> None:
    plan = validated(
        Plan, PLAN | {"settings": PLAN["settings"][:3], "grid": [0.1, 1e9], "max_extensions": 0, "decays": []}
    )
    (result,) = protocol.reproduce(plan, Here(tmp_path, DIGITS), [3])
    assert [curve.lr for curve in result.curves] == [0.1, 0.1, 0.1]
    assert math.isinf(result.curves[0].grid[1].mean)


def test_a_setting_that_always_diverges_is_told_and_beaten(tmp_path: Path) -> None:
    wild = {"label": "wild", "role": "candidate", "optimizer": "inna.torch.INNA", "options": {"alpha": 1e9}}
    plan = validated(Plan, PLAN | {"settings": [wild, *PLAN["settings"]], "grid": [0.1], "max_extensions": 0})
    (result,) = protocol.reproduce(plan, Here(tmp_path, DIGITS), [4])
    assert result.curves[0].lr is None
    assert math.isnan(result.curves[0].final("train_loss").mean)
    assert result.best
    assert result.best.setting.label in ("INNA a", "INNA b")


def test_a_plan_without_candidates_has_no_best(tmp_path: Path) -> None:
    own_grid = PLAN["settings"][2] | {"grid": [0.05, 0.5]}
    change = {"settings": [own_grid, PLAN["settings"][3]], "decays": [], "seeds": [0], "max_extensions": 0}
    (result,) = protocol.reproduce(validated(Plan, PLAN | change), Here(tmp_path, DIGITS), [2, 3, 4])
    assert result.best is None
    assert (result.candidates, result.decays) == ([], [])
    assert [curve.setting.label for curve in result.compared] == ["SGD", "ADAM"]
    assert [[point.lr for point in curve.grid] for curve in result.curves] == [[0.05, 0.5], [0.01, 0.1]]


def test_runs_on_different_data_are_not_compared(tmp_path: Path) -> None:
    plan = validated(Plan, PLAN | {"grid": [0.1], "max_extensions": 0, "decays": []})
    here = Here(tmp_path, DIGITS)
    protocol.reproduce(plan, here, [2])
    other = Here(tmp_path, dataclasses.replace(DIGITS, y_train=(DIGITS.y_train + 1) % 10))
    longer = plan.model_copy(update={"epochs": 3})  # its long runs are new, those that choose gamma_0 are not
    with pytest.raises(records.RecordError, match=r"hold records of different data of one name: delete"):
        protocol.reproduce(longer, other, [2])


def test_the_statistics_of_a_curve() -> None:
    def run(*losses: float | None) -> list[dict[str, Any]]:
        return [{"epoch": e, "train_loss": x, "diverged": x is None} for e, x in enumerate(losses)]

    setting = validated(Plan, PLAN).settings[0]
    curve = Curve(setting, [], 0.1, [run(2.0, 1.0, 0.5), run(2.0, 1.0, 1.5)])
    assert curve.final("train_loss") == Summary(1.0, 0.5, 1.5)
    assert curve.diverged == 0
    broken = Curve(setting, [], 0.1, [run(2.0, 1.0, 0.5), run(2.0, None)])
    assert broken.diverged == 1
    assert math.isnan(broken.final("train_loss").mean)
    assert (broken.final("train_loss").low, broken.final("train_loss").high) == (0.5, 0.5)


def test_one_grid_point_loses_to_its_smaller_neighbour_when_all_diverge() -> None:
    assert protocol._wider([GridPoint(1.0, [None, 1.0])]) == [0.5, 1.0]
    assert protocol._wider([GridPoint(0.1, [1.0]), GridPoint(0.2, [0.5])]) == [
        0.1,
        0.2,
        0.5,
    ]


def test_without_selection_the_long_runs_are_the_only_ones(tmp_path: Path) -> None:
    plan = validated(Plan, PLAN | {"grid": [0.1], "selection_epochs": 0, "decays": [], "seeds": [0]})
    (result,) = protocol.reproduce(plan, Here(tmp_path, DIGITS), [2, 3])
    assert all(curve.lr == 0.1 and curve.runs[0][-1]["epoch"] == plan.epochs for curve in result.curves)
    assert len(list(tmp_path.rglob("records.jsonl"))) == len(plan.settings)
