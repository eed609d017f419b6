"""Theorem 3.1 and the avoidance of saddles by Monte Carlo; alpha and beta that vary in time."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.dynamics import DIN, energy_rate, measured_rate, saddle_escapes, stochastic_limits
from inna.nonsmooth import FiniteSum, ReluNetwork
from inna.schedules import Schedule, constant, power

Array = NDArray[np.float64]


def network() -> tuple[ReluNetwork, Array]:
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(20, 2)), np.ones(20)]
    J = ReluNetwork(x, np.abs(x[:, 0]) + 0.5 * rng.normal(size=20), hidden=4)
    return J, rng.normal(size=(2, J.size)) / 2


def limits(lr: float, schedule: Schedule) -> tuple[Array, Array]:
    J, starts = network()
    found = stochastic_limits(
        J, lambda x, n: J.gradient(x, [n]), 20, starts, lr=lr, schedule=schedule, steps=(100, 1000, 10_000)
    )
    assert str(found).count("\n") == 3
    return found.near.mean(1), found.swing.mean(1)


def test_admissible_steps_lead_to_d_critical_points_and_j_converges() -> None:
    near, swing = limits(0.1, power(1 / 2))
    assert near[0] > near[1] > near[2]
    assert near[2] < near[0] / 5
    assert swing[2] < swing[0] / 5


def test_other_steps_do_not() -> None:
    near, swing = limits(0.05, constant())
    assert swing[2] > 0.03  # it never settles
    near, swing = limits(0.05, power(2))
    assert swing[2] < 1e-3  # it stops ...
    assert near[2] > 0.2  # ... short


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (1.0, 2.0), (0.1, 0.01)])
def test_a_strict_saddle_is_left_at_the_rate_of_its_positive_root(alpha: float, beta: float) -> None:
    found = saddle_escapes(
        lambda p: np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1),
        [0.0, 0.0],
        [-1.0, 1.0],
        alpha=alpha,
        beta=beta,
        spread=1e-6,
        lr=0.005,
        steps=8000,
    )
    assert found.share == 1
    typical = np.median(found.distance, axis=1)
    growing = (typical > 1e-4) & (typical < 1e-2)
    rate = np.polyfit(found.t[growing], np.log(typical[growing]), 1)[0]
    assert rate == pytest.approx(found.rate, rel=0.02)


def test_only_the_stable_manifold_leads_to_the_saddle() -> None:
    def gradient(p: Array) -> Array:
        return np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1)

    end = DIN(gradient).euler([0.0, 1.0], 0.02, 10_000, every=10_000).theta[-1]
    np.testing.assert_allclose(end, 0, atol=1e-9)


def test_a_minimum_is_no_saddle() -> None:
    with pytest.raises(ValueError, match=r"a strict saddle has a negative curvature, got \[1.0, 2.0\]"):
        saddle_escapes(lambda p: p, [0.0, 0.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"steps must increase, got \(10, 5\)"):
        stochastic_limits(
            lambda x: 0.0, lambda x, n: x, 1, [[1.0]], lr=0.1, schedule=constant(), steps=(10, 5)
        )


# alpha(t) and beta(t), Section 5.1.


def power_of(c: float, alpha: object, beta: object) -> DIN:
    return DIN(
        lambda p: c * np.abs(p) ** (c - 1) * np.sign(p), alpha, beta, lambda p: (np.abs(p) ** c).sum(-1)
    )


def test_a_constant_function_of_the_time_is_a_constant() -> None:
    t = np.linspace(0, 5, 51)
    varying = power_of(2, lambda t: 0.5, lambda t: 0.1).solve([1.0], t)
    fixed = power_of(2, 0.5, 0.1).solve([1.0], t)
    np.testing.assert_allclose(varying.theta, fixed.theta, atol=1e-10)
    np.testing.assert_allclose(varying.energy(), fixed.energy(), rtol=1e-9)
    np.testing.assert_allclose(varying.psi, fixed.psi, atol=1e-10)
    np.testing.assert_allclose(varying.velocity, fixed.velocity, atol=1e-10)
    euler, same = (power_of(2, a, 0.1).euler([1.0], 0.01, 50) for a in (lambda t: 0.5, 0.5))
    np.testing.assert_allclose(euler.theta, same.theta, rtol=1e-12)


def test_the_second_order_form_with_varying_damping() -> None:
    """theta'' + alpha theta' + beta Hess J theta' + (1 + beta') grad J = 0 along the path of (5)."""
    h = 1e-4

    def alpha(t: float) -> float:
        return 3 / (1 + t)

    def beta(t: float) -> float:
        return float(0.2 + 0.1 * np.sin(t))

    t = np.array([0.0, 1 - h, 1.0, 1 + h])
    x = power_of(2, alpha, beta).solve([1.0], t).theta[:, 0]
    velocity, acceleration = (x[3] - x[1]) / (2 * h), (x[3] - 2 * x[2] + x[1]) / h**2
    left = acceleration + alpha(1.0) * velocity + beta(1.0) * 2 * velocity
    assert left + (1 + 0.1 * np.cos(1.0)) * 2 * x[2] == pytest.approx(0, abs=1e-4)


def test_the_energy_inequality_with_varying_damping() -> None:
    h = 1e-3

    def alpha(t: Any) -> Any:
        return 3 / (1 + t)

    t = np.concatenate([[0.0], (np.linspace(0.2, 8, 30)[:, None] + h * np.arange(-2, 3)).ravel()])
    path = power_of(2, alpha, 0.3).solve([1.0], t)
    measured = path.energy()[1:].reshape(-1, 5) @ np.array([1, -8, 0, 8, -1]) / (12 * h)
    middle = slice(3, None, 5)
    v = path.system.gradient(path.theta[middle])
    constant_part = energy_rate(path.velocity[middle], v, alpha(path.t[middle]), 0.3)
    drift = 2 * 0.3 * -3 / (1 + path.t[middle]) ** 2 * path.objective[middle]  # 2 (alpha beta)' J <= 0
    np.testing.assert_allclose(measured, constant_part + drift, rtol=1e-6, atol=1e-9)
    assert (np.diff(path.energy()) < 0).all()


@pytest.mark.parametrize("c", [4, 6])
def test_nesterovs_damping_gives_one_over_t_squared_where_a_constant_one_does_not(c: float) -> None:
    t = np.geomspace(1, 3000, 400)
    times = [0.0, *t]
    late = (0.5, 0.95)
    nesterov = power_of(c, lambda s: 3.1 / (1 + s), 0.1).solve([1.0], times, rtol=1e-9, initial_speed=0.1)
    fixed = power_of(c, 0.5, 0.1).solve([1.0], times, rtol=1e-9, initial_speed=0.1)
    assert measured_rate(t, nesterov.objective[1:], "power", tail=late) < -2
    assert (t**2 * nesterov.objective[1:]).max() < 2 * 3.1**2
    if c == 6:  # power_law: in the end -3/2
        assert measured_rate(t, fixed.objective[1:], "power", tail=late) > -1.6


def test_the_second_order_solver_asks_for_constants() -> None:
    with pytest.raises(ValueError, match="needs a constant alpha and beta"):
        power_of(2, lambda t: 1.0, 0.1).solve_second_order([1.0], [0.0, 1.0], lambda x, w: 2 * w)


def test_the_inclusion_with_varying_damping_passes_its_check() -> None:
    din = DIN.of(FiniteSum([lambda x: abs(x[0])]), lambda t: 3 / (1 + t), 0.1)
    path = din.solve_inclusion([1.0], np.linspace(0, 5, 501))
    assert din.check(path).residual < 1e-4
    assert (np.diff(path.energy()) < 1e-9).all()
