"""inna.torch.INNAprop equals its paper at weight decay 0, Adam where it is Adam, and INNA in all but v."""

import numpy as np
import pytest
import torch

from inna import reference
from inna.torch import INNA, INNAprop

ALL = pytest.mark.parametrize(
    "flags", [{}, {"foreach": True}, {"fused": True}], ids=["loop", "foreach", "fused"]
)


def gradients(steps: int = 200, size: int = 7) -> torch.Tensor:
    return torch.randn(steps, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def leaf(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def relative(a: torch.Tensor, b: torch.Tensor | np.ndarray) -> float:
    b = torch.as_tensor(b)
    return float((a - b).norm() / b.norm())


@ALL
@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.9), (0.5, 0.1), (2.0, 2.0), (0.0, 0.5)])
def test_thousand_steps_equal_the_papers_recursion(alpha, beta, flags):
    theta, s = np.linspace(-1, 1, 7), np.zeros(7)
    psi = (1 - alpha * beta) * theta
    param = leaf(theta)
    optimizer = INNAprop([param], lr=0.01, alpha=alpha, beta=beta, weight_decay=0.0, **flags)
    for k, v in enumerate(gradients(1000).numpy()):
        optimizer.param_groups[0]["lr"] = lr = 0.01 / (1 + k) ** 0.25
        param.grad = torch.tensor(v)
        optimizer.step()
        options = {"lr": lr, "alpha": alpha, "beta": beta, "sigma": 0.999, "eps": 1e-8}
        theta, psi, s = reference.innaprop_step(theta, psi, s, v, k, **options)
    assert relative(param.detach(), theta) < 1e-12
    assert relative(optimizer.phase(param), psi) < 1e-12
    assert relative(optimizer.state[param]["exp_avg_sq"], s) < 1e-12


@ALL
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_alpha_beta_one_is_adam_without_first_moment(decay, flags):
    ours, theirs = leaf([1.0] * 7), leaf([1.0] * 7)
    a = INNAprop([ours], lr=0.01, alpha=1.0, beta=1.0, weight_decay=decay, **flags)
    b = torch.optim.AdamW([theirs], lr=0.01, betas=(0.0, 0.999), weight_decay=decay)
    for v in gradients():
        ours.grad, theirs.grad = v.clone(), v.clone()
        a.step()
        b.step()
    assert relative(ours.detach(), theirs.detach()) < 1e-12


@ALL
def test_the_decay_is_decoupled_and_leaves_the_momentum(flags):
    param, plain = leaf([1.0] * 7), leaf([1.0] * 7)
    a = INNAprop([param], lr=0.1, weight_decay=0.3, **flags)
    b = INNAprop([plain], lr=0.1, weight_decay=0.0, **flags)
    for v in gradients():
        param.grad, plain.grad = v.clone(), v.clone()
        with torch.no_grad():
            plain.mul_(1 - 0.1 * 0.3)
        a.step()
        b.step()
    assert relative(param.detach(), plain.detach()) < 1e-13
    assert torch.equal(a.state[param]["momentum_buffer"], b.state[plain]["momentum_buffer"])


UNFUSED = pytest.mark.parametrize(
    "flags",
    [{}, {"foreach": True}, {"capturable": True}, {"foreach": True, "capturable": True}],
    ids=["loop", "foreach", "capturable", "foreach-capturable"],
)


@UNFUSED
def test_decay_through_psi_is_the_authors(flags):
    """Their code decays theta and takes the paper's step from there, with psi as it was."""
    theta, s = np.linspace(-1, 1, 7), np.zeros(7)
    psi = (1 - 0.1 * 0.9) * theta
    param = leaf(theta)
    optimizer = INNAprop([param], lr=0.01, weight_decay=0.3, weight_decay_through_psi=True, **flags)
    for k, v in enumerate(gradients(1000).numpy()):
        lr = 0.01 / (1 + k) ** 0.25
        optimizer.param_groups[0]["lr"] = torch.tensor(lr) if "capturable" in flags else lr
        lr = float(optimizer.param_groups[0]["lr"])
        param.grad = torch.tensor(v)
        optimizer.step()
        options = {"lr": lr, "alpha": 0.1, "beta": 0.9, "sigma": 0.999, "eps": 1e-8}
        theta, psi, s = reference.innaprop_step(theta * (1 - lr * 0.3), psi, s, v, k, **options)
    assert relative(param.detach(), theta) < 1e-12
    assert relative(optimizer.phase(param), psi) < 1e-11


@UNFUSED
@pytest.mark.parametrize("cls", [INNA, INNAprop])
def test_cautious_decay_shrinks_what_the_step_brings_nearer_to_0(cls, flags):
    options = {"lr": 0.1, "initial_speed": 0.7, **flags}
    given = {"weight_decay": 0.3, "cautious_weight_decay": True}
    given |= {"decoupled_weight_decay": True} if cls is INNA else {}
    param, plain = leaf([1.0] * 7), leaf([1.0] * 7)
    a, b = cls([param], **given, **options), cls([plain], weight_decay=0.0, **options)
    shrunk = 0
    for v in gradients():
        before = plain.detach().clone()
        param.grad, plain.grad = v.clone(), v.clone()
        a.step()
        b.step()
        with torch.no_grad():
            nears = before * (before - plain) >= 0
            plain.sub_(0.1 * 0.3 * before * nears)
        shrunk += int(nears.sum())
        assert relative(param.detach(), plain.detach()) < 1e-12
    assert 200 < shrunk < 1200  # some, not all
    assert relative(a.state[param]["momentum_buffer"], b.state[plain]["momentum_buffer"]) < 1e-12


@pytest.mark.parametrize(
    "extra", [{"kahan_sum": True}, {"kahan_sum": True, "foreach": True}, {"stochastic_rounding": True}]
)
def test_cautious_decay_keeps_what_16_bits_round_away(extra):
    """Every step is towards 0 and far below bfloat16's resolution, the decay too."""
    options = {"lr": 1e-3, "alpha": 1.0, "beta": 1.0, "weight_decay": 0.1, "cautious_weight_decay": True}
    param = torch.full((4096,), 8.0, dtype=torch.bfloat16)
    exact = torch.full((1,), 8.0, dtype=torch.float64)
    torch.manual_seed(0)
    ours, theirs = INNAprop([param], **options, **extra), INNAprop([exact], **options)
    for _ in range(200):
        param.grad, exact.grad = torch.ones_like(param), torch.ones_like(exact)
        ours.step()
        theirs.step()
    assert abs(param.double().mean() / exact - 1) < 4e-3
    assert exact < 7.7


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (INNAprop, {"weight_decay_through_psi": True, "beta": 0.0}, "needs beta > 0"),
        (INNAprop, {"weight_decay_through_psi": True, "cautious_weight_decay": True}, "choose one"),
        (
            INNAprop,
            {"weight_decay_through_psi": True, "fused": True},
            "does not support weight_decay_through",
        ),
        (INNAprop, {"cautious_weight_decay": True, "fused": True}, "does not support cautious_weight_decay"),
        (INNA, {"cautious_weight_decay": True}, "needs decoupled_weight_decay=True"),
    ],
)
def test_decays_that_do_not_go_together_are_refused(cls, options, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        cls([leaf([1.0])], **options)


@ALL
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_a_step_with_lr_zero_changes_no_state(flags, tensor_lr):
    param = leaf([1.0])
    lr = torch.tensor(0.0) if tensor_lr else 0.0
    optimizer = INNAprop([param], lr=lr, capturable=tensor_lr, **flags)
    param.grad = torch.full((1,), 9.0, dtype=torch.float64)
    optimizer.step()
    state = optimizer.state[param]
    assert (param.item(), state["step"], state["exp_avg_sq"], state["momentum_buffer"]) == (1.0, 0, 0, 0)


def test_lr_equal_to_beta_is_not_singular():
    param = leaf([1.0])
    optimizer = INNAprop([param], lr=0.9, beta=0.9)
    for v in gradients(50, 1):
        param.grad = v.clone()
        optimizer.step()
    assert param.isfinite().all()


@pytest.mark.parametrize("sigma", [-0.1, 1.0, float("nan")])
def test_a_bad_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match=r"sigma must be in \[0, 1\), got"):
        INNAprop([leaf([1.0])], sigma=sigma)
