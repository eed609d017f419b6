import math
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from inna.lab import archive, data, records, status
from inna.lab.plan import Plan, Run, validated
from inna.lab.running import training
from made_records import record

DIGITS = data.load("digits", train=60, test=20)
PLAN = validated(
    Plan,
    {
        "name": "test",
        "problems": [{"dataset": "digits", "network": "small", "train": 60, "test": 20}],
        "settings": [
            {"label": "SGD", "optimizer": "torch.optim.SGD", "q": 0.5},
            {"label": "ADAM", "optimizer": "torch.optim.Adam"},
        ],
        "epochs": 3,
        "selection_epochs": 1,
        "grid": [0.01, 0.02, 0.05],
        "max_extensions": 0,
        "seeds": [0, 1],
    },
)
(PROBLEM,) = PLAN.problems
SGD, ADAM = PLAN.settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    archive.keep_plan(tmp_path, PLAN)
    return tmp_path


def train(folder: Path, *runs: Run) -> None:
    for run in runs:
        training.train(run, folder / "runs" / run.folder, DIGITS)


def selection(setting: Any) -> list[Run]:
    return [PLAN.selection_run(PROBLEM, setting, lr, seed) for lr in PLAN.grid for seed in PLAN.seeds]


def test_nothing_is_done(folder: Path) -> None:
    found = status.status(folder)
    assert [(line.label, line.selection, line.epochs) for line in found.lines] == [
        ("SGD", (0, 6), (0, 6)),
        ("ADAM", (0, 6), (0, 6)),
    ]
    assert math.isnan(found.left)
    assert found.summary.startswith("No run is under way; nothing can be said yet")


def test_half_of_it_is_done(folder: Path) -> None:
    train(folder, *selection(SGD), selection(ADAM)[0])
    (chosen,) = {line.gamma_0 for line in status.status(folder).lines if line.label == "SGD"}
    assert chosen in PLAN.grid
    long = PLAN.long_run(PROBLEM, SGD, chosen, 0)
    train(folder, long)
    records.RunFolder.of(long, folder / "runs").rewind(2)  # as if killed after two epochs
    before = sorted(folder.rglob("*"))
    found = status.status(folder)
    assert sorted(folder.rglob("*")) == before
    assert [(line.gamma_0, line.selection, line.epochs) for line in found.lines] == [
        (chosen, (6, 6), (2, 6)),
        (None, (1, 6), (0, 6)),
    ]
    assert found.at_work == 0
    with FileLock(folder / "runs" / long.folder / "lock"):
        found = status.status(folder)
    assert [line.at_work for line in found.lines] == [1, 0]
    assert found.summary.startswith("1 run is under way; about ")


def test_what_is_left_takes_as_long_as_what_was_done(folder: Path) -> None:
    """Selection epochs took 4 s, others 10 s; a pause between two processes does not count."""

    def write(run: Run, seconds: int, *, pause: int = 0) -> None:
        left = records.RunFolder.of(run, folder / "runs")
        left.path.mkdir(parents=True)
        for epoch in range(run.epochs + 1):
            later = pause if epoch > 1 else 0
            minute, second = divmod(seconds * epoch + later, 60)
            time = f"2026-01-01T00:{minute:02}:{second:02}+00:00"
            left.append(record(epoch, run.lr, time=time, process=later))

    for run in [*selection(SGD), *selection(ADAM)[:2]]:
        write(run, 4)
    write(PLAN.long_run(PROBLEM, SGD, 0.01, 0), 10, pause=1000)
    found = status.status(folder)
    assert found.left == 4 * 4 + (3 + 6) * 10
    assert found.summary.endswith("about 2 minutes are left with one run at a time, more if a grid grows.")


def test_everything_is_done_diverged_runs_included(folder: Path) -> None:
    train(folder, *selection(SGD), *selection(ADAM))
    for line in status.status(folder).lines:
        setting = SGD if line.label == "SGD" else ADAM
        assert line.gamma_0
        train(folder, *(PLAN.long_run(PROBLEM, setting, line.gamma_0, seed) for seed in PLAN.seeds))
    run = PLAN.long_run(PROBLEM, SGD, status.status(folder).lines[0].gamma_0 or 0, 1)
    left = records.RunFolder.of(run, folder / "runs")
    left.append(left.rewind(1)[-1] | {"epoch": 2, "train_loss": None, "diverged": True})
    found = status.status(folder)
    assert [line.epochs for line in found.lines] == [(6, 6), (6, 6)]
    assert [line.diverged for line in found.lines] == [1, 0]
    assert found.summary == "Everything is done."


def test_a_damaged_record_is_named(folder: Path) -> None:
    run = selection(SGD)[0]
    train(folder, run)
    log = folder / "runs" / run.folder / "records.jsonl"
    log.write_text("rubbish\n")
    with pytest.raises(records.RecordError, match=r"records\.jsonl, line 1, is damaged"):
        status.status(folder)


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no plan in"):
        status.status(tmp_path)


def test_the_work_grows_with_the_number_of_runs_and_not_with_its_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted: how often a run is asked for its folder, and how often two are compared."""
    asked = compared = 0
    folder_of, equal = Run.folder.fget, Run.__eq__  # type: ignore[attr-defined]

    def counted(run: Run) -> Path:
        nonlocal asked
        asked += 1
        return Path(folder_of(run))

    def counted_equal(run: Run, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(run, other)

    monkeypatch.setattr(Run, "folder", property(counted))
    monkeypatch.setattr(Run, "__eq__", counted_equal)
    for seeds in (10, 100):
        archive.keep_plan(tmp_path, PLAN.model_copy(update={"seeds": tuple(range(seeds))}))
        asked = 0
        status.status(tmp_path)
        assert asked <= 10 * seeds * len(PLAN.grid) * len(PLAN.settings)
    assert compared == 0


def test_steps_that_occur_twice_are_found_in_a_grid_of_100000() -> None:
    steps = [1e-6 * (i + 1) for i in range(100_000)]
    long = PLAN.model_dump(mode="json") | {"grid": steps}
    assert len(validated(Plan, long).grid) == 100_000
    with pytest.raises(ValueError, match=r"the step in the grid 0\.001 occurs twice"):
        validated(Plan, long | {"grid": [*steps, 0.001]})
