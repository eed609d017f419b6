"""What a researcher does in a notebook: inna.lab.load, run, compare, report, table, train."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from inna import lab
from inna.lab import archive, protocol, status
from inna.lab.plan import PlanError
from inna.lab.records import RunFolder
from made_records import MadeUp
from short_plan import PLAN

DIGITS: dict[str, Any] = {"dataset": "digits", "network": "small", "train": 60, "test": 20}


@pytest.fixture
def done(tmp_path: Path) -> Path:
    archive.keep_plan(tmp_path, PLAN)
    protocol.reproduce(PLAN, MadeUp(tmp_path / "runs"), [2, 3, 4])
    return tmp_path


def test_optimizers_are_compared_and_the_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = lab.compare(
        ["inna, alpha=0.5, q=0.5", "adam, grid=0.01"],
        **DIGITS,
        out=tmp_path,
        grid=[0.1, 0.2],
        epochs=2,
        seeds=2,
        jobs=2,
        progress=lambda *now: told.append(now),
    )
    table = found.table()
    assert list(table["setting"]) == ["inna alpha=0.5 q=0.5", "adam"]
    assert list(table["seeds"]) == [2, 2]
    assert (table["train_loss_low"] <= table["train_loss_mean"]).all()
    assert found.missing == []
    assert {"report.html", "results.json"} <= {file.name for file in found.files}
    assert len(found.findings()) >= 4
    doings = list(dict.fromkeys(doing for doing, _, _ in told))
    assert doings == ["digits-small: choosing gamma_0", "digits-small: 2 epochs"]
    for doing in doings:
        steps = [(part, total) for what, part, total in told if what == doing]
        assert steps[-1][0] == steps[-1][1]
    records = lab.table(tmp_path)
    logs = [RunFolder.at(path.parent).records() for path in tmp_path.rglob("run.json")]
    assert len(records) == sum(map(len, logs)) >= (4 + 2) * 2 + 4 * 3
    again = lab.run(tmp_path / "plan.toml", tmp_path)  # nothing is left to be run
    assert again.table().equals(table)
    assert lab.table(tmp_path).equals(records)


def test_a_comparison_with_trials_keeps_how_they_are_drawn_and_chosen(tmp_path: Path) -> None:
    kept: dict[str, Any] = {"trials": 2, "sampler": "random", "validation": 0.25}
    found = lab.compare(["adamw"], **DIGITS, out=tmp_path, epochs=1, seeds=1, jobs=1, **kept)
    plan = lab.load(tmp_path / "plan.toml")
    assert {key: getattr(plan, key) for key in kept} == kept
    assert plan.lead == found.results[0].lead == "test_loss"


def test_a_report_gives_data_frames_arrays_figures_and_sentences(done: Path) -> None:
    found = lab.report(done)
    table = found.table().set_index("setting")
    assert list(table.index) == ["INNA", "ADAM", "INNA, k^-1/4"]
    (result,) = found.results
    for name, curve in result.named:
        losses = curve.series("train_loss")
        assert losses.shape == (len(PLAN.seeds), PLAN.epochs + 1)
        assert table.loc[name, "train_loss_mean"] == losses[:, -1].mean()
        assert table.loc[name, "gamma_0"] == curve.lr == 0.1
    drawn = found.figures()
    assert list(drawn)[:3] == ["figure2", "figure3", "figure4"]
    assert all(isinstance(figure, Figure) for figure in drawn.values())
    assert found.findings()[0].startswith("The lowest training loss (")
    records = lab.table(done)
    last = records[(records["epoch"] == PLAN.epochs) & (records["setting"] == "ADAM")]
    np.testing.assert_array_equal(
        np.sort(last["train_loss"]), np.sort(result.curves[1].series("train_loss")[:, -1])
    )


def test_a_report_of_an_unfinished_plan_says_what_is_missing(tmp_path: Path) -> None:
    archive.keep_plan(tmp_path, PLAN)
    found = lab.report(str(tmp_path))
    assert len(found.missing) == 6
    assert found.findings()[0].startswith("digits-small is not at its end.")
    assert found.table()["gamma_0"].isna().all()


def test_what_is_not_sound_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"figures must be some of 1, 2, 3, 4, got \[5\]"):
        lab.run("quick", tmp_path / "a", figures=[5])
    with pytest.raises(PlanError, match="unknown preset 'slow'"):
        lab.run("slow", tmp_path / "a")
    with pytest.raises(PlanError, match=r"settings\.0\.optimizer: unknown optimizer 'lion'"):
        lab.compare(["lion"], **DIGITS, out=tmp_path / "a")
    with pytest.raises(ValueError, match="device 'tpu9' is not to be had"):
        lab.compare(["sgd"], **DIGITS, out=tmp_path / "a", device="tpu9")
    with pytest.raises(FileNotFoundError, match="no plan in"):
        lab.report(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="no records in"):
        lab.table(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_as_data_is_run_as_well_and_figure_1_with_it(tmp_path: Path) -> None:
    few = PLAN.model_copy(update={"epochs": 1, "batch_size": 100, "seeds": (0,), "decays": ()})
    found = lab.run(few, str(tmp_path), figures=[1, 2], jobs=1)
    assert [file.name for file in found.files][:3] == ["figure1.png", "figure1.svg", "figure1.csv"]
    assert list(found.table()["setting"]) == ["INNA"]
    assert archive.read_plan(tmp_path) == found.plan


def test_one_run_alone(tmp_path: Path) -> None:
    run = PLAN.long_run(PLAN.problems[0], PLAN.settings[0], 0.1, 0).model_copy(
        update={"batch_size": 100, "epochs": 2}
    )
    told: list[int] = []
    records = lab.train(run, tmp_path, progress=lambda doing, done, total: told.append(done))
    assert told == [1, 2]
    assert records == RunFolder.of(run, tmp_path / "runs").records()
    assert [record["epoch"] for record in records] == [0, 1, 2]
    only = r"no plan in .*, but 1 single run of `inna train`: `inna export .*` writes"
    for look in (lab.report, status.status):
        with pytest.raises(FileNotFoundError, match=only):
            look(tmp_path)
    assert len(lab.table(tmp_path)) == 3
