"""A setting for a loss: it trains, and finding it leaves no trace."""

import math
import statistics

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


def test_the_same_loss_gets_the_same_suggestion():
    model, batches, loss = classification()
    first, second = (suggest(loss, model, batches=batches, steps=20) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_smallest_step_that_ends_close_to_the_best_is_suggested(name):
    model, loss = regression()
    found = suggest(loss, model, optimizer=name, steps=60)
    start = statistics.mean(value for _, value in found.ramp[:20])
    end = min(value for _, value in found.trials)
    close = [value <= end + min(0.1 * end, 0.01 * (start - end)) for _, value in found.trials]
    step = found.settings["lr"] / found.settings["alpha"]
    smallest = min(step for (step, _), near in zip(found.trials, close, strict=True) if near)
    assert step == pytest.approx(smallest)
    assert len(found.trials) == 13 or not any(close[-2:])
    assert f"of {len(found.trials)} trials of 60 steps" in found.reason
    assert found.reason.endswith(f"{step:.3g} is the smallest that came close")


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
    optimizer = INNAprop([p], **found.settings)
    for k in range(100):
        for group in optimizer.param_groups:
            group["lr"] = found.settings["lr"] * min((k + 1) / 10, (1 + math.cos(math.pi * k / 100)) / 2)
        optimizer.zero_grad()
        loss(0.0).backward()
        optimizer.step()
    assert loss(0.0) < 0.2


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
        (lambda model, loss: suggest(lambda b: loss(), model, batches=iter([])), "there is no batch"),
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
