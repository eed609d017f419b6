"""Tasks other than images, trained, killed and resumed; one of the user's own, from the docs."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inna import lab
from inna.lab import plan, records, status, tasks
from inna.lab.plan import Evaluation, PlanError, Problem, Run, validated
from inna.lab.running import training
from inna.lab.running.lookup import looked_up
from short_plan import lasting, until

PAGE = Path(__file__).parents[1] / "docs" / "lab" / "tasks.md"
SMALL: dict[str, dict[str, Any]] = {
    "gpt": {"width": 16, "layers": 1, "heads": 2, "context": 16, "epoch": 6},
    "lstm": {"width": 8, "context": 16, "epoch": 6},
    "regression": {"hidden": 8},
    "classification": {"table": "wine", "hidden": 8},
    "logistic": {},
    "autoencoder": {"code": 2, "hidden": 8},
    "quadratic": {"noise": 0.1, "epoch": 6},
}


def options(name: str, folder: Path) -> dict[str, Any]:
    if name not in ("gpt", "lstm"):
        return SMALL[name]
    text = folder / "text.txt"
    text.write_text("in the beginning was the word, and the word was short. " * 40)
    return SMALL[name] | {"text": str(text)}


def a_run(problem: dict[str, Any], **change: Any) -> Run:
    fields = {"problem": problem, "optimizer": "torch.optim.Adam", "options": {}, "lr": 0.01, "seed": 3}
    rest = {"init": "own", "batch_size": 32, "epochs": 2, "threads": 1, "device": "cpu"}
    return validated(Run, fields | rest | {"evaluate": Evaluation.every_epoch} | change)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_task_trains_and_goes_on_from_the_middle_of_an_epoch(name: str, tmp_path: Path) -> None:
    made = options(name, tmp_path)
    tasks.try_task(name, tasks.make(name, made))
    run = a_run({"task": name, "options": made})
    training.train(run, tmp_path / "straight", tasks.make(name, made))
    straight = records.read(tmp_path / "straight" / "records.jsonl")
    assert [record["epoch"] for record in straight] == [0, 1, 2]
    for field in ("train_loss", "test_loss"):
        assert straight[2][field] < straight[0][field]

    first = training.Trainer(run, tasks.make(name, made))

    def save_at_third_step() -> None:
        if first.batch == 3:
            first.save(tmp_path / "checkpoint.pt")

    first.finish_epoch(after_step=save_at_third_step)
    torch.manual_seed(99)
    resumed = training.Trainer(run, tasks.make(name, made))
    resumed.load(tmp_path / "checkpoint.pt")
    for record in straight[1:]:
        resumed.finish_epoch(after_step=lambda: None)
        again = resumed.record()
        assert {k: v for k, v in again.items() if k not in records.VOLATILE} == {
            k: v for k, v in record.items() if k not in records.VOLATILE
        }


def test_gradient_descent_on_a_quadratic_is_known(tmp_path: Path) -> None:
    made = {"dimension": 5, "smallest": 0.1, "largest": 1.0, "epoch": 7}
    run = a_run({"task": "quadratic", "options": made}, optimizer="torch.optim.SGD", lr=0.5)
    training.train(run, tmp_path, tasks.make("quadratic", made))
    curvatures = np.geomspace(0.1, 1.0, 5)
    for record in records.read(tmp_path / "records.jsonl"):
        exact = 0.5 * np.sum(curvatures * (1 - 0.5 * curvatures) ** (14 * record["epoch"]))
        assert record["train_loss"] == pytest.approx(exact, rel=1e-5)


def test_the_minimum_of_logistic_regression_is_one() -> None:
    task: Any = tasks.make("logistic", {})
    net = task.network().double()
    inputs, targets = task.splits["train"]
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = task.loss(net, (inputs.double(), targets))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert closure().item() == pytest.approx(task.minimum, rel=1e-9)


def test_the_text_is_split_by_position(tmp_path: Path) -> None:
    text = tmp_path / "numbers.txt"
    text.write_bytes(bytes(range(200)))
    task: Any = tasks.make("gpt", {"text": str(text), "context": 8, "epoch": 50})
    trained = torch.cat(list(task.batches(0, 0, 4)))
    assert trained.shape == (200, 9)
    assert trained.max() < 180 <= min(rows.min() for rows in task.held("test"))
    assert (trained[:, 1:] - trained[:, :-1] == 1).all()


def test_options_belong_to_a_run_and_a_text_may_move(tmp_path: Path) -> None:
    def folder(**options: Any) -> Path:
        return a_run({"task": "gpt", "options": options}).folder

    assert folder(width=8) != folder(width=16)
    assert folder(text="/one/text.txt") == folder(text="/other/text.txt") != folder(text="/one/else.txt")
    assert folder(width=8, text="/one/text.txt").parts[0] == "gpt-width_8_text_text.txt"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({}, "no dataset and no network: give a dataset and a network, or a task"),
        ({"dataset": "digits"}, "no network: give a dataset and a network, or a task"),
        ({"task": "gpt", "network": "small"}, "give a task, or a dataset and a network, got the task 'gpt'"),
        (
            {"dataset": "digits", "network": "small", "options": {"x": 1}},
            "options are a task's, got {'x': 1}",
        ),
        ({"task": "gtp"}, r"problems\.0\.task: unknown task 'gtp': choose from gpt, lstm"),
        (
            {"task": "quadratic", "options": {"largest": 0.0}},
            r"problems\.0\.task: quadratic needs 0 < smallest",
        ),
        ({"task": "quadratic", "options": {"lagest": 2.0}}, "does not take these options: .*'lagest'"),
        (
            {"task": "regression", "options": {"table": "wine"}},
            "the table 'wine' has classes: choose another",
        ),
        ({"task": "math.floor"}, "task math.floor.* does not take these options"),
        ({"task": "datetime.date.today"}, "cannot import datetime.date"),
    ],
)
def test_what_is_wrong_with_a_task_is_one_line(problem: dict[str, Any], message: str) -> None:
    content = {
        "name": "wrong",
        "problems": [problem],
        "settings": [{"label": "sgd", "optimizer": "sgd"}],
        "grid": [0.1],
        "epochs": 1,
        "selection_epochs": 0,
        "seeds": [0],
    }
    with pytest.raises(PlanError, match=message) as caught:
        looked_up(validated(plan.Plan, content))
    assert "\n" not in str(caught.value)


class Faulty(tasks.Task):
    """One fault at a time."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def network(self) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)

    def steps(self, batch_size: int) -> int:
        return 0 if self.fault == "steps" else 2

    def batches(self, seed: int, epoch: int, batch_size: int) -> Any:
        return [torch.ones(2, 1)] * (1 if self.fault == "batches" else 2)

    def loss(self, net: torch.nn.Module, batch: Any) -> Any:
        return net(batch) if self.fault == "loss" else net(batch).square().mean()

    def held(self, split: tasks.task.Split) -> Any:
        return [torch.rand(2, 1) if self.fault == "held" else torch.ones(2, 1)]

    def measure(self, net: torch.nn.Module, batch: Any) -> Any:
        return {"quality": torch.ones(())} if self.fault == "measure" else super().measure(net, batch)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("steps", r"task mine fails: steps\(2\) must be at least 1, got 0$"),
        ("loss", "task mine fails: RuntimeError: grad can be implicitly created only for scalar"),
        (
            "held",
            "task mine fails: held gives other data when it is asked again: draw them from a fixed seed",
        ),
        ("measure", "task mine fails: measure must give the loss and what `better` names, got quality$"),
    ],
)
def test_a_task_of_ones_own_is_tried_before_anything_runs(fault: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tasks.try_task("mine", Faulty(fault))


def test_too_few_mini_batches_are_told() -> None:
    trainer = training.Trainer(a_run({"task": "mine.Faulty"}), Faulty("batches"))
    with pytest.raises(ValueError, match=r"epoch 1 of mine\.Faulty has 1 steps, steps\(32\) says 2"):
        trainer.finish_epoch(after_step=lambda: None)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, each named in its first line."""
    folder = tmp_path_factory.mktemp("own task")
    for language, text in re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        first, _, rest = text.partition("\n")
        if language != "sh" and first.startswith("# ") and "." in first:
            (folder / first.removeprefix("# ")).write_text(rest)
    return folder


def test_the_pages_own_task_survives_kill_9_and_is_reported(page: Path) -> None:
    def command(out: str) -> subprocess.Popen[bytes]:
        start = [sys.executable, "-m", "inna", "run", "plan.toml", "--out", out, "--jobs", "1"]
        return subprocess.Popen(
            start, cwd=page, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def finish(process: subprocess.Popen[bytes]) -> str:
        output, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors.decode()
        return output.decode()

    told = finish(command("straight"))
    assert "report.html" in told
    report = (page / "straight" / "report.html").read_text(encoding="utf-8")
    assert "Task <code>" in report
    assert "Data set" not in report
    assert "accuracy" not in told  # these tasks measure none
    assert ">nan" not in report
    killed = command("killed")
    until(lambda: len(list((page / "killed").rglob("records.jsonl"))) >= 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert status.status(page / "killed").summary != "Everything is done."
    finish(command("killed"))
    straight = lasting(page / "straight" / "runs")
    assert lasting(page / "killed" / "runs") == straight
    for run in (run for log, run in straight.items() if "/Adam-" in log and "epochs3" in log):
        assert run[-1]["train_loss"] < run[0]["train_loss"]

    (page / "pendulum.py").rename(page / "elsewhere.py")  # what follows needs no task
    assert status.status(page / "killed").summary == "Everything is done."
    found = lab.report(page / "killed")
    assert set(found.table()["problem"]) == {"pendulum.Pendulum-length_2.0", "quadratic-largest_10.0"}
    rows = lab.table(page / "killed")
    assert {"train_error", "test_error", "problem.task"} <= set(rows.columns)
    assert set(rows["problem"]) == set(found.table()["problem"])


def test_a_task_that_is_named_twice_with_other_options_is_two_problems() -> None:
    one, two = (Problem(task="quadratic", options={"largest": c}) for c in (1.0, 2.0))
    assert one.name != two.name
    assert (one.caption, two.title) == ("quadratic, largest=1.0", "quadratic")
