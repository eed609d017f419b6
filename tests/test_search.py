"""Trials drawn from a declared space: the same for whoever asks, as many for each, test data unseen."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from inna import lab
from inna.hyperparameters import from_adamw, from_memory
from inna.lab import archive, comparing, protocol, search
from inna.lab.plan import Plan, PlanError, Range, Run, load, validated
from inna.lab.records import Record
from inna.lab.results import judgement
from inna.lab.results.findings import declared, findings
from inna.lab.running import optimizers
from inna.lab.running.workers import Workers
from inna.lab.spaces import SPACES
from inna.lab.status import status
from inna.torch import INNA, INNAprop

SPACE = {
    "lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "weight_decay": {"choices": [0, 0.1]},
    "clip_norm": {"low": 0.5, "high": 2.0},
}
CONTENT: dict[str, Any] = {
    "name": "searched",
    "epochs": 2,
    "selection_epochs": 1,
    "trials": 6,
    "validation": 0.25,
    "selection_seeds": [7],
    "seeds": [0, 1],
    "problems": [{"dataset": "digits", "network": "small", "train": 80, "test": 20}],
    "settings": [
        {"label": "AdamW", "optimizer": "torch.optim.AdamW", "space": SPACE},
        {"label": "SGD", "optimizer": "torch.optim.SGD", "space": {"lr": SPACE["lr"]}},
    ],
}
SAMPLERS = ["quasi-random", "random", "tpe"]
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


def plan(**change: Any) -> Plan:
    return validated(Plan, CONTENT | change)


class Bowl:
    """A runner whose losses are known at once: least at lr = 0.01 without decay."""

    root = Path("nowhere")

    def __init__(self, complete: int = 10**6) -> None:
        self.done: list[Run] = []
        self.complete = complete

    def execute(self, runs: list[Run], description: str) -> None:
        self.done += [run for run in runs if run not in self.done][: self.complete - len(self.done)]

    def records(self, run: Run) -> list[Record]:
        if run not in self.done:
            return []
        loss = math.log10(run.lr / 0.01) ** 2 + float(run.options.get("weight_decay", 0))  # type: ignore[arg-type]
        record = {"diverged": False, "train_loss": loss, "validation_loss": loss + 1}
        record |= {"test_loss": 2 * loss + 1, "test_accuracy": 0.5}
        return [{**record, "epoch": epoch} for epoch in range(run.epochs + 1)]


def tried(found: Plan, runner: Any) -> list[list[tuple[float, dict[str, Any], float]]]:
    (result,) = protocol.reproduce(found, runner, (2, 3))
    return [[(p.lr, p.values, p.mean) for p in curve.grid] for curve in result.curves]


@each_sampler
def test_the_same_plan_draws_the_same_trials(sampler: str) -> None:
    first, again = (tried(plan(sampler=sampler), Bowl()) for _ in range(2))
    assert first == again
    other = tried(plan(sampler=sampler, search_seed=1), Bowl())
    assert other != first
    assert [len(trials) for trials in first] == [6, 6]
    for lr, values, _ in first[0]:
        assert 1e-4 <= lr <= 1e-1
        assert values["weight_decay"] in (0, 0.1)
        assert 0.5 <= values["clip_norm"] <= 2
    assert first[1][0][1] == {}


@each_sampler
def test_a_search_cut_short_anywhere_draws_the_same_when_it_goes_on(sampler: str) -> None:
    whole = tried(plan(sampler=sampler), Bowl())
    for complete in range(0, 12, 3):
        runner = Bowl(complete)
        for grid, all_of_it in zip(tried(plan(sampler=sampler), runner), whole, strict=True):
            for trial, same in zip(grid, all_of_it, strict=False):
                assert trial[:2] == same[:2]
        runner.complete = 10**6
        assert tried(plan(sampler=sampler), runner) == whole


def test_the_best_trial_is_trained_for_long_with_all_that_was_drawn() -> None:
    runner = Bowl()
    (result,) = protocol.reproduce(plan(), runner, (2, 3))
    curve = result.curves[0]
    best = min(curve.grid, key=lambda point: point.mean)
    long = [run for run in runner.done if run.epochs == 2 and "AdamW" in run.optimizer]
    assert {run.seed for run in long} == {0, 1}
    for run in long:
        assert (run.lr, run.options["weight_decay"], run.clip_norm) == (
            best.lr,
            best.values["weight_decay"],
            best.values["clip_norm"],
        )
    assert curve.setting.options == {"weight_decay": best.values["weight_decay"]}
    assert {run.seed for run in runner.done if run.epochs == 1} == {7}


def test_the_criterion_is_the_validation_loss_where_there_is_one() -> None:
    def losses(found: Plan) -> list[float]:
        return [loss for _, _, loss in tried(found, Bowl())[0]]

    assert losses(plan()) == pytest.approx([1 + loss for loss in losses(plan(validation=0.0))])


def test_tpe_looks_where_losses_were_low() -> None:
    space = {"lr": Range(low=1e-4, high=1.0, log=True)}
    many = plan(trials=40, sampler="tpe")
    study, found = search.start(many, space), []
    while asked := study.ask():
        study.tell([abs(math.log10(values["lr"] / 0.01)) for values in asked])
        found += [abs(math.log10(values["lr"] / 0.01)) for values in asked]
    assert sorted(found[20:])[10] < 0.7 * sorted(found[:20])[10]


def test_quasi_random_points_fill_the_space_more_evenly() -> None:
    space = {"lr": Range(low=0.0, high=1.0)}
    found = [values["lr"] for values in search.start(plan(trials=16), space).ask()]
    assert {int(16 * x) for x in found} == set(range(16))  # one in each sixteenth


def test_whole_numbers_are_drawn_alike_with_their_ends() -> None:
    space = {"n": Range(low=1, high=4)}
    found = [search.at(space, [x / 100])["n"] for x in range(100)]
    assert [found.count(n) for n in (1, 2, 3, 4)] == [25, 25, 25, 25]
    assert all(isinstance(n, int) for n in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "'AdamW' has a space: say how many trials"),
        (
            {"settings": [{"label": "x", "optimizer": "torch.optim.Rprop"}]},
            "with trials = 6 all get as many, and none is known of torch.optim.Rprop: give 'x' a space",
        ),
        ({"selection_epochs": 0}, "trials need selection_epochs above 0"),
        ({"validation": 1.0}, "validation: Input should be less than 1, got 1.0"),
        ({"sampler": "grid"}, "sampler: Input should be 'quasi-random', 'random' or 'tpe', got 'grid'"),
        ({"selection_seeds": [1, 1]}, "the selection seed 1 occurs twice"),
    ],
)
def test_a_plan_that_searches_is_sound(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(**change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"alpha": {"low": 1, "high": 2}}, "a space has lr, got alpha"),
        ({"lr": {"low": 2, "high": 1}}, "lr: give low below high, or choices; got low = 2, high = 1"),
        ({"lr": {}}, "lr: give low below high, or choices; got low = 0, high = 0"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "lr: log needs low above 0, got 0"),
        ({"lr": {"low": 1, "choices": [1, 2]}}, "lr: give choices, or low and high, got both"),
        ({"lr": SPACE["lr"], "eps": SPACE["lr"]}, "eps is given, and in the space as well: give one"),
        ({"lr": SPACE["lr"], "q": SPACE["lr"]}, "q is given, and in the space as well: give one"),
    ],
)
def test_a_space_is_sound(space: dict[str, Any], message: str) -> None:
    setting = {"label": "x", "optimizer": "adam", "options": {"eps": 1e-7}, "q": 0.5, "space": space}
    with pytest.raises(PlanError) as caught:
        plan(settings=[setting])
    assert message in str(caught.value)


def test_a_setting_without_a_space_gets_the_known_one_but_for_its_own_options() -> None:
    tuned = plan(
        settings=[
            {"label": "AdamW", "optimizer": "torch.optim.AdamW", "options": {"betas": [0.9, 0.95]}},
            {"label": "INNA", "optimizer": "inna.torch.INNA", "options": {"alpha": 0.5}},
            {"label": "INNAprop", "optimizer": "inna.torch.INNAprop", "space": {"lr": {"choices": [0.01]}}},
        ]
    )
    assert [list(setting.space) for setting in tuned.settings] == [["lr", "weight_decay"], ["lr"], ["lr"]]


def test_a_plan_and_its_search_survive_being_written(tmp_path: Path) -> None:
    found = plan(sampler="tpe")
    archive.keep_plan(tmp_path, found)
    assert archive.read_plan(tmp_path) == found
    (tmp_path / "plan.toml").write_text(comparing.toml(found))
    assert load(str(tmp_path / "plan.toml")).model_copy(update={"modules": ()}) == found


def test_a_comparison_takes_ranges_tasks_and_trials() -> None:
    found = comparing.plan(
        ["adamw, weight_decay=0|0.1", "inna, lr=0.01..1, alpha=0.1..1"],
        task="gpt, width=64",
        grid="1e-4 1e-1",
        trials=3,
        epochs=1,
        selection_epochs=1,
        seeds=[0],
    )
    assert (found.problems[0].task, found.problems[0].options) == ("gpt", {"width": 64})
    adamw, inna = (setting.space for setting in found.settings)
    assert adamw["weight_decay"] == Range(choices=(0, 0.1))
    assert (adamw["lr"].low, adamw["lr"].high) == (1e-4, 3e-2)
    assert (0.9, 0.999) in adamw["betas"].choices
    assert inna == {
        "lr": Range(low=0.01, high=1, log=True),
        "alpha": Range(low=0.1, high=1, log=True),
    }
    assert found.settings[0].label == "adamw"


LIBRARIES = {
    "lion": "pytorch_optimizer.Lion",
    "ademamix": "pytorch_optimizer.AdEMAMix",
    "prodigy": "pytorch_optimizer.Prodigy",
    "schedulefreeadamw": "pytorch_optimizer.ScheduleFreeAdamW",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree",
}


@pytest.mark.parametrize("name", [LIBRARIES.get(name, name) for name in SPACES])
def test_each_known_space_is_sound_and_its_optimizer_takes_what_is_drawn(name: str) -> None:
    made = comparing.plan(
        [name], task="autoencoder", grid="0.1", trials=8, epochs=1, selection_epochs=1, seeds=[0]
    )
    for values in search.start(made, made.settings[0].space).ask():
        lr = values.pop("lr")
        net = nn.Linear(3, 2)
        optimizers.check_resumes(name, net, lr, values)
        assert all(p.isfinite().all() for p in net.parameters())


def test_an_optimizer_without_a_known_space_is_drawn_between_the_ends_of_the_grid() -> None:
    grid = [0.1, 1.0, 0.01]
    made = comparing.plan(
        ["adadelta"], task="autoencoder", grid=grid, trials=2, epochs=1, selection_epochs=1, seeds=[0]
    )
    assert made.settings[0].space == {"lr": Range(low=0.01, high=1.0, log=True)}


@pytest.mark.parametrize(("cls", "name"), [(INNA, "inna"), (INNAprop, "innaprop")])
def test_memory_and_direct_share_give_the_optimizer_of_the_translators(cls: Any, name: str) -> None:
    def end(optimizer: Any, param: torch.Tensor) -> torch.Tensor:
        for k in range(5):
            param.grad = torch.linspace(-1, 1, 4) + 0.1 * k
            optimizer.step()
        return param

    if cls is INNA:
        settings: dict[str, Any] = {**from_memory(0.3, 10.0, 0.3)}
        options: dict[str, Any] = {"memory": 10.0, "direct": 0.3}
    else:
        settings = {**from_adamw(0.3, (0.9, 0.99), 0.1, direct=0.3)}
        options = {"memory": 10.0, "direct": 0.3, "sigma": 0.99, "weight_decay": 0.1}
    ours, theirs = torch.ones(4), torch.ones(4)
    torch.testing.assert_close(
        end(optimizers.build(name, [ours], 0.3, options), ours), end(cls([theirs], **settings), theirs)
    )
    with pytest.raises(ValueError, match="give memory and direct, or alpha and beta, got memory, alpha"):
        optimizers.build(name, [ours], 0.3, {"memory": 10.0, "alpha": 1.0})


def test_a_search_runs_is_reported_and_goes_on(tmp_path: Path) -> None:
    found = lab.run(plan(trials=3), tmp_path, jobs=1, figures=[2, 3])
    described = [json.loads(path.read_text()) for path in tmp_path.glob("runs/**/run.json")]
    short = [each["run"] for each in described if each["run"]["epochs"] == 1]
    assert {run["evaluate"] for run in short} == {"validation loss at the end"}
    assert len(short) == 6
    page = (tmp_path / "report.html").read_text()
    assert "The search: every trial" in page
    assert "Loss against the tuning budget" in page
    assert lab.report(tmp_path).table().equals(found.table())
    lost = next(path.parent for path in tmp_path.glob("runs/**/records.jsonl") if "epochs1" in str(path))
    shutil.rmtree(lost)
    again = lab.run(plan(trials=3), tmp_path, jobs=1, figures=[2, 3])
    assert again.table().equals(found.table())
    assert lost.exists()


def test_validation_images_are_not_trained_on_and_test_images_not_looked_at(tmp_path: Path) -> None:
    from inna.lab import data
    from inna.lab.running.images import Images

    found = plan()
    images = data.load("digits", train=80, test=20)
    short = Images(found.selection_run(found.problems[0], found.settings[1], 0.1, 7), images)
    long = Images(found.long_run(found.problems[0], found.settings[1], 0.1, 0), images)
    assert {name: len(rows) for name, (rows, _) in short.sets.items()} == {"train": 60, "validation": 20}
    assert {name: len(rows) for name, (rows, _) in long.sets.items()} == {"train": 60, "test": 20}
    both = [tuple(row.tolist()) for name in ("train", "validation") for row in short.sets[name][0]]
    whole = [tuple(row) for row in images.x_train.reshape(80, -1).tolist()]
    assert sorted(both) == sorted(whole)


@pytest.mark.parametrize("name", ["regression", "classification", "logistic", "autoencoder"])
def test_a_table_holds_out_rows_for_validation(name: str) -> None:
    from inna.lab import tasks

    task: Any = tasks.make(name, {})
    held = task.hold_out(0.25)
    rows = [len(part.splits["train"][0]) for part in (task, held)]
    assert len(held.splits["validation"][0]) == rows[0] - rows[1] == round(rows[0] / 4)
    assert held.evaluate(held.network(), "validation")["loss"] > 0
    with pytest.raises(ValueError, match=r"validation = 0\.0001 of \d+ rows leaves a part empty"):
        task.hold_out(1e-4)


def test_a_text_holds_out_its_end_for_validation(tmp_path: Path) -> None:
    from inna.lab import tasks

    (tmp_path / "text.txt").write_bytes(bytes(range(100)) * 10)
    task: Any = tasks.make("lstm", {"text": str(tmp_path / "text.txt"), "context": 8, "width": 4})
    held = task.hold_out(0.5)
    assert [len(held.splits[part]) for part in ("train", "validation", "test")] == [450, 450, 100]
    with pytest.raises(ValueError, match="leaves a part without two rows"):
        task.hold_out(0.001)


def test_a_task_that_cannot_hold_out_says_so_before_anything_runs(tmp_path: Path) -> None:
    problem = {"task": "quadratic", "options": {"epoch": 2}}
    with pytest.raises(PlanError, match=r"problems\.0\.task: .*Quadratic has no hold_out\(share\)"):
        lab.run(plan(problems=[problem]), tmp_path, jobs=1)
    assert not list(tmp_path.glob("runs/**/records.jsonl"))


def test_the_report_says_when_the_best_lies_on_the_edge_and_tpe_shows_no_budget() -> None:
    narrow = {"lr": {"low": 0.02, "high": 1.0, "log": True}}
    settings = [{"label": "SGD", "optimizer": "torch.optim.SGD", "space": narrow}]
    found = plan(settings=settings, trials=40)
    (result,) = protocol.reproduce(found, Bowl(), (2, 3))
    assert judgement.sensitivity(result.curves[0]) is not None  # a grid of steps, unevenly
    assert any(
        "on the edge of its space, so a wider one might do better: SGD: lr = 0.02" in s
        for s in findings(found, result)
    )
    assert judgement.tuned(found, result, result.curves[0]) is not None
    assert judgement.tuned(found.model_copy(update={"sampler": "tpe"}), result, result.curves[0]) is None


def test_status_counts_the_trials_that_are_still_to_be_drawn(tmp_path: Path) -> None:
    found = plan(sampler="tpe")
    with Workers(tmp_path / "runs", jobs=1) as workers:
        first = search.start(found, found.settings[0].space).ask()[0]
        setting = found.settings[0].at({k: v for k, v in first.items() if k != "lr"})
        workers.execute([found.selection_run(found.problems[0], setting, first["lr"], 7)], "one")
    archive.keep_plan(tmp_path, found)
    lines = status(tmp_path).lines
    assert lines[0].selection == (1, 6)
    assert lines[1].selection == (0, 6)


def test_halving_lets_the_best_trials_go_on_and_chooses_among_those_at_the_end() -> None:
    halved = plan(trials=12, selection_epochs=9, halving=3, epochs=10)
    assert halved.rungs == [(1, 12), (3, 4), (9, 2)]
    runner = Bowl()
    (result,) = protocol.reproduce(halved, runner, (2, 3))
    whole = tried(plan(trials=12, selection_epochs=9, epochs=10), Bowl())
    for curve, all_of_it in zip(result.curves, whole, strict=True):
        order = sorted(all_of_it, key=lambda trial: trial[2])
        by_epochs = {e: [p.lr for p in curve.grid if p.stopped == e] for e in (1, 3, 0)}
        assert {e: sorted(lrs) for e, lrs in by_epochs.items()} == {
            1: sorted(lr for lr, _, _ in order[4:]),
            3: sorted(lr for lr, _, _ in order[2:4]),
            0: sorted(lr for lr, _, _ in order[:2]),
        }
        assert curve.lr == order[0][0]
        assert judgement.tuned(halved, result, curve) is None
    counts = [sum(run.epochs == epochs for run in runner.done) for epochs in (1, 3, 9, 10)]
    assert counts == [2 * 12, 2 * 4, 2 * 2, 2 * 2]


def test_halving_cut_short_anywhere_goes_on_to_the_same_end() -> None:
    halved = plan(trials=9, selection_epochs=4, halving=2, epochs=5, sampler="random")
    assert halved.rungs == [(1, 9), (2, 5), (4, 3)]
    whole = tried(halved, Bowl())
    for complete in range(0, 40, 3):
        runner = Bowl(complete)
        (result,) = protocol.reproduce(halved, runner, (2, 3))
        for curve in result.curves:
            assert len(curve.grid) == 9
            assert (curve.lr is None) == any(point.missing for point in curve.grid)
        runner.complete = 10**6
        assert tried(halved, runner) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"halving": 3, "selection_epochs": 2},
            "halving lies between 2 and both trials = 6 and .* = 2, got 3",
        ),
        ({"halving": 1}, "got 1"),
        ({"halving": 7, "selection_epochs": 9}, "got 7"),
        ({"halving": 2, "selection_epochs": 4, "sampler": "tpe"}, "needs trials that do not depend on each"),
        ({"halving": -1}, "halving: .*got -1"),
    ],
)
def test_halving_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan(**change)


def test_a_halved_search_runs_and_its_report_says_who_was_stopped(tmp_path: Path) -> None:
    halved = plan(trials=4, selection_epochs=2, halving=2, epochs=2)
    found = lab.run(halved, tmp_path, jobs=1)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("stopped after 1<") == 2 * 2
    assert "by successive halving ran 4 for 1, 2 for 2 epochs" in text
    assert status(tmp_path).summary == "Everything is done."
    assert [sum(not p.stopped for p in curve.grid) for curve in found.results[0].curves] == [2, 2]


def test_a_search_over_steps_alone_is_on_the_edge_of_its_space_not_of_what_was_drawn() -> None:
    settings = [
        {"label": "SGD", "optimizer": "sgd", "space": {"lr": {"low": 1e-5, "high": 10.0, "log": True}}}
    ]
    (result,) = protocol.reproduce(plan(settings=settings, trials=3), Bowl(), (2, 3))
    assert not any("edge" in said for said in findings(plan(settings=settings, trials=3), result))


class Hopeless(Bowl):
    """All runs of SGD diverge."""

    def records(self, run: Run) -> list[Record]:
        found = super().records(run)
        if "SGD" in run.optimizer and found:
            lost = dict.fromkeys(("train_loss", "validation_loss", "test_loss", "test_accuracy"))
            return [found[0], {**found[1], **lost, "diverged": True}]
        return found


def test_an_optimizer_of_which_every_trial_diverged_is_named() -> None:
    (result,) = protocol.reproduce(plan(), Hopeless(), (2, 3))
    said = findings(plan(), result)
    assert "Every trial of SGD diverged: it was not trained for long." in said
    assert not any("SGD 1" in sentence for sentence in said if sentence.startswith("What tuning gave"))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"lr": {"low": -0.1, "high": 0.1}},
            r"settings\.0: space\.lr: Input should be greater than 0, got -0\.1",
        ),
        ({"lr": {"low": 0, "high": 1}}, r"space\.lr: Input should be greater than 0, got 0"),
        ({"lr": {"choices": [0.1, "a"]}}, r"space\.lr: .*got 'a'"),
        ({"lr": SPACE["lr"], "batch_size": {"low": 0, "high": 8}}, r"space\.batch_size: .*greater .*got 0"),
        (
            {"lr": SPACE["lr"], "ema": {"choices": [0.9, 1.0]}},
            r"space\.ema: Input should be less than 1, got 1",
        ),
    ],
)
def test_a_space_draws_only_what_its_fields_take(space: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan(settings=[{"label": "SGD", "optimizer": "sgd", "space": space}])


def test_a_grid_beside_trials_is_refused() -> None:
    with pytest.raises(PlanError, match=r"with trials = 6 steps are drawn: leave out grid = \[0\.1\]"):
        plan(grid=[0.1])
    setting = {"label": "SGD", "optimizer": "sgd", "space": {"lr": SPACE["lr"]}, "grid": [0.1]}
    with pytest.raises(PlanError, match=r"give a grid or a space, got \[0\.1\] and a space"):
        plan(settings=[setting])
    made = comparing.plan(
        ["adadelta, grid=0.5 2"],
        task="autoencoder",
        grid=[0.1],
        trials=2,
        epochs=1,
        selection_epochs=1,
        seeds=[0],
    )
    assert made.settings[0].space == {"lr": Range(low=0.5, high=2.0, log=True)}


def test_labels_of_the_export_are_the_plans_also_where_two_settings_share_a_class(tmp_path: Path) -> None:
    space = {"lr": SPACE["lr"], "weight_decay": {"low": 0.01, "high": 0.1}}
    settings = [
        {"label": "plain", "optimizer": "torch.optim.AdamW", "space": {"lr": SPACE["lr"]}},
        {"label": "decayed", "optimizer": "torch.optim.AdamW", "space": space},
    ]
    two = plan(settings=settings, trials=2, selection_epochs=2, halving=2)
    lab.run(two, tmp_path, jobs=1)
    table = lab.table(tmp_path)
    assert set(zip(table["setting"], table["options.weight_decay"].notna(), strict=True)) == {
        ("plain", False),
        ("decayed", True),
    }
    choosing = table[table["evaluate"] != "every epoch"]
    assert choosing["test_loss"].isna().all()
    last = choosing[choosing["epoch"] == choosing["epochs"]]
    assert last["validation_loss"].notna().all()


SPLITS = """
import torch
from inna.lab.tasks import Task


class Line(Task):
    def __init__(self, fault=""):
        self.fault, self.rows = fault, torch.linspace(-1, 1, 20)[:, None]

    def network(self):
        return torch.nn.Linear(1, 1)

    def steps(self, batch_size):
        return 2

    def batches(self, seed, epoch, batch_size):
        return torch.split(self.rows, 10)

    def loss(self, net, x):
        return (net(x) - x).square().mean()

    def held(self, split):
        if self.fault == "none" and split == "validation":
            raise KeyError(split)
        if split == "validation" and self.fault != "test":
            return [self.rows[:3] + 0.5]
        return [self.rows if split == "train" else self.rows + 0.1]

    def hold_out(self, share):
        return {"itself": self, "nothing": None}.get(self.fault, Line(self.fault))
"""


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("itself", "hold_out of lines.Line must give a changed copy of the task, got Line"),
        ("nothing", "hold_out of lines.Line must give a changed copy of the task, got NoneType"),
        ("none", r"held\('validation'\) of lines.Line fails: KeyError: 'validation'"),
        ("test", r"held\('validation'\) of lines.Line gives the test data"),
        ("", ""),
    ],
)
def test_a_task_that_holds_out_wrongly_is_refused_before_anything_runs(
    fault: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lines.py").write_text(SPLITS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = plan(problems=[{"task": "lines.Line", "options": {"fault": fault}}], modules=[str(tmp_path)])
    if said:
        with pytest.raises(PlanError, match=said):
            lab.run(made, tmp_path / "out", jobs=1)
        assert not (tmp_path / "out").exists()
    else:
        assert lab.run(made, tmp_path / "out", jobs=1).missing == []


def test_a_hypothesis_that_comes_after_runs_says_so_and_one_that_goes_is_named(tmp_path: Path) -> None:
    lab.run(plan(trials=2), tmp_path, jobs=1)
    late = plan(trials=2, hypotheses=[{"ahead": "AdamW", "of": "SGD"}])
    found = lab.run(late, tmp_path, jobs=1)
    claim = "AdamW is ahead of SGD in test loss"
    assert any(
        said.startswith(f"Declared when 4 long runs were done: {claim} on") for said in found.findings()
    )
    said = lab.run(plan(trials=2), tmp_path, jobs=1).findings()
    assert f"Declared once, and withdrawn since: {claim}." in said
    again = lab.run(late, tmp_path, jobs=1).findings()
    assert any(said.startswith("Declared when 4 long runs were done") for said in again)
    (tmp_path / "declared.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"declared\.json is damaged"):
        lab.run(late, tmp_path, jobs=1)


def test_a_hypothesis_on_what_nothing_measures_is_not_tested() -> None:
    claims = [{"ahead": "AdamW", "of": "SGD", "field": field} for field in ("test_loss", "test_accuracy")]
    made = plan(hypotheses=claims)

    class Silent(Bowl):
        def records(self, run: Run) -> list[Record]:
            return [record | {"test_accuracy": None} for record in super().records(run)]

    results = protocol.reproduce(made, Silent(), (2, 3))
    said = declared(made, results)
    assert said[0].endswith("not tested, as nothing there has a test accuracy.")
    assert "Holm" not in said[1]
    with pytest.raises(PlanError, match="the hypothesis 'AdamW ahead of SGD, test_loss' occurs twice"):
        plan(hypotheses=[claims[0], claims[0]])
