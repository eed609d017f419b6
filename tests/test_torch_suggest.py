"""A setting for a loss: it trains, and finding it leaves no trace."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from inna.torch import INNA, INNAprop, suggest

OPTIMIZERS = {"inna": INNA, "innaprop": INNAprop}


def regression(seed=0):
    """Tanh and layer normalisation, full batch: lr = 0.3 makes INNA diverge here."""
    torch.manual_seed(seed)
    x = torch.randn(128, 10)
    y = torch.sin(x.sum(1, keepdim=True))
    layers = [nn.Linear(10, 32), nn.LayerNorm(32), nn.Tanh(), nn.Linear(32, 32), nn.LayerNorm(32), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(32, 1))
    return model, lambda: mse_loss(model(x), y)


def classification():
    """Batch normalisation and dropout, in mini-batches."""
    torch.manual_seed(0)
    x = torch.randn(400, 8)
    y = (x.sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))
    batches = list(zip(x.split(32), y.split(32), strict=True))
    return model, batches, lambda batch: cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("seed", range(3))
def test_the_suggested_setting_trains(name, seed):
    model, loss = regression(seed)
    start = loss().item()
    found = suggest(loss, model, optimizer=name, steps=60)
    optimizer = OPTIMIZERS[name](model.parameters(), **found.settings)
    for k in range(200):
        for group in optimizer.param_groups:
            group["lr"] = found.settings["lr"] * min((k + 1) / 20, (1 + math.cos(math.pi * k / 200)) / 2)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert value.item() < 0.2 * start


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_is_left_of_it(name):
    model, batches, loss = classification()
    loss(batches[0]).backward()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = [(p.grad, p.grad.clone()) for p in model.parameters()]
    random = torch.get_rng_state()
    suggest(loss, model, batches=batches, optimizer=name, steps=20)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for p, (same, value) in zip(model.parameters(), gradients, strict=True):
        assert p.grad is same
        assert torch.equal(p.grad, value)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training


def test_nothing_is_left_of_it_when_the_loss_fails():
    model, loss = regression()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    calls = 0

    def failing():
        nonlocal calls
        calls += 1
        if calls == 60:
            raise RuntimeError("no more data")
        return loss()

    with pytest.raises(RuntimeError, match="no more data"):
        suggest(failing, model, steps=10)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Noisy(nn.Module):
    """Its loss replaces a buffer, fills another, moves a frozen parameter and takes all kinds of noise."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.norm = nn.BatchNorm1d(3)
        self.teacher = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("expanded", torch.arange(3.0).expand(4, 3))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("cache", None)

    def forward(self, x):
        out = self.layer(self.norm(x))
        self.average = 0.9 * self.average + 0.1 * out.detach().mean()
        self.cache = out.detach()
        with torch.no_grad():
            self.teacher.lerp_(self.layer.weight[0], 0.1)
        return out + 0.01 * (random.random() + np.random.rand() + torch.rand(()).item())


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_whatever_the_loss_changes_is_restored(error):
    torch.manual_seed(0)
    model, x = Noisy(), torch.randn(64, 3)
    model(x).sum().backward()
    y = x.sum(1, keepdim=True)
    loader = torch.utils.data.DataLoader(
        list(zip(x, y, strict=True)), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1)
    )
    model.cache = None
    buffers = dict(model.named_buffers())
    values = {key: value.clone() for key, value in model.state_dict().items()}
    gradient = model.layer.weight.grad.clone()

    def states():
        numpy = np.random.get_state()[1].tolist()
        return random.getstate(), numpy, torch.get_rng_state().tolist(), loader.generator.get_state().tolist()

    before, calls = states(), 0

    def loss(batch):
        nonlocal calls
        calls += 1
        if error and calls == 200:
            raise error("stop")
        model.eval() if calls % 2 else model.train()
        return mse_loss(model(batch[0]), batch[1])

    def found():
        return suggest(loss, model, batches=loader, steps=20)

    if error:
        with pytest.raises(error, match="stop"):
            found()
    else:
        assert found() == found()
    assert states() == before
    assert model.training
    assert model.cache is None
    assert {key: id(value) for key, value in model.named_buffers()} == {k: id(v) for k, v in buffers.items()}
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
    assert torch.equal(model.layer.weight.grad, gradient)


def test_parameters_that_are_not_given_get_no_gradient():
    model, loss = regression()
    suggest(loss, model[-1].parameters(), steps=10)
    assert all(p.grad is None for p in model.parameters())


def test_the_same_loss_gets_the_same_suggestion():
    model, batches, loss = classification()
    first, second = (suggest(loss, model, batches=batches, steps=20) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_smallest_step_that_ends_close_to_the_best_is_suggested(name):
    model, loss = regression()
    found = suggest(loss, model, optimizer=name, steps=60)
    start = loss().item()
    end = min(value for _, value in found.trials)
    close = [value <= end + min(0.1 * end, 0.01 * (start - end)) for _, value in found.trials]
    step = found.settings["lr"] / found.settings["alpha"]
    smallest = min(step for (step, _), near in zip(found.trials, close, strict=True) if near)
    ends = dict(found.trials)
    too_much = ends[2 * smallest] > max(end + 0.1 * (start - end), ends[smallest / 2])
    assert step == pytest.approx(smallest / 2 if too_much else smallest)
    assert ("is safer" in found.reason) == too_much
    assert len(found.trials) >= 13 or not any(close[-2:])
    assert f"of {len(found.trials)} trials of 60 steps" in found.reason
    assert f"{smallest:.3g} is the smallest that came close" in found.reason


def descend(loss, params, name, settings, steps):
    """The loss before the last of some steps, with a warm-up and a cosine to 0."""
    optimizer = OPTIMIZERS[name](params, **settings)
    for k in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * min(20 * (k + 1) / steps, (1 + math.cos(math.pi * k / steps)) / 2)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    return value.item()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [10, 60])
def test_a_longer_run_does_not_diverge_with_a_step_of_short_trials(name, steps):
    """The trials' cosine ends before a mode that is hardly unstable has grown."""
    curvatures = torch.logspace(-3, 0, 20)
    p = torch.ones(20, requires_grad=True)

    def loss():
        return (curvatures * p.square()).sum() / 2

    found = suggest(loss, [p], optimizer=name, steps=steps)
    assert descend(loss, [p], name, found.settings, 600) < 0.1


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e5, 1e6])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_units_of_the_loss_do_not_matter(name, scale):
    model, loss = regression()
    found = suggest(lambda: scale * loss(), model, optimizer=name, steps=60)
    assert min(end for _, end in found.trials) < 0.2 * scale


def test_a_ramp_that_explodes_in_its_first_steps_is_no_noise():
    p = torch.ones(3, requires_grad=True)
    found = suggest(lambda: 1e6 * p.square().sum() / 2, [p], optimizer="inna", steps=60)
    assert descend(lambda: 1e6 * p.square().sum() / 2, [p], "inna", found.settings, 600) < 1


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("seed", [13, 19, 25, 38])
def test_noise_alone_is_no_descent(name, seed):
    torch.manual_seed(seed)
    p, noise = torch.zeros(5, requires_grad=True), list(torch.randn(64))
    with pytest.raises(ValueError, match="by more than chance"):
        suggest(lambda offset: offset + 0 * p.sum(), [p], batches=noise, optimizer=name, steps=60)


@pytest.mark.parametrize("scatter", [1.0, 3.0])
def test_the_fall_is_seen_in_noise_that_all_trials_share(scatter):
    model, loss = regression()
    noise = list(scatter * torch.randn(64))
    found = suggest(lambda offset: loss() + offset, model, batches=noise, steps=60)
    assert ("no trial lowered the loss" in found.reason) == (scatter == 3.0)
    assert descend(loss, model.parameters(), "innaprop", found.settings, 200) < 0.1


@pytest.mark.parametrize("bad", [0, 9])
def test_a_mini_batch_without_a_finite_loss_is_named(bad):
    model, loss = regression()
    factors = [math.nan if k == bad else 1.0 for k in range(20)]
    with pytest.raises(ValueError, match=f"must be finite at the start, got nan on mini-batch {bad}$"):
        suggest(lambda factor: factor * loss(), model, batches=factors, steps=10)


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_that_finds_nothing_but_noise_chooses_no_step(seed):
    """A narrow valley behind a plateau: the ramp runs past it, and trials from its end find it."""
    torch.manual_seed(seed)
    p = torch.zeros(1, requires_grad=True)
    noise = list(0.5 * torch.randn(60))

    def loss(offset):
        return (1 - torch.exp(-(((p - 1.2) / 0.1) ** 2)) - 0.01 * p).sum() + offset

    found = suggest(loss, [p], batches=noise, steps=100)
    assert "did not fall clearly up to" in found.reason
    assert "no trial lowered" not in found.reason
    optimizer = INNAprop([p], **found.settings)
    for k in range(100):
        for group in optimizer.param_groups:
            group["lr"] = found.settings["lr"] * min((k + 1) / 10, (1 + math.cos(math.pi * k / 100)) / 2)
        optimizer.zero_grad()
        loss(0.0).backward()
        optimizer.step()
    assert loss(0.0) < 0.2


def test_a_small_fall_on_a_plateau_does_not_end_the_search():
    """Large steps throw p to where its gradient is 0, and lower the loss a little by q."""
    torch.manual_seed(0)
    p, q = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)

    def loss(offset):
        tent = torch.relu(1 - (p - 1.49e-3).abs() / 1.5e-3)
        return (1 - tent + 0.02 * (q - 1) ** 2).sum() + offset

    found = suggest(loss, [p, q], batches=list(torch.randn(60)), steps=100)
    assert max(end for _, end in found.trials) - min(end for _, end in found.trials) > 0.9
    assert found.settings["lr"] / found.settings["alpha"] < 0.004


def test_trials_that_hardly_lower_the_loss_are_told_apart():
    """Far above its minimum a tenth of a loss is more than any trial lowers it."""
    model, loss = regression()
    near, far = (suggest(lambda shift=shift: loss() + shift, model, steps=60) for shift in (0.0, 1000.0))
    assert far.settings["lr"] >= 0.5 * near.settings["lr"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model, loss: suggest(loss, model, optimizer="adam"),
            "must be 'inna' or 'innaprop', got 'adam'",
        ),
        (lambda model, loss: suggest(loss, []), "no parameter requires a gradient"),
        (lambda model, loss: suggest(loss, model, steps=5), "at least 10 steps, got 5"),
        (lambda model, loss: suggest(loss, model, memory=0.5), "memory must be .* at least 1 step, got 0.5"),
        (lambda model, loss: suggest(loss, model, memory=math.nan), "memory must be finite"),
        (lambda model, loss: suggest(loss, model, sigma=1.0), "sigma must be .* below 1, got 1.0"),
        (lambda model, loss: suggest(loss, model, weight_decay=-1.0), "weight_decay must be"),
        (lambda model, loss: suggest(loss, model, optimizer="inna", weight_decay=0.1), "are innaprop's"),
        (lambda model, loss: suggest(lambda: loss().detach(), model), "has no gradient: is it detached"),
        (lambda model, loss: suggest(lambda b: loss(), model, batches=[]), "there is no batch"),
        (lambda model, loss: suggest(lambda: loss().sqrt() * math.inf, model), "at the start, got inf"),
        (lambda model, loss: suggest(lambda: (0 * loss()).sqrt(), model, steps=10), "all trials diverged"),
        (
            lambda model, loss: suggest(lambda: loss() * math.nan, model),
            "must be finite at the start, got nan",
        ),
        (lambda model, loss: suggest(lambda: loss().repeat(2), model), r"one element, got shape \(2,\)"),
        (lambda model, loss: suggest(lambda: 0 * loss(), model, steps=10), "no step from .* lowered"),
    ],
)
def test_a_loss_that_cannot_be_trained_is_said_to_be(call, message):
    model, loss = regression()
    with pytest.raises(ValueError, match=message):
        call(model, loss)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, loss: suggest(loss, model, steps=20.0), "float"),
        (lambda model, loss: suggest(loss, model[0].weight), "a list of its parameters, got Parameter"),
        (lambda model, loss: suggest(loss, None), "a list of its parameters, got NoneType"),
        (lambda model, loss: suggest(loss, [{"params": []}]), "a list of its parameters, got list of dict"),
        (lambda model, loss: suggest(lambda: 1.0, model), "must return a tensor, got float"),
        (lambda model, loss: suggest(lambda b: loss(), model, batches=iter([1])), "got list_iterator"),
        (lambda model, loss: suggest(lambda b: loss(), model, batches={"x": 1}), "got dict"),
    ],
)
def test_what_has_another_type_is_said_to_be(call, message):
    model, loss = regression()
    with pytest.raises(TypeError, match=message):
        call(model, loss)
