import dataclasses
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inna.lab import data, records
from inna.lab.plan import Problem, Run
from inna.lab.running import networks, optimizers, training
from inna.lab.running.images import Images, clipped_cross_entropy
from inna.torch import _fused
from inna.torch._fused_cpu import fused_cpu_step

DIGITS = data.load("digits", train=96, test=40)


def a_run(**change: Any) -> Run:
    defaults: dict[str, Any] = {
        "problem": Problem(dataset="digits", network="small", train=96, test=40),
        "optimizer": "inna.torch.INNA",
        "options": {"alpha": 0.5, "beta": 0.5},
        "lr": 0.2,
        "q": 0.5,
        "init": "glorot_normal",
        "batch_size": 20,
        "epochs": 3,
        "seed": 0,
        "threads": 1,
        "device": "cpu",
        "evaluate": "every epoch",
    }
    return Run(**{**defaults, **change})


def lasting(log: Path) -> list[dict[str, Any]]:
    """The fields that must not differ between two executions."""
    return [{k: v for k, v in record.items() if k not in records.VOLATILE} for record in records.read(log)]


def trained(run: Run, folder: Path) -> list[dict[str, Any]]:
    training.train(run, folder, DIGITS)
    return lasting(folder / "records.jsonl")


def test_a_run_records_every_epoch_and_learns(tmp_path: Path) -> None:
    found = trained(a_run(epochs=15, lr=0.5, q=0.0), tmp_path)
    assert [record["epoch"] for record in found] == list(range(16))
    assert found[0]["train_loss_running"] is None
    assert found[-1]["train_loss"] < 0.5 * found[0]["train_loss"]
    assert found[-1]["test_accuracy"] > 0.5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records.jsonl", "run.json"]


def test_the_learning_rate_decays_per_iteration(tmp_path: Path) -> None:
    found = trained(a_run(), tmp_path)
    assert [record["lr"] for record in found] == [0.2, 0.2 * 5**-0.5, 0.2 * 10**-0.5, 0.2 * 15**-0.5]


def test_the_same_run_gives_the_same_records(tmp_path: Path) -> None:
    first = trained(a_run(), tmp_path / "a")
    torch.rand(3)  # whatever happened before in the process
    assert trained(a_run(), tmp_path / "b") == first
    assert trained(a_run(seed=1), tmp_path / "c") != first


def test_every_optimizer_starts_from_the_same_weights(tmp_path: Path) -> None:
    sgd = trained(a_run(optimizer="torch.optim.SGD", options={}), tmp_path / "sgd")
    assert sgd[0]["train_loss"] == trained(a_run(), tmp_path / "inna")[0]["train_loss"]


def test_every_optimizer_sees_the_same_batches(tmp_path: Path) -> None:
    """With alpha beta = 1 and no initial momentum INNA is SGD with lr gamma beta: only batches can differ."""
    inna = a_run(options={"alpha": 2.0, "beta": 0.5, "initial_speed": 0.5}, lr=0.2)
    sgd = a_run(optimizer="torch.optim.SGD", options={}, lr=0.1)
    for ours, theirs in zip(trained(inna, tmp_path / "a"), trained(sgd, tmp_path / "b"), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("inna.torch.INNA", {"alpha": 0.5, "beta": 0.1}),
        ("torch.optim.Adam", {"eps": 1e-7}),
        ("torch.optim.Adagrad", {"eps": 1e-7}),
    ],
)
def test_a_checkpoint_in_the_middle_of_an_epoch_changes_nothing(
    tmp_path: Path, optimizer: str, options: dict[str, Any]
) -> None:
    run = a_run(optimizer=optimizer, options=options, lr=0.01)
    undisturbed = trained(run, tmp_path / "a")
    folder = tmp_path / "b"
    left = records.RunFolder(folder, run.epochs)
    trainer = training.Trainer(run, DIGITS)
    folder.mkdir()
    (folder / "run.json").write_bytes((tmp_path / "a" / "run.json").read_bytes())
    left.append(trainer.record())
    steps = 0

    def save_at_seventh_step() -> None:
        nonlocal steps
        steps += 1
        if steps == 7:  # the second step of the second epoch
            trainer.save(folder / "checkpoint.pt")

    for _ in range(3):
        trainer.finish_epoch(after_step=save_at_seventh_step)
        left.append(trainer.record())  # of which epochs 2 and 3 are to be dropped
    left.rewind(2)  # as if killed in epoch 3
    assert trained(run, folder) == undisturbed


def test_dropout_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    run = a_run(problem=Problem(dataset="mnist5k", network="nin", train=4, test=1), batch_size=1)
    images = data.load("mnist5k", train=4, test=1)
    trainer = training.Trainer(run, images)

    def save_first() -> None:
        if trainer.batch == 1:
            trainer.save(tmp_path / "checkpoint.pt")

    trainer.finish_epoch(after_step=save_first)
    resumed = training.Trainer(run, images)
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.batch == 1
    resumed.finish_epoch(after_step=lambda: None)
    for a, b in zip(trainer.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_that_outlived_its_records_is_not_trusted(tmp_path: Path) -> None:
    undisturbed = trained(a_run(), tmp_path / "a")
    trainer = training.Trainer(a_run(), DIGITS)
    trainer.finish_epoch(after_step=lambda: None)
    (tmp_path / "b").mkdir()
    trainer.save(tmp_path / "b" / "checkpoint.pt")
    assert trained(a_run(), tmp_path / "b") == undisturbed


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_what_a_killed_writer_left_does_not_outlive_the_run(tmp_path: Path, epochs: int) -> None:
    """Killed in the first epoch, in the second, and after the last record."""
    run = a_run()
    undisturbed = trained(run, tmp_path)
    assert len(undisturbed) == 4
    records.RunFolder(tmp_path, run.epochs).rewind(epochs)
    for name in ("checkpoint.pt", ".checkpoint.pt.tmp"):
        if epochs == 3 or name.startswith("."):
            (tmp_path / name).write_bytes(b"half")
    assert trained(run, tmp_path) == undisturbed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.jsonl", "run.json"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(records.RecordError, match=r"checkpoint\.pt is damaged .*: delete it"):
        training.train(a_run(), tmp_path, DIGITS)


def test_a_checkpoint_is_not_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "owned",)

    torch.save({"network": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(records.RecordError, match="is damaged"):
        training.train(a_run(), tmp_path, DIGITS)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("evaluate", ["every epoch", "training loss at the end"])
def test_a_diverged_run_is_recorded_and_over(tmp_path: Path, evaluate: str) -> None:
    found = trained(a_run(lr=1e6, epochs=50, evaluate=evaluate), tmp_path)
    assert found[-1]["diverged"]
    assert found[-1]["epoch"] < 50
    assert found[-1]["train_loss"] is None
    assert not any(record["diverged"] for record in found[:-1])
    assert trained(a_run(lr=1e6, epochs=50, evaluate=evaluate), tmp_path) == found


def test_a_selection_run_never_looks_at_the_test_data(tmp_path: Path) -> None:
    run = a_run(evaluate="training loss at the end")
    found = trained(run, tmp_path)
    assert [record["train_loss"] is not None for record in found] == [False, False, False, True]
    assert all(record["test_loss"] is None and record["test_accuracy"] is None for record in found)
    long = trained(a_run(), tmp_path / "long")
    assert found[-1]["train_loss"] == long[-1]["train_loss"]


def test_the_loss_is_that_of_the_whole_training_set_in_evaluation_mode() -> None:
    run = a_run(problem=Problem(dataset="mnist5k", network="nin", train=6, test=2))
    trainer = training.Trainer(run, data.load("mnist5k", train=6, test=2))
    trainer.net.eval()
    assert isinstance(trainer.task, Images)
    rows, labels = trainer.task.train_set
    loss = torch.nn.functional.cross_entropy(trainer.net(trainer.task.images(rows)), labels)
    trainer.net.train()
    assert trainer.record()["train_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_options_that_the_optimizer_does_not_take_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torch\.optim\.SGD does not take these options: .*gamma"):
        training.train(a_run(optimizer="torch.optim.SGD", options={"gamma": 1.0}), tmp_path, DIGITS)
    with pytest.raises(ValueError, match="alpha must be finite and non-negative, got -1"):
        training.train(a_run(options={"alpha": -1.0}), tmp_path, DIGITS)
    assert not (tmp_path / "records.jsonl").exists()


OWN = """
import torch
from torch import nn

class Flat(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.norm = nn.BatchNorm1d(shape[0] * shape[1] * shape[2])
        self.out = nn.Linear(self.norm.num_features, classes)

    def forward(self, x):
        return self.out(self.norm(x.view(len(x), -1)))

def halved(k):
    return 0.5 ** (k // 5)

def negative(k):
    return 1.0 - k
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_step_is_the_plain_loops_step() -> None:
    """NiN in the default layout, torch.utils.data and a bare INNA: ten losses agree, dropout off."""
    random = np.random.default_rng(0)
    y = random.integers(10, size=80)
    x = random.random((80, 3, 32, 32), dtype=np.float32) * (y / 9).astype(np.float32)[:, None, None, None]
    problem = Problem(dataset="cifar10", network="nin", train=80)
    run = a_run(problem=problem, options={}, lr=0.1, q=0, batch_size=8, epochs=1)
    trainer = training.Trainer(run, data.Dataset("cifar10", 10, x, y, x[:1], y[:1]))
    plain = networks.build("nin", (3, 32, 32), 10, init=run.init, seed=run.seed).train()
    for module in [*trainer.net.modules(), *plain.modules()]:
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    totals = [0.0]
    trainer.finish_epoch(after_step=lambda: totals.append(trainer.running.item()))
    optimizer = optimizers.resolve(run.optimizer)(plain.parameters(), lr=run.lr)
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    order = np.random.default_rng([run.seed, 1]).permutation(80).tolist()
    losses = []
    for images, labels in torch.utils.data.DataLoader(pairs, batch_size=8, sampler=order):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(plain(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert np.diff(totals) / 8 == pytest.approx(losses, abs=1e-4)
    assert max(losses) - min(losses) > 0.01


def flags_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {name: optimizer.defaults[name] for name in ("foreach", "fused") if optimizer.defaults[name]}


@pytest.mark.parametrize("name", ["inna", "innaprop"])
def test_the_fastest_implementation_is_taken_if_it_takes_the_steps_of_the_loop(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where the fused kernel is the fastest, with the kernel for a CPU in its place."""
    net = networks.build("small", (1, 8, 8), 10, init="glorot_normal", seed=0).train()
    params = [param.detach() for param in net.parameters()]
    real = fused_cpu_step
    kernels: dict[str, Any] = {"right": real}
    kernels["wrong"] = lambda tensors, group, options, amp: real(
        tensors, group, {**options, "beta": options["beta"] + 0.1}, amp
    )

    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: invalid argument")

    kernels["broken"] = broken
    monkeypatch.setitem(optimizers.FASTEST, "cpu", optimizers.FASTEST["cuda"])
    taken = {}
    for kind, kernel in kernels.items():
        monkeypatch.setattr(_fused, "kernel_for", lambda device, kernel=kernel: kernel)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            taken[kind] = flags_of(optimizers.build(name, params, 0.1, {"weight_decay": 0.1}))
        assert ["departs from the plain loop" in str(each.message) for each in said] == [True] * (
            kind == "wrong"
        )
    assert taken == {"right": {"fused": True}, "wrong": {}, "broken": {}}
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(params, net.parameters(), strict=True))


@pytest.mark.parametrize(
    "options", [{"state_dtype": "8bit"}, {"stochastic_rounding": True}, {"kahan_sum": True}], ids=str
)
def test_a_plan_may_ask_for_what_the_fastest_implementation_refuses(
    options: dict[str, Any], tmp_path: Path
) -> None:
    losses = [record["train_loss"] for record in trained(a_run(options=options), tmp_path)]
    assert losses[-1] < losses[0]


def test_independent_mini_batches_are_drawn_with_replacement(tmp_path: Path) -> None:
    trainer = training.Trainer(a_run(sampling="independent"), DIGITS)
    assert isinstance(trainer.task, Images)
    order = trainer.task.order(0)
    assert len(order) == 5 * 20  # full mini-batches, as many as an epoch has
    assert len(set(order)) < 96
    assert sorted(Images(a_run(), DIGITS).order(0)) == list(range(96))
    found = trained(a_run(sampling="independent", epochs=15, lr=0.5, q=0.0), tmp_path)
    assert found[-1]["train_loss_running"] == pytest.approx(found[-1]["train_loss"], rel=0.3)


def test_a_schedule_takes_the_place_of_q(tmp_path: Path, own_module: str) -> None:
    linear = a_run(q=0, schedule={"family": "linear", "steps": 20})
    assert [r["lr"] for r in trained(linear, tmp_path / "a")] == pytest.approx([0.2, 0.16, 0.11, 0.06])
    own = a_run(q=0, schedule=f"{own_module}.halved")
    assert [r["lr"] for r in trained(own, tmp_path / "b")] == [0.2, 0.2, 0.1, 0.05]
    with pytest.raises(ValueError, match=r"must give factors >= 0, got -1\.0 at k = 2"):
        trained(a_run(q=0, schedule=f"{own_module}.negative"), tmp_path / "c")


def test_a_network_of_ones_own_keeps_its_own_weights_if_asked(tmp_path: Path, own_module: str) -> None:
    problem = Problem(dataset="digits", network=f"{own_module}.Flat", train=96, test=40)
    own = a_run(problem=problem, init="own", epochs=5)
    found = trained(own, tmp_path / "a")
    assert trained(own, tmp_path / "b") == found  # its weights depend on the seed, not on what went before
    assert found[-1]["train_loss"] < 0.5 * found[0]["train_loss"]
    bound = 1 / math.sqrt(64)
    for init, widest in (("own", bound), ("glorot_normal", math.inf)):
        trainer = training.Trainer(a_run(problem=problem, init=init), DIGITS)
        net: Any = trainer.net
        weight, norm = net.out.weight, net.norm
        assert (weight.abs().max().item() > bound) == (widest > bound)
        assert torch.all(norm.weight == 1)  # the gain of a normalisation is no bias


def test_run_json_says_what_was_run_on_what(tmp_path: Path) -> None:
    run = a_run()
    trained(run, tmp_path)
    told = json.loads((tmp_path / "run.json").read_text())
    assert Run.model_validate(told["run"]) == run
    assert told["data"]["sha256"] == DIGITS.digest
    assert told["code"]["inna"]
    assert torch.__version__.startswith(told["libraries"]["torch"].partition("+")[0])
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["processor"]


@pytest.mark.parametrize("epochs", [2, 3])
def test_a_run_whose_data_changed_is_not_continued(tmp_path: Path, epochs: int) -> None:
    trained(a_run(), tmp_path)
    log = tmp_path / "records.jsonl"
    records.RunFolder(tmp_path, a_run().epochs).rewind(epochs)  # in the middle, or complete
    before = log.read_bytes()
    relabelled = dataclasses.replace(DIGITS, y_train=(DIGITS.y_train + 1) % 10)
    with pytest.raises(
        records.RecordError, match=r"holds records of other data .* delete it, or name another"
    ):
        training.train(a_run(), tmp_path, relabelled)
    assert log.read_bytes() == before


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    trained(a_run(), tmp_path)
    for content in (b"", b"[]", b'{"run": {}}'):
        (tmp_path / "run.json").write_bytes(content)
        with pytest.raises(records.RecordError, match=r"run\.json is missing or damaged: delete the folder"):
            trained(a_run(), tmp_path)


def test_the_clipped_loss_is_that_of_keras(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 40.0], [1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1])
    losses = clipped_cross_entropy(logits, labels, reduction="none")
    clipped = np.float32(1e-7), np.float32(1) - np.float32(1e-7)
    expected = [-np.log(0.5), -np.log(clipped[1]), -np.log(clipped[0]), np.log(1 + np.exp(1.0))]
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-5)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[1:3] == 0).all()  # a network that is sure of one class learns nothing from the others
    torch.testing.assert_close(logits.grad[0], torch.tensor([-0.5, 0.5]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_clipped_loss_of_16_bits_is_that_of_float32(dtype: torch.dtype) -> None:
    """A probability of .999 is 1 in bfloat16, where it would be clipped."""
    logits = torch.tensor([[7.0, 0.0], [0.0, 12.0], [1.5, 0.25]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([0, 0, 1])
    wide = logits.detach().float().requires_grad_()
    losses = [clipped_cross_entropy(these, labels) for these in (logits, wide)]
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    assert losses[0].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    assert logits.grad is not None
    assert wide.grad is not None
    torch.testing.assert_close(logits.grad, wide.grad.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_gpu_computes_in_the_precision_of_the_run(precision: str) -> None:
    training.set_up_gpu(precision)
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert flags == (precision == "tf32",) * 2


def test_the_running_loss_can_be_what_counts(tmp_path: Path) -> None:
    found = trained(a_run(train_loss="running", epochs=2), tmp_path / "running")
    other = trained(a_run(epochs=2), tmp_path / "evaluated")
    assert found[0]["train_loss"] == other[0]["train_loss"]  # before training there is nothing else
    for ours, theirs in zip(found[1:], other[1:], strict=True):
        assert ours["train_loss"] == ours["train_loss_running"] == theirs["train_loss_running"]
        assert ours["test_loss"] == theirs["test_loss"]


UNUSUAL = """
import torch
from torch import nn


def normalised(shape, classes):
    pixels = shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(pixels), nn.Linear(pixels, classes))


class Unlike(torch.optim.SGD):
    def __init__(self, params, lr):
        *others, last = params
        super().__init__([{"params": others}, {"params": [last], "lr": 10 * lr}], lr=lr)
"""


@pytest.fixture
def unusual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_training.py").write_text(UNUSUAL)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"batch_size": 19}, "choose another batch_size or train = 95$"),
        ({"batch_size": 1}, "choose another batch_size$"),
        ({"batch_size": 1, "sampling": "independent"}, "choose another batch_size$"),
    ],
)
@pytest.mark.usefixtures("unusual")
def test_a_network_that_cannot_take_the_last_image_alone_is_told_before_the_first_step(
    tmp_path: Path, change: dict[str, Any], cure: str
) -> None:
    run = a_run(problem=Problem(dataset="digits", network="own_training.normalised"), **change)
    with pytest.raises(ValueError, match=rf"fails on a mini-batch of one image.*\(96 images.*{cure}"):
        trained(run, tmp_path)
    assert not (tmp_path / "records.jsonl").exists()


@pytest.mark.usefixtures("unusual")
def test_a_last_mini_batch_of_two_is_no_trouble(tmp_path: Path) -> None:
    run = a_run(problem=Problem(dataset="digits", network="own_training.normalised"), batch_size=47, epochs=1)
    assert len(trained(run, tmp_path)) == 2


@pytest.mark.usefixtures("unusual")
def test_groups_keep_the_rates_that_their_optimizer_gave_them(tmp_path: Path) -> None:
    """Each decays from its own, and goes on from a checkpoint."""
    run = a_run(optimizer="own_training.Unlike", options={}, q=0.5)
    trainer = training.Trainer(run, DIGITS)
    for _ in range(2):
        trainer.finish_epoch(after_step=lambda: None)
    k = 2 * trainer.batches - 1
    expected = [0.2 * (k + 1) ** -0.5, 2.0 * (k + 1) ** -0.5]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx(expected, rel=1e-15)
    trainer.save(tmp_path / "checkpoint.pt")
    resumed = training.Trainer(run, DIGITS)
    resumed.load(tmp_path / "checkpoint.pt")
    resumed.finish_epoch(after_step=lambda: None)
    low, high = (group["lr"] for group in resumed.optimizer.param_groups)
    assert high / low == pytest.approx(10)
    assert resumed.record()["lr"] == low
