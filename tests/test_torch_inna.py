"""inna.torch.INNA equals the paper: held to the NumPy oracle and to the methods that it contains."""

import itertools
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from inna import reference, schedules
from inna.torch import INNA, INNAprop, foreach_step
from nothing_read_back import NothingReadBack

PAIRS = [(0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0, 0.1)]
BOTH = pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])


def leaf(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def follow(optimizer: torch.optim.Optimizer, param: Tensor, gradients: Tensor) -> Tensor:
    for gradient in gradients:
        param.grad = gradient.clone()
        optimizer.step()
    return param.detach()


def gradients(steps: int = 200, size: int = 7) -> Tensor:
    return torch.randn(steps, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def relative(a: Tensor, b: Tensor | np.ndarray) -> float:
    b = torch.as_tensor(b)
    return float((a - b).norm() / (b.norm() or 1.0))  # at alpha = beta = 1 psi is 0


@BOTH
@pytest.mark.parametrize("schedule", [schedules.constant(), schedules.power(0.5)], ids=["constant", "power"])
@pytest.mark.parametrize(("alpha", "beta"), PAIRS)
def test_thousand_steps_equal_the_papers_recursion(alpha, beta, schedule, foreach):
    vs = gradients(1000).numpy()
    theta = np.linspace(-1, 1, 7)
    param = leaf(theta)
    psi = reference.initial_psi(theta, vs[0], alpha=alpha, beta=beta)
    optimizer = INNA([param], lr=0.02, alpha=alpha, beta=beta, foreach=foreach)
    for k, v in enumerate(vs):
        optimizer.param_groups[0]["lr"] = lr = 0.02 * schedule(k)
        param.grad = torch.tensor(v)
        optimizer.step()
        theta, psi = reference.inna_step(theta, psi, v, lr=lr, alpha=alpha, beta=beta)
    assert relative(param.detach(), theta) < 1e-12
    assert relative(optimizer.phase(param), psi) < 1e-12


@BOTH
def test_beta_zero_is_the_limit_of_small_beta(foreach):
    ends = []
    for beta in (0.0, 1e-9):
        param = leaf([1.0, -1.0, 2.0, 0.0, 0.5, 3.0, 1.0])
        ends.append(follow(INNA([param], lr=0.02, beta=beta, foreach=foreach), param, gradients()))
    assert relative(*ends) < 1e-7


@BOTH
def test_one_step_by_hand(foreach):
    param = leaf([1.0, -2.0, 0.5])
    optimizer = INNA([param], lr=0.01, foreach=foreach)
    psi = torch.tensor([0.3, 0.1, -0.7], dtype=torch.float64)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: {"psi": psi, "step": 1}}})
    param.grad = torch.tensor([0.2, -0.4, 1.0], dtype=torch.float64)
    optimizer.step()
    assert param.tolist() == pytest.approx([1.0648, -2.1996, 0.6165], rel=1e-14)
    assert optimizer.phase(param).tolist() == pytest.approx([0.365, -0.1, -0.5825], rel=1e-14)


@BOTH
def test_quadratic_check_value(foreach):
    curvature, centre = leaf([1.0, 10.0, 100.0]).detach(), leaf([1.0, -1.0, 0.5]).detach()
    param = leaf([0.0, 0.0, 0.0])
    optimizer = INNA([param], lr=0.02, foreach=foreach)
    scheduler = lr_scheduler.LambdaLR(optimizer, schedules.power(0.5))
    for _ in range(1000):
        param.grad = curvature * (param.detach() - centre)
        optimizer.step()
        scheduler.step()
    expected = [1.20556682347097, -0.573706044550417, 0.491689477356648]
    assert param.tolist() == pytest.approx(expected, rel=1e-10)


class TestMethodsThatINNAContains:
    """The oracles: other optimizers, step by step the same trajectory."""

    gamma, alpha, beta = 0.1, 0.5, 0.3

    def against(self, inna_options, other):
        start = [1.0, -1.0, 2.0, 0.0, 0.5, 3.0, 1.0]
        ours, theirs = leaf(start), leaf(start)
        end = follow(INNA([ours], **inna_options), ours, gradients())
        assert relative(end, follow(other(theirs), theirs, gradients())) < 1e-12

    def test_alpha_beta_one_without_momentum_is_sgd(self):
        self.against(
            {"lr": self.gamma, "alpha": 2.0, "beta": 0.5, "initial_speed": 0.5},
            lambda p: torch.optim.SGD([p], lr=self.gamma * 0.5),
        )

    def test_beta_gamma_is_sgd_with_momentum(self):
        self.against(
            {"lr": self.gamma, "alpha": self.alpha, "beta": self.gamma, "initial_speed": None},
            lambda p: torch.optim.SGD([p], lr=self.gamma**2, momentum=1 - self.alpha * self.gamma),
        )

    def test_larger_beta_is_nesterov(self):
        beta = self.gamma * (2 - self.alpha * self.gamma)
        m = 1 - self.alpha * self.gamma
        self.against(
            {"lr": self.gamma, "alpha": self.alpha, "beta": beta, "initial_speed": beta},
            lambda p: torch.optim.SGD([p], lr=self.gamma**2, momentum=m, nesterov=True),
        )

    def test_quasi_hyperbolic_momentum(self):
        step, m = self.gamma / self.alpha, 1 - self.alpha * self.gamma
        nu = (1 - self.alpha * self.beta) / m
        vs = gradients()
        theta = torch.ones(7, dtype=torch.float64)
        average = self.alpha * (1 - self.beta) * vs[0] / (1 - self.alpha * self.beta)
        for v in vs:
            average = m * average + (1 - m) * v
            theta = theta - step * ((1 - nu) * v + nu * average)
        param = leaf([1.0] * 7)
        optimizer = INNA([param], lr=self.gamma, alpha=self.alpha, beta=self.beta)
        assert relative(follow(optimizer, param, vs), theta) < 1e-12

    def test_beta_gamma_is_an_exponential_average_of_gradients(self):
        """nu = 1: theta -= gamma/alpha times the average m <- (1 - alpha gamma) m + alpha gamma v."""
        vs, theta = gradients(), torch.ones(7, dtype=torch.float64)
        average = torch.zeros(7, dtype=torch.float64)
        for v in vs:
            average = average + self.alpha * self.gamma * (v - average)
            theta = theta - self.gamma / self.alpha * average
        param = leaf([1.0] * 7)
        optimizer = INNA([param], lr=self.gamma, alpha=self.alpha, beta=self.gamma, initial_speed=None)
        assert relative(follow(optimizer, param, vs), theta) < 1e-12

    @pytest.mark.parametrize("kappa", [0.01, 7.0])
    def test_scale_law(self, kappa):
        root = math.sqrt(kappa)
        scaled, plain = leaf([1.0] * 7), leaf([1.0] * 7)
        a = INNA([scaled], lr=self.gamma, alpha=self.alpha, beta=self.beta, initial_speed=0.8)
        b = INNA(
            [plain],
            lr=self.gamma * root,
            alpha=self.alpha / root,
            beta=self.beta * root,
            initial_speed=0.8 * root,
        )
        end = follow(a, scaled, kappa * gradients())
        assert relative(end, follow(b, plain, gradients())) < 1e-12
        assert relative(a.phase(scaled), b.phase(plain)) < 1e-12


def test_the_first_step_has_the_initial_speed():
    for speed in (0.0, 1.0, 2.5):
        param = leaf([3.0])
        follow(INNA([param], lr=0.1, initial_speed=speed), param, torch.tensor([[2.0]], dtype=torch.float64))
        assert param.item() == pytest.approx(3.0 - 0.1 * speed * 2.0, rel=1e-15)


@BOTH
def test_a_step_with_lr_zero_creates_the_state_and_changes_nothing(foreach):
    param, other = leaf([1.0]), leaf([1.0])
    optimizer = INNA([param], lr=0.0, foreach=foreach, weight_decay=0.1)
    follow(optimizer, param, torch.full((3, 1), 9.0, dtype=torch.float64))
    assert param.item() == 1.0
    assert optimizer.state[param]["step"] == 0
    assert optimizer.state[param]["momentum_buffer"] == 0
    optimizer.param_groups[0]["lr"] = 0.1
    fresh = INNA([other], lr=0.1, foreach=foreach, weight_decay=0.1)
    vs = gradients(5, 1)
    assert torch.equal(follow(optimizer, param, vs), follow(fresh, other, vs))


def test_a_closure_is_called_once_with_gradients_and_its_loss_returned():
    param, calls = leaf([2.0]), []
    optimizer = INNA([param])

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert calls == [True]
    assert param.item() == pytest.approx(2.0 - 0.1 * 4.0)


@BOTH
def test_groups_have_their_own_options(foreach):
    options = [{"lr": 0.1}, {"alpha": 1.0, "beta": 0.5}, {"weight_decay": 0.3}, {"initial_speed": 0.0}]
    together, alone = [leaf([1.0]) for _ in options], [leaf([1.0]) for _ in options]
    joint = INNA(
        [{"params": [p], **o} for p, o in zip(together, options, strict=True)], lr=0.05, foreach=foreach
    )
    single = [INNA([p], **{"lr": 0.05, **o}) for p, o in zip(alone, options, strict=True)]
    for v in gradients(20, 1):
        for p in together + alone:
            p.grad = v.clone()
        for optimizer in (joint, *single):
            optimizer.step()
    assert [p.item() for p in together] == [p.item() for p in alone]


@BOTH
def test_maximize_climbs_as_minimising_the_opposite_descends(foreach):
    up, down = leaf([1.0] * 7), leaf([1.0] * 7)
    end = follow(INNA([up], maximize=True, foreach=foreach), up, gradients())
    assert torch.equal(end, follow(INNA([down], foreach=foreach), down, -gradients()))


@BOTH
def test_coupled_weight_decay_is_a_term_of_the_gradient(foreach):
    param, plain = leaf([1.0] * 7), leaf([1.0] * 7)
    a, b = INNA([param], weight_decay=0.3, foreach=foreach), INNA([plain], foreach=foreach)
    for v in gradients():
        param.grad, plain.grad = v.clone(), v + 0.3 * plain.detach()
        a.step()
        b.step()
    assert relative(param.detach(), plain.detach()) < 1e-13


@BOTH
def test_decoupled_weight_decay_shrinks_the_weights_and_leaves_the_momentum(foreach):
    param, plain = leaf([1.0] * 7), leaf([1.0] * 7)
    a = INNA([param], lr=0.1, weight_decay=0.3, decoupled_weight_decay=True, foreach=foreach)
    b = INNA([plain], lr=0.1, foreach=foreach)
    for v in gradients():
        param.grad, plain.grad = v.clone(), v.clone()
        with torch.no_grad():
            plain.mul_(1 - 0.1 * 0.3)
        a.step()
        b.step()
    assert relative(param.detach(), plain.detach()) < 1e-13
    assert torch.equal(a.state[param]["momentum_buffer"], b.state[plain]["momentum_buffer"])


@BOTH
def test_a_parameter_added_late_has_its_own_start(foreach):
    early, late, alone = leaf([1.0]), leaf([1.0]), leaf([1.0])
    optimizer = INNA([early], foreach=foreach)
    follow(optimizer, early, gradients(5, 1))
    optimizer.add_param_group({"params": [late]})
    fresh = INNA([alone], foreach=foreach)
    for v in gradients(5, 1):
        early.grad, late.grad, alone.grad = v.clone(), v.clone(), v.clone()
        optimizer.step()
        fresh.step()
    assert torch.equal(late.detach(), alone.detach())


@BOTH
def test_alpha_and_beta_may_change_in_mid_run_and_the_momentum_is_kept(foreach):
    vs = gradients(60)
    theta, u = torch.ones(7, dtype=torch.float64), 0.9 * vs[0]
    param = leaf([1.0] * 7)
    optimizer = INNA([param], lr=0.1, foreach=foreach)
    for k, v in enumerate(vs):
        alpha, beta = (0.5, 0.1) if k == 0 else (3 / (1 + 0.1 * k), 0.1 + 0.01 * k)
        optimizer.param_groups[0].update(alpha=alpha, beta=beta)
        param.grad = v.clone()
        optimizer.step()
        theta = theta - 0.1 * (u + beta * v)
        u = (1 - alpha * 0.1) * u + 0.1 * (1 - alpha * beta) * v
    assert relative(param.detach(), theta) < 1e-13


@BOTH
def test_state_dict_round_trip_continues_bit_for_bit(foreach, tmp_path):
    vs = gradients(40)
    straight, broken = leaf([1.0] * 7), leaf([1.0] * 7)
    follow(INNA([straight], foreach=foreach), straight, vs)
    first = INNA([broken], foreach=foreach)
    follow(first, broken, vs[:20])
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = INNA([broken], lr=99.0, foreach=foreach)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    follow(second, broken, vs[20:])
    assert torch.equal(straight, broken)


SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda k: 0.9**k),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "ConstantLR": lr_scheduler.ConstantLR,
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lr_scheduler.PolynomialLR,
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 20, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 3)]
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
}


def test_every_scheduler_of_torch_is_in_the_table():
    ours = {*SCHEDULERS, "LRScheduler"}
    assert {n for n in lr_scheduler.__all__ if n != "EPOCH_DEPRECATION_WARNING"} <= ours


@BOTH
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_sets_the_lr_of_the_step(name, foreach):
    param = leaf([1.0] * 7)
    optimizer = INNA([param], lr=0.05, foreach=foreach)
    scheduler = SCHEDULERS[name](optimizer)
    vs = gradients(12)
    theta, u, seen = torch.ones(7, dtype=torch.float64), 0.9 * vs[0], set()
    for v in vs:
        lr = optimizer.param_groups[0]["lr"]
        seen.add(lr)
        param.grad = v.clone()
        optimizer.step()
        theta, u = theta - lr * (u + 0.1 * v), (1 - 0.5 * lr) * u + lr * 0.95 * v
        scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
    assert len(seen) > 1
    assert relative(param.detach(), theta) < 1e-13


@pytest.mark.parametrize("option", ["lr", "alpha", "beta", "initial_speed", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_bad_number_is_refused_by_name(option, value):
    with pytest.raises(ValueError, match=f"{option} must be finite and non-negative, got"):
        INNA([leaf([1.0])], **{option: value})


def test_a_bad_number_in_a_group_is_refused():
    with pytest.raises(ValueError, match="alpha must be"):
        INNA([{"params": [leaf([1.0])], "alpha": -1.0}])


def test_no_parameters_are_refused():
    with pytest.raises(ValueError, match="empty parameter list"):
        INNA([])


def test_loop_and_foreach_take_lists_of_mixed_dtypes_and_shapes():
    ends = []
    for foreach in (False, True):
        generator = torch.Generator().manual_seed(1)
        dtypes, shapes = (torch.float64, torch.float32, torch.bfloat16), ((), (3,), (2, 0), (4, 5, 2))
        params = [torch.ones(s, dtype=d, requires_grad=True) for s, d in itertools.product(shapes, dtypes)]
        optimizer = INNA(params, foreach=foreach)
        for _ in range(5):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
            optimizer.step()
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b)


class Sign(INNA):
    """INNA's inertia along the signs of the gradient."""

    def directions(self, tensors, group, lr):
        return [grad.sign() for grad in tensors.grads]


@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"foreach": True, "capturable": True}], ids=str)
def test_a_subclass_drives_the_inertia_by_a_direction_of_its_own(flags):
    ours, theirs = leaf([1.0] * 7), leaf([1.0] * 7)
    a, b = Sign([ours], lr=0.01, **flags), INNA([theirs], lr=0.01, **flags)
    for v in gradients(20):
        ours.grad, theirs.grad = v.clone(), v.sign()
        a.step()
        b.step()
    assert torch.equal(ours, theirs)


def test_fused_refuses_a_direction_that_its_kernels_do_not_know():
    with pytest.raises(RuntimeError, match="directions of INNA and INNAprop only: use foreach=True"):
        Sign([leaf([1.0])], fused=True)


@pytest.mark.parametrize("adaptive", [False, True])
def test_foreach_step_is_the_step_of_the_optimizer(adaptive):
    cls = INNAprop if adaptive else INNA
    ours, theirs = torch.ones(7, dtype=torch.float64), leaf([1.0] * 7)
    options = {"lr": 0.05, "alpha": 0.5, "beta": 0.2, "initial_speed": 0.7, "weight_decay": 0.1}
    extra = {} if adaptive else {"decoupled_weight_decay": True}
    optimizer = cls([theirs], foreach=True, **options, **extra)
    u, s, step = torch.zeros_like(ours), torch.zeros_like(ours), torch.zeros(())
    for v in gradients(20):
        foreach_step([ours], [v], [u], [step], [s] if adaptive else None, **options)
        theirs.grad = v.clone()
        optimizer.step()
    assert torch.equal(ours, theirs.detach())
    assert torch.equal(u, optimizer.state[theirs]["momentum_buffer"])
    assert step == 20


@pytest.mark.parametrize("adaptive", [False, True])
def test_foreach_step_with_a_tensor_lr_is_the_same_and_reads_nothing_back(adaptive):
    options = {"alpha": 0.5, "beta": 0.2, "initial_speed": 0.7, "weight_decay": 0.1}

    def path(made):
        theta, *state = (torch.ones(7, dtype=torch.float64), *torch.zeros(2, 7, dtype=torch.float64))
        steps = [torch.zeros((), dtype=torch.int32)]
        for k, v in enumerate(gradients(20)):
            lr = 0.05 * (k != 3)  # at 0 nothing moves, whatever the gradient
            v = v if lr else v * math.nan
            squares = [state[1]] if adaptive else None
            with NothingReadBack() if made is torch.tensor else nullcontext():
                foreach_step([theta], [v], [state[0]], steps, squares, lr=made(lr), **options)
        return theta, *state, steps[0].double()

    for ours, theirs in zip(path(torch.tensor), path(float), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
