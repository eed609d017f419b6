"""The oracle itself: against hand computation, the momentum form, and the methods that INNA contains."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inna import hyperparameters
from inna.reference import initial_psi, inna_step, momentum_from_psi, momentum_step, psi_from_momentum

SETTINGS = [(0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0, 0.1)]

exact = st.fractions(min_value=-10, max_value=10, max_denominator=1000)
positive = st.fractions(min_value=Fraction(1, 1000), max_value=10, max_denominator=1000)


def constant_lr(lr: float) -> Callable[[int], float]:
    return lambda k: lr


def inna_path(
    theta: Any, psi: Any, gradients: Any, *, lr: Callable[[int], float], alpha: float, beta: float
) -> np.ndarray:
    path = []
    for k, v in enumerate(gradients):
        theta, psi = inna_step(theta, psi, v, lr=lr(k), alpha=alpha, beta=beta)
        path.append(theta)
    return np.array(path)


def random_problem(steps: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=7), rng.normal(size=(steps, 7))


def assert_same_path(path: np.ndarray, expected: np.ndarray, rel: float = 1e-12) -> None:
    assert np.abs(path - expected).max() <= rel * np.abs(expected).max()


def test_one_step_computed_by_hand() -> None:
    theta, psi = inna_step(
        np.array([1, -2, 0.5]),
        np.array([0.3, 0.1, -0.7]),
        np.array([0.2, -0.4, 1]),
        lr=0.01,
        alpha=0.5,
        beta=0.1,
    )
    np.testing.assert_allclose(theta, [1.0648, -2.1996, 0.6165], rtol=1e-14)
    np.testing.assert_allclose(psi, [0.365, -0.1, -0.5825], rtol=1e-14)


@given(theta=exact, psi=exact, v=exact, lr=positive, alpha=exact.map(abs), beta=positive)
def test_the_step_is_equation_12(
    theta: Fraction, psi: Fraction, v: Fraction, lr: Fraction, alpha: Fraction, beta: Fraction
) -> None:
    assert inna_step(theta, psi, v, lr=lr, alpha=alpha, beta=beta) == (
        theta + lr * ((1 / beta - alpha) * theta - psi / beta - beta * v),
        psi + lr * ((1 / beta - alpha) * theta - psi / beta),
    )


@given(theta=exact, psi=exact, v=exact, lr=positive, alpha=exact.map(abs), beta=positive)
def test_one_step_is_one_step_of_the_momentum_form_exactly(
    theta: Fraction, psi: Fraction, v: Fraction, lr: Fraction, alpha: Fraction, beta: Fraction
) -> None:
    u = momentum_from_psi(theta, psi, alpha=alpha, beta=beta)
    next_theta, next_psi = inna_step(theta, psi, v, lr=lr, alpha=alpha, beta=beta)
    next_u = momentum_from_psi(next_theta, next_psi, alpha=alpha, beta=beta)
    exactly = {"decay": Fraction(0), "start": Fraction(0)}
    ours = momentum_step(theta, u, v, lr=lr, alpha=alpha, beta=beta, **exactly)
    assert ours == (next_theta, next_u)


@given(theta=exact, v=exact, lr=positive, alpha=exact.map(abs), beta=positive, speed=exact)
def test_the_start_of_the_momentum_form_is_a_step_from_u_0(
    theta: Fraction, v: Fraction, lr: Fraction, alpha: Fraction, beta: Fraction, speed: Fraction
) -> None:
    numbers = {"lr": lr, "alpha": alpha, "beta": beta, "decay": Fraction(0)}
    start = speed - beta
    started = momentum_step(theta, Fraction(0), v, **numbers, start=start)
    assert started == momentum_step(theta, start * v, v, **numbers, start=Fraction(0))
    assert (started[0] - theta) / lr == -speed * v


@given(theta=exact, u=exact, v=exact, lr=positive, alpha=exact.map(abs), beta=positive, decay=positive)
def test_the_decay_of_the_momentum_form_shrinks_theta_and_leaves_the_momentum(
    theta: Fraction, u: Fraction, v: Fraction, lr: Fraction, alpha: Fraction, beta: Fraction, decay: Fraction
) -> None:
    numbers = {"lr": lr, "alpha": alpha, "beta": beta, "start": Fraction(0)}
    shrunk = momentum_step((1 - lr * decay) * theta, u, v, **numbers, decay=Fraction(0))
    assert momentum_step(theta, u, v, **numbers, decay=decay) == shrunk


@given(theta=exact, psi=exact, u=exact, alpha=exact.map(abs), beta=positive)
def test_conversions_between_psi_and_momentum_invert_each_other(
    theta: Fraction, psi: Fraction, u: Fraction, alpha: Fraction, beta: Fraction
) -> None:
    there = momentum_from_psi(theta, psi, alpha=alpha, beta=beta)
    assert psi_from_momentum(theta, there, alpha=alpha, beta=beta) == psi
    back = psi_from_momentum(theta, u, alpha=alpha, beta=beta)
    assert momentum_from_psi(theta, back, alpha=alpha, beta=beta) == u


@pytest.mark.parametrize("varying", [False, True], ids=["constant lr", "varying lr"])
@pytest.mark.parametrize(("alpha", "beta"), SETTINGS)
def test_momentum_form_equals_the_paper_over_1000_random_steps(
    alpha: float, beta: float, varying: bool
) -> None:
    rng = np.random.default_rng(1)
    theta, v_0, *gradients = rng.normal(size=(1002, 5))
    rates = rng.uniform(0, 0.1, size=1000) if varying else np.full(1000, 0.05)
    psi = initial_psi(theta, v_0, alpha=alpha, beta=beta)
    paper = inna_path(theta, psi, gradients, lr=lambda k: float(rates[k]), alpha=alpha, beta=beta)

    u, path = (1 - beta) * v_0, []
    for lr, v in zip(rates, gradients, strict=True):
        theta = theta - lr * (u + beta * v)
        u = (1 - alpha * lr) * u + lr * (1 - alpha * beta) * v
        path.append(theta)
    assert_same_path(np.array(path), paper)


@given(theta=exact, v=exact, alpha=exact.map(abs), beta=positive)
def test_the_default_start_is_section_5_2s(
    theta: Fraction, v: Fraction, alpha: Fraction, beta: Fraction
) -> None:
    printed = (1 - alpha * beta) * theta - (beta**2 - beta) * v
    assert initial_psi(theta, v, alpha=alpha, beta=beta, initial_speed=1) == printed
    assert initial_psi(float(theta), float(v), alpha=float(alpha), beta=float(beta)) == pytest.approx(
        float(printed), rel=1e-12, abs=1e-12
    )


@given(theta=exact, v=exact, lr=positive, alpha=exact.map(abs), beta=positive, speed=exact)
def test_the_initial_velocity_is_minus_speed_times_gradient(
    theta: Fraction, v: Fraction, lr: Fraction, alpha: Fraction, beta: Fraction, speed: Fraction
) -> None:
    psi = initial_psi(theta, v, alpha=alpha, beta=beta, initial_speed=speed)
    after, _ = inna_step(theta, psi, v, lr=lr, alpha=alpha, beta=beta)
    assert (after - theta) / lr == -speed * v


def test_the_speed_beta_is_a_start_without_momentum() -> None:
    psi = initial_psi(2.0, 3.0, alpha=0.5, beta=0.1, initial_speed=0.1)
    assert momentum_from_psi(2.0, psi, alpha=0.5, beta=0.1) == pytest.approx(0, abs=1e-14)


def test_the_quadratic_check_value() -> None:
    curvature, centre = np.array([1.0, 10.0, 100.0]), np.array([1.0, -1.0, 0.5])
    theta = np.zeros(3)
    psi = initial_psi(theta, curvature * (theta - centre), alpha=0.5, beta=0.1)
    for k in range(1000):
        gradient = curvature * (theta - centre)
        theta, psi = inna_step(theta, psi, gradient, lr=0.02 / np.sqrt(k + 1), alpha=0.5, beta=0.1)
    np.testing.assert_allclose(theta, [1.20556682347097, -0.573706044550417, 0.491689477356648], rtol=1e-10)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0), (10.0, 0.1)])
def test_alpha_beta_one_without_momentum_is_gradient_descent(alpha: float, beta: float) -> None:
    theta, gradients = random_problem()
    psi = initial_psi(theta, gradients[0], alpha=alpha, beta=beta, initial_speed=beta)
    path = inna_path(theta, psi, gradients, lr=constant_lr(0.05), alpha=alpha, beta=beta)
    assert_same_path(path, theta - 0.05 * beta * np.cumsum(gradients, axis=0))


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "nesterov"])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 2.0])
def test_inna_contains_sgd_with_momentum_in_the_form_of_torch(alpha: float, nesterov: bool) -> None:
    lr = 0.1
    beta = lr * (2 - alpha * lr) if nesterov else lr
    theta, gradients = random_problem()
    psi = initial_psi(theta, gradients[0], alpha=alpha, beta=beta, initial_speed=beta)
    path = inna_path(theta, psi, gradients, lr=constant_lr(lr), alpha=alpha, beta=beta)

    momentum, buffer, expected = 1 - alpha * lr, np.zeros(7), []
    for v in gradients:
        buffer = momentum * buffer + v
        theta = theta - lr**2 * (v + momentum * buffer if nesterov else buffer)
        expected.append(theta)
    assert_same_path(path, np.array(expected))


@pytest.mark.parametrize("speed", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.1), (0.5, 0.1), (0.5, 1.0), (2.0, 1.0)])
def test_inna_is_quasi_hyperbolic_momentum(alpha: float, beta: float, speed: float) -> None:
    theta, gradients = random_problem()
    psi = initial_psi(theta, gradients[0], alpha=alpha, beta=beta, initial_speed=speed)
    path = inna_path(theta, psi, gradients, lr=constant_lr(0.1), alpha=alpha, beta=beta)

    lr, momentum, nu = hyperparameters.quasi_hyperbolic(0.1, alpha, beta)
    average, expected = alpha * (speed - beta) * gradients[0] / (1 - alpha * beta), []
    for v in gradients:
        average = momentum * average + (1 - momentum) * v
        theta = theta - lr * ((1 - nu) * v + nu * average)
        expected.append(theta)
    assert_same_path(path, np.array(expected))


@pytest.mark.parametrize("kappa", [0.01, 9.0, 1000.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (0.5, 0.5), (2.0, 1.0)])
def test_scaling_the_objective_rescales_the_hyperparameters(alpha: float, beta: float, kappa: float) -> None:
    root, speed = np.sqrt(kappa), 0.7
    theta, gradients = random_problem()
    rates = np.random.default_rng(2).uniform(0, 0.1, size=len(gradients)) / root

    psi = initial_psi(theta, kappa * gradients[0], alpha=alpha, beta=beta, initial_speed=speed)
    of_kappa_j = inna_path(
        theta, psi, kappa * gradients, lr=lambda k: float(rates[k]), alpha=alpha, beta=beta
    )

    scaled = {"alpha": alpha / root, "beta": beta * root}
    same_psi = initial_psi(theta, gradients[0], initial_speed=speed * root, **scaled)
    of_j = inna_path(theta, same_psi, gradients, lr=lambda k: float(rates[k] * root), **scaled)

    np.testing.assert_allclose(same_psi, psi, rtol=1e-12)
    assert_same_path(of_j, of_kappa_j)


def test_arguments_are_not_modified() -> None:
    arrays = np.random.default_rng(3).normal(size=(3, 4))
    arrays.flags.writeable = False
    theta, psi, v = arrays
    inna_step(theta, psi, v, lr=0.1, alpha=0.5, beta=0.1)
    initial_psi(theta, v, alpha=0.5, beta=0.1)
    psi_from_momentum(theta, v, alpha=0.5, beta=0.1)
    momentum_from_psi(theta, psi, alpha=0.5, beta=0.1)


def test_a_step_with_lr_0_changes_nothing() -> None:
    assert inna_step(1.5, -0.3, 7.0, lr=0.0, alpha=0.5, beta=0.1) == (1.5, -0.3)


def test_python_floats_stay_python_floats() -> None:
    results = [
        *inna_step(1.0, 0.3, 0.2, lr=0.01, alpha=0.5, beta=0.1),
        initial_psi(1.0, 0.2, alpha=0.5, beta=0.1),
        psi_from_momentum(1.0, 0.2, alpha=0.5, beta=0.1),
        momentum_from_psi(1.0, 0.2, alpha=0.5, beta=0.1),
    ]
    assert [type(result) for result in results] == [float] * 5
    assert results[:2] == pytest.approx([1.0648, 0.365], rel=1e-14)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_keep_their_shape_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    theta: np.ndarray = np.ones(shape, dtype)
    psi = initial_psi(theta, theta, alpha=0.5, beta=0.1)
    theta, psi = inna_step(theta, psi, theta, lr=0.1, alpha=0.5, beta=0.1)
    assert theta.shape == psi.shape == shape
    assert theta.dtype == psi.dtype == dtype


def test_the_papers_form_does_not_exist_at_beta_0() -> None:
    with pytest.raises(ZeroDivisionError):
        inna_step(1.0, 1.0, 1.0, lr=0.1, alpha=0.5, beta=0)
