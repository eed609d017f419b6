"""What training has besides the optimizer: clipping, accumulation, averages, and the like."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, pad

from inna import lab
from inna.lab import comparing, data, records
from inna.lab.plan import Plan, PlanError, Run, load, validated
from inna.lab.results import paper
from inna.lab.running import training
from inna.lab.running.images import Images

DIGITS = data.load("digits", train=96, test=40)
SGD = {"optimizer": "torch.optim.SGD", "options": {}, "q": 0.0}


def a_run(**change: Any) -> Run:
    defaults: dict[str, Any] = {
        "problem": {"dataset": "digits", "network": "small", "train": 96, "test": 40},
        "optimizer": "inna.torch.INNA",
        "options": {"alpha": 0.5, "beta": 0.5},
        "lr": 0.2,
        "init": "glorot_normal",
        "batch_size": 20,
        "epochs": 2,
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "evaluate": "every epoch",
    }
    return validated(Run, defaults | change)


def trained(run: Run, folder: Path) -> list[dict[str, Any]]:
    training.train(run, folder, DIGITS)
    found = records.read(folder / "records.jsonl")
    return [{k: v for k, v in record.items() if k not in records.VOLATILE} for record in found]


def after(steps: int, **change: Any) -> tuple[training.Trainer, list[torch.Tensor]]:
    """A trainer after so many steps from the start, and how far each parameter has moved."""
    trainer = training.Trainer(a_run(epoch_steps=steps, **change), DIGITS)
    before = [p.detach().clone() for p in trainer.net.parameters()]
    trainer.finish_epoch(after_step=lambda: None)
    return trainer, [p.detach() - old for p, old in zip(trainer.net.parameters(), before, strict=True)]


def test_a_step_of_many_mini_batches_is_that_of_their_rows_together(tmp_path: Path) -> None:
    """The last step of an epoch has 16 rows: three mini-batches of 5, and one of 1."""
    whole = trained(a_run(), tmp_path / "whole")
    parts = trained(a_run(batch_size=5, accumulate=4), tmp_path / "parts")
    for one, other in zip(whole, parts, strict=True):
        assert one["lr"] == other["lr"]
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    assert parts[-1]["train_loss_running"] == pytest.approx(whole[-1]["train_loss_running"], rel=1e-4)


def test_gradients_are_cut_to_a_norm_or_to_a_value() -> None:
    _, free = after(1, **SGD)
    norm = torch.cat([move.flatten() for move in free]).norm().item() / 0.2
    largest = max(move.abs().max().item() for move in free) / 0.2
    _, unchanged = after(1, clip_norm=2 * norm, clip_value=2 * largest, **SGD)
    assert all(map(torch.equal, unchanged, free))
    _, short = after(1, clip_norm=0.5 * norm, **SGD)
    for ours, theirs in zip(short, free, strict=True):
        torch.testing.assert_close(ours, 0.5 * theirs, rtol=1e-3, atol=1e-6)
    _, cut = after(1, clip_value=0.5 * largest, **SGD)
    for ours, theirs in zip(cut, free, strict=True):
        bound = 0.5 * largest * 0.2
        torch.testing.assert_close(ours, theirs.clamp(-bound, bound), rtol=1e-3, atol=1e-6)


def test_weight_decay_can_spare_biases() -> None:
    decay = {"optimizer": "torch.optim.SGD", "options": {"weight_decay": 0.5, "momentum": 0.1}, "init": "own"}
    trainer, matrices = after(1, weight_decay_on="matrices", **decay)
    _, everything = after(1, **decay)
    _, nothing = after(1, **decay | {"options": {"momentum": 0.1}})
    for name, ours, all_, none in zip(
        dict(trainer.net.named_parameters()), matrices, everything, nothing, strict=True
    ):
        assert not torch.equal(all_, none)
        assert torch.equal(ours, none if name.endswith("bias") else all_)


def test_averaged_weights_are_evaluated() -> None:
    steps = [after(count)[0].net.state_dict() for count in (1, 2, 3)]
    trainer, _ = after(3, ema=0.75)
    assert trainer.average is not None
    for name, value in trainer.average.module.state_dict().items():
        one, two, three = (state[name] for state in steps)
        torch.testing.assert_close(value, 0.75 * (0.75 * one + 0.25 * two) + 0.25 * three)
    assert isinstance(trainer.task, Images)
    rows, labels = trainer.task.train_set
    with torch.no_grad():
        averaged = cross_entropy(trainer.average.module.eval()(trainer.task.images(rows)), labels)
        present = cross_entropy(trainer.net.eval()(trainer.task.images(rows)), labels)
    assert trainer.record()["train_loss"] == pytest.approx(averaged.item(), rel=1e-5)
    assert abs(averaged - present) > 1e-3


def test_an_epoch_of_a_number_of_steps_goes_through_the_data_as_before(tmp_path: Path) -> None:
    passes = trained(a_run(epochs=7), tmp_path / "passes")
    counted = trained(a_run(epochs=5, epoch_steps=7), tmp_path / "counted")  # a pass is 5 steps
    assert len(counted) == 6
    for key in ("train_loss", "test_loss", "lr"):
        assert counted[-1][key] == passes[-1][key]


def test_bfloat16_is_for_training_alone() -> None:
    trainer, moves = after(1, precision="bfloat16", **SGD)
    _, exact = after(1, **SGD)
    assert {p.dtype for p in trainer.net.parameters()} == {torch.float32}
    assert not all(map(torch.equal, moves, exact))
    ours, theirs = (torch.cat([move.flatten() for move in moved]) for moved in (moves, exact))
    assert (ours - theirs).norm() < 0.1 * theirs.norm()
    other, _ = after(1, **SGD)
    assert trainer.record()["train_loss"] == pytest.approx(other.record()["train_loss"], rel=1e-2)


def test_labels_are_smoothed_in_training_alone() -> None:
    smooth, _ = after(1, label_smoothing=0.3, lr=1e-20, **SGD)
    plain, _ = after(1, lr=1e-20, **SGD)
    assert isinstance(smooth.task, Images)
    rows, labels = smooth.task.train_set
    batch = next(iter(smooth.task.batches(0, 0, 20)))
    output = smooth.net(smooth.task.images(rows[batch]))
    expected = 0.7 * cross_entropy(output, labels[batch]) - 0.3 * output.log_softmax(1).mean()
    ours, theirs = smooth.record(), plain.record()
    assert ours["train_loss_running"] == pytest.approx(expected.item(), rel=1e-5)
    assert ours["train_loss"] == theirs["train_loss"]
    with pytest.raises(PlanError, match=r"label_smoothing is of the cross_entropy .*, got 0\.3 with a task"):
        a_run(problem={"task": "quadratic"}, label_smoothing=0.3)
    with pytest.raises(PlanError, match=r"got 0\.3 with the loss clipped_cross_entropy"):
        a_run(loss="clipped_cross_entropy", label_smoothing=0.3)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_images_are_mirrored_and_moved_in_training_alone(layout: torch.memory_format) -> None:
    task = Images(a_run(flip=True, crop=2), DIGITS)
    task.layout = layout
    _, height, width = task.shape
    torch.manual_seed(0)
    x = torch.rand(200, *task.shape).contiguous(memory_format=task.layout)
    found = task._augmented(x)
    assert found.is_contiguous(memory_format=task.layout)
    seen = set()
    for image, ours in zip(x, found, strict=True):
        places = [
            (mirrored, dy, dx)
            for mirrored in (False, True)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(
                pad(image.flip(2) if mirrored else image, (2, 2, 2, 2))[:, dy : dy + height, dx : dx + width],
                ours,
            )
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 45  # of 50
    moved, _ = after(1, flip=True, crop=2, lr=1e-20, **SGD)
    still, _ = after(1, lr=1e-20, **SGD)
    ours, theirs = moved.record(), still.record()
    assert ours["train_loss_running"] != theirs["train_loss_running"]
    assert (ours["train_loss"], ours["test_loss"]) == (theirs["train_loss"], theirs["test_loss"])
    with pytest.raises(PlanError, match="flip and crop are of images, got True and 0 with a task"):
        a_run(problem={"task": "quadratic"}, flip=True)


def test_all_of_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    run = a_run(
        batch_size=5,
        accumulate=3,
        clip_norm=1.0,
        clip_value=0.1,
        weight_decay_on="matrices",
        ema=0.9,
        epoch_steps=5,  # a pass is 7 steps
        label_smoothing=0.1,
        flip=True,
        crop=1,
        precision="bfloat16",
        epochs=3,
    )
    undisturbed = trained(run, tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    folder.mkdir()
    left = records.RunFolder(folder, run.epochs)
    trainer = training.Trainer(run, DIGITS)
    left.describe(training._description(run, DIGITS))
    left.append(trainer.record())
    trainer.finish_epoch(after_step=lambda: None)
    left.append(trainer.record())
    trainer.finish_epoch(lambda: trainer.save(folder / "checkpoint.pt") if trainer.batch == 4 else None)
    assert trained(run, folder) == undisturbed


PLAN: dict[str, Any] = {
    "name": "features",
    "epochs": 1,
    "selection_epochs": 0,
    "grid": [0.1],
    "seeds": [0],
    "clip_norm": 1.0,
    "problems": [{"dataset": "digits", "network": "small", "train": 64, "test": 20}],
    "settings": [
        {"label": "clipped", "optimizer": "sgd"},
        {"label": "free", "optimizer": "sgd", "clip_norm": 0},
        {"label": "in parts", "optimizer": "sgd", "batch_size": 8, "accumulate": 4},
    ],
}


def test_a_setting_may_have_its_own(tmp_path: Path) -> None:
    plan = validated(Plan, PLAN)
    runs = [plan.long_run(plan.problems[0], setting, 0.1, 0) for setting in plan.settings]
    assert [(run.clip_norm, run.batch_size, run.accumulate) for run in runs] == [
        (1.0, 32, 1),
        (0.0, 32, 1),
        (1.0, 8, 4),
    ]
    assert len({run.folder for run in runs}) == 3
    lab.run(plan, tmp_path, jobs=1)
    table = lab.table(tmp_path)
    assert set(zip(table["setting"], table["clip_norm"], table["accumulate"], strict=True)) == {
        ("clipped", 1.0, 1),
        ("free", 0.0, 1),
        ("in parts", 1.0, 4),
    }


def test_the_papers_curves_are_for_its_own_training_alone() -> None:
    as_published = load("paper")
    clipped = as_published.settings[0].model_copy(update={"clip_norm": 1.0})
    for change in ({"ema": 0.9}, {"epoch_steps": 10}, {"settings": (clipped,)}):
        assert not paper.repeats(as_published.model_copy(update=change), as_published.problems[0])


def test_it_is_said_in_a_comparison_too() -> None:
    words = "sgd, momentum=0.9, clip_norm=1, weight_decay_on=matrices"
    said = comparing.setting(words)
    assert (said["clip_norm"], said["weight_decay_on"], said["options"]) == (1, "matrices", {"momentum": 0.9})


def test_tasks_have_it_too(tmp_path: Path) -> None:
    """The average of a quadratic's steps; its minimum is 0."""
    change = {"problems": [{"task": "quadratic", "options": {"epoch": 20}}], "ema": 0.5, "accumulate": 2}
    found = lab.run(validated(Plan, PLAN | change | {"settings": PLAN["settings"][:1]}), tmp_path, jobs=1)
    first, last = found.results[0].curves[0].runs[0]
    assert 0 < last["train_loss"] < first["train_loss"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip_norm": -1.0}, r"clip_norm: Input should be greater than or equal to 0, got -1"),
        ({"ema": 1.0}, r"ema: Input should be less than 1, got 1"),
        ({"accumulate": 0}, r"accumulate: Input should be greater than or equal to 1, got 0"),
        ({"weight_decay_on": "some"}, r"weight_decay_on: Input should be 'all' or 'matrices', got 'some'"),
    ],
)
def test_what_makes_no_sense_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        validated(Plan, PLAN | change)
