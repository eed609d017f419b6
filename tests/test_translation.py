"""Settings in the words of another optimizer, held against the trajectories of that optimizer."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inna import reference
from inna.hyperparameters import from_adamw, from_memory, from_sgd, to_memory, to_sgd
from inna.torch import INNA, INNAprop

steps = st.floats(1e-6, 1e3)
memories = st.floats(1, 1e5)
shares = st.floats(0, 2)


def path(optimizer: Any, settings: Mapping[str, Any], steps: int = 300) -> torch.Tensor:
    """The iterates on a noisy quadratic, in float64."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, dtype=torch.float64, generator=generator)
    param = torch.nn.Parameter(torch.randn(5, dtype=torch.float64, generator=generator))
    stepper = optimizer([param], **settings)
    found = []
    for _ in range(steps):
        noise = torch.randn(5, dtype=torch.float64, generator=generator)
        param.grad = root @ root.T @ param.detach() / 5 + 0.3 * noise
        stepper.step()
        found.append(param.detach().clone())
    return torch.stack(found)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.05},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.02, "momentum": 0.99, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.9},
        {"lr": 0.05, "momentum": 0.5, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.05, "dampening": 0.3},
        {"lr": 1e-3, "momentum": 1.0},
    ],
)
def test_sgd_in_the_words_of_inna_follows_the_same_path(settings: dict[str, Any]) -> None:
    theirs = path(torch.optim.SGD, settings)
    ours = path(INNA, from_sgd(**settings))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@given(
    st.floats(1e-4, 1e2),
    st.one_of(st.just(0.0), st.floats(0.1, 0.999)),
    st.booleans(),
)
def test_from_sgd_and_back(lr: float, momentum: float, nesterov: bool) -> None:
    settings = from_sgd(lr, momentum, nesterov and momentum > 0)
    back = to_sgd(settings["lr"], settings["alpha"], settings["beta"])
    assert back["lr"] == pytest.approx(lr, rel=1e-12)
    assert back["momentum"] == pytest.approx(momentum, abs=1e-12)
    assert back["nesterov"] == (nesterov and momentum > 0)


def test_most_inna_is_no_sgd() -> None:
    with pytest.raises(ValueError, match=r"is no SGD: beta would have to be lr = 0\.1 \(heavy ball\)"):
        to_sgd(0.1, 0.5, 0.15)
    assert to_sgd(0.1, 2.0, 0.5) == {"lr": 0.05, "momentum": 0.0, "nesterov": False}


def test_a_memory_is_an_average_of_gradients() -> None:
    step, memory, direct = 0.05, 8.0, 0.3
    gradients = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    param = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = INNA([param], **from_memory(step, memory, direct))
    theta, average = 1.0, 0.0
    for gradient in gradients:
        param.grad = gradient.clone()
        optimizer.step()
        theta -= step * ((1 - direct) * average + direct * gradient.item())
        average = (1 - 1 / memory) * average + gradient.item() / memory
        assert param.item() == pytest.approx(theta, rel=1e-12)


@given(steps, memories, shares)
def test_from_memory_and_back(step: float, memory: float, direct: float) -> None:
    settings = from_memory(step, memory, direct)
    back = to_memory(settings["lr"], settings["alpha"], settings["beta"])
    assert back["step"] == pytest.approx(step, rel=1e-12)
    assert back["memory"] == pytest.approx(memory, rel=1e-12)
    assert back["direct"] == pytest.approx(direct, rel=1e-12)


def test_without_friction_the_memory_has_no_end() -> None:
    assert to_memory(0.1, 0.0, 0.1) == {"step": math.inf, "memory": math.inf, "direct": 0.0}


def test_without_a_first_moment_adamw_in_the_words_of_innaprop_follows_the_same_path() -> None:
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.0, 0.99), "weight_decay": 0.3, "eps": 1e-6}
    theirs = path(torch.optim.AdamW, settings)
    torch.testing.assert_close(path(INNAprop, from_adamw(**settings)), theirs, rtol=1e-11, atol=1e-12)


def test_innaprop_from_adamw_keeps_step_memory_and_the_parameters_that_decay_leaves() -> None:
    settings = from_adamw(0.01, (0.9, 0.99), 1.0)
    assert to_memory(settings["lr"], settings["alpha"], settings["beta"]) == pytest.approx(
        {"step": 0.01, "memory": 10, "direct": 0.2}
    )
    ends = []
    for optimizer, options in (
        (torch.optim.AdamW, {"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 1.0}),
        (INNAprop, settings),
    ):
        param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        stepper = optimizer([param], **options)
        for _ in range(2_000):
            param.grad = torch.ones(1, dtype=torch.float64)
            stepper.step()
        ends.append(param.item())
    assert ends == pytest.approx([-1, -1], rel=1e-3)


def test_where_each_kind_of_decay_rests() -> None:
    """The table of docs/choosing.md, under a constant direction of size 1."""
    alpha, beta, decay = 0.5, 0.4, 0.25
    inertia = {"lr": 0.1, "alpha": alpha, "beta": beta}
    decoupled = coupled = (0.0, 0.0)
    authors = (0.0, 0.0)
    for _ in range(5_000):
        decoupled = reference.momentum_step(*decoupled, 1.0, decay=decay, **inertia)
        coupled = reference.momentum_step(*coupled, 1.0 + decay * coupled[0], **inertia)
        theta, psi = authors
        authors = reference.inna_step((1 - 0.1 * decay) * theta, psi, 1.0, **inertia)  # psi stays
    rests = [-decoupled[0], -coupled[0], -authors[0]]
    assert rests == pytest.approx([1 / (alpha * decay), 1 / decay, beta / decay], rel=1e-9)


@pytest.mark.parametrize(("beta1", "direct"), [(0.0, 1.0), (0.5, 0.5), (0.9, 0.2), (0.99, 0.2)])
def test_the_direct_share_is_a_fifth_or_that_of_adamw(beta1: float, direct: float) -> None:
    settings = from_adamw(1e-3, (beta1, 0.999))
    assert settings["alpha"] * settings["beta"] == pytest.approx(direct)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_memory(0, 10, 0.2), "step must be finite and positive, got 0"),
        (lambda: from_memory(1, 0.5, 0.2), "memory must be finite and at least 1 step, got 0.5"),
        (lambda: from_memory(1, 10, -1), "direct must be finite and at least 0, got -1"),
        (lambda: from_memory(math.nan, 10, 0.1), "step must be finite and positive, got nan"),
        (lambda: from_sgd(0.1, 1.5), "momentum must be finite and between 0 and 1, got 1.5"),
        (
            lambda: from_sgd(0.1, 0.5, dampening=1),
            "dampening must be finite and at least 0 and below 1, got 1",
        ),
        (
            lambda: from_sgd(0.1, nesterov=True),
            "nesterov needs a momentum and no dampening, got momentum 0.0",
        ),
        (lambda: from_adamw(1e-3, (1.0, 0.9)), "beta1 must be finite and at least 0 and below 1, got 1.0"),
        (lambda: from_adamw(1e-3, weight_decay=-1), "weight_decay must be finite and at least 0, got -1"),
        (lambda: to_memory(0, 1, 1), "lr must be finite and positive, got 0"),
        (lambda: to_sgd(1.0, 2.0, 1.0), "alpha must be finite and between 0 and 1/lr = 1, got 2.0"),
    ],
)
def test_a_value_out_of_range_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()
