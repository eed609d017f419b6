"""The folders of runs are for good: whoever has records must find them again with a later version.

A plan that is changed on purpose has other runs, and other digests here.
"""

import hashlib

import pytest

from inna.lab import plan


@pytest.mark.parametrize(
    ("preset", "known"),
    [
        ("quick", "eda901145db02c9e8c994aeae4634ab6457e3f34270dbb5c21166b15d54c7ba3"),
        ("laptop", "9266b9242f930fb575ad6232804e1462e71b366902515eb65bc0a45d8e4b49bb"),
        ("paper", "95de2815dbfb6efcf0d13f2e15fe51a9886fe64723680617b8b7b3e39c831449"),
    ],
)
def test_the_runs_of_a_shipped_plan_keep_their_folders(preset: str, known: str) -> None:
    shipped = plan.load(preset)
    folders = [
        run(problem, setting, lr, seed).folder.as_posix()
        for problem in shipped.problems
        for setting in shipped.settings
        for lr in shipped.grid
        for seed in shipped.seeds
        for run in (shipped.selection_run, shipped.long_run)
    ]
    assert hashlib.sha256("\n".join(folders).encode()).hexdigest() == known


def test_a_folder_tells_the_optimizer_its_options_the_decay_and_the_run() -> None:
    quick = plan.load("quick")
    (problem,) = quick.problems
    inna, adam = (s for s in quick.settings if s.label in ("INNA (0.1, 0.1)", "ADAM"))
    cosine = inna.model_copy(update={"schedule": {"family": "cosine", "steps": 10}, "q": 0.0})
    folders = [
        quick.long_run(problem, inna, 0.1, 0).folder,
        quick.long_run(problem, adam, 0.001, 4).folder,
        quick.selection_run(problem, cosine, 0.05, 3).folder,
    ]
    assert [folder.as_posix() for folder in folders] == [
        "mnist5k-lenet5/INNA-alpha0.1-beta0.1-q0.5/lr0.1-seed0-epochs12-3ad49d38",
        "mnist5k-lenet5/Adam-eps1e-07-q0/lr0.001-seed4-epochs12-d61b74cb",
        "mnist5k-lenet5/INNA-alpha0.1-beta0.1-family_cosine_steps_10/lr0.05-seed3-epochs3-923c8cd5",
    ]
