"""A setting for a loss: it trains, and finding it leaves no trace."""

import math

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
    found = suggest(loss, model, optimizer=name)
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
    suggest(loss, model, batches=batches, optimizer=name)
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
        suggest(failing, model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_same_loss_gets_the_same_suggestion():
    model, batches, loss = classification()
    assert suggest(loss, model, batches=batches) == suggest(loss, model, batches=batches)


def test_a_suggestion_says_why():
    model, loss = regression()
    found = suggest(loss, model, optimizer="inna")
    assert found.settings["lr"] / found.settings["alpha"] == pytest.approx(
        min(found.trials, key=lambda t: t[1])[0] / 2
    )
    assert "7 trials of 60 steps" in found.reason


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
        (lambda model, loss: suggest(lambda: loss() * 0, model), "no step from .* lowered the loss"),
    ],
)
def test_a_loss_that_cannot_be_trained_is_said_to_be(call, message):
    model, loss = regression()
    with pytest.raises(ValueError, match=message):
        call(model, loss)
