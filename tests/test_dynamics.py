from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna import hyperparameters, reference, schedules
from inna.dynamics import (
    DIN,
    energy_rate,
    lambda_range,
    linear_rate,
    on_quadratic,
    power_law,
    proof_constants,
)

Array = NDArray[np.float64]
SETTINGS = [(0.5, 0.1), (1.0, 1.0), (0.3, 2.0)]


@dataclass(frozen=True)
class Smooth:
    """A twice differentiable objective in two variables."""

    name: str
    objective: Callable[[Array], Array]
    gradient: Callable[[Array], Array]
    hessian: Callable[[Array], Array]
    start: tuple[float, float]


SMOOTH = [
    Smooth(
        "quadratic",
        lambda p: p[..., 0] ** 2 / 2 + 5 * p[..., 1] ** 2,
        lambda p: np.stack([p[..., 0], 10 * p[..., 1]], -1),
        lambda p: np.diag([1.0, 10.0]),
        (1.0, -0.5),
    ),
    Smooth(
        "logistic",
        lambda p: np.logaddexp(0, p[..., 0] + p[..., 1]) + np.square(p).sum(-1) / 2,
        lambda p: p + (1 / (1 + np.exp(-p[..., 0] - p[..., 1])))[..., None],
        lambda p: (
            np.eye(2) + np.ones((2, 2)) * (lambda s: s * (1 - s))(1 / (1 + np.exp(-p[..., 0] - p[..., 1])))
        ),
        (1.0, 2.0),
    ),
    Smooth(
        "double well (non-convex)",
        lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4 + p[..., 1] ** 2 / 2,
        lambda p: np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1),
        lambda p: np.diag([3 * p[..., 0] ** 2 - 1, 1.0]),
        (0.1, 1.0),
    ),
    Smooth(
        "Rosenbrock (non-convex)",
        lambda p: (1 - p[..., 0]) ** 2 + 5 * (p[..., 1] - p[..., 0] ** 2) ** 2,
        lambda p: np.stack(
            [
                2 * (p[..., 0] - 1) - 20 * p[..., 0] * (p[..., 1] - p[..., 0] ** 2),
                10 * (p[..., 1] - p[..., 0] ** 2),
            ],
            -1,
        ),
        lambda p: np.array(
            [[2 - 20 * p[1] + 60 * p[0] ** 2, -20 * p[0]], [-20 * p[0], 10.0]],
        ),
        (-0.5, 0.8),
    ),
]
each_objective = pytest.mark.parametrize("problem", SMOOTH, ids=lambda p: p.name)
each_setting = pytest.mark.parametrize(("alpha", "beta"), SETTINGS)


@each_objective
@each_setting
def test_the_energies_change_as_corrected_and_not_as_printed(
    problem: Smooth, alpha: float, beta: float
) -> None:
    h = 1e-3
    times = np.concatenate([[0.0], (np.linspace(0.2, 4, 20)[:, None] + h * np.arange(-2, 3)).ravel()])
    path = DIN(problem.gradient, alpha, beta, problem.objective).solve(problem.start, times)
    velocity, v = path.velocity[1:][2::5], problem.gradient(path.theta[1:][2::5])
    scale = alpha * np.square(velocity).sum(-1) + beta * np.square(v).sum(-1)
    low, high = lambda_range(alpha, beta)
    numeric = {}
    for lam in (low, high, None):
        values = path.energy(lam)[1:].reshape(-1, 5)
        numeric[lam] = values @ np.array([1, -8, 0, 8, -1]) / (12 * h)
        exact = energy_rate(velocity, v, alpha, beta, lam)
        assert (np.abs(numeric[lam] - exact) <= 1e-6 * scale).all()
    squares = [-np.square(np.sqrt(alpha) * velocity + sign * np.sqrt(beta) * v).sum(-1) for sign in (1, -1)]
    np.testing.assert_allclose(energy_rate(velocity, v, alpha, beta, low), squares[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(energy_rate(velocity, v, alpha, beta, high), squares[1], rtol=1e-9, atol=1e-12)
    printed = squares[1]  # what (20) prints for E_min
    assert (np.abs(numeric[low] - printed) / scale).max() > 0.2


@each_objective
@each_setting
def test_the_second_order_form_is_the_same_system(problem: Smooth, alpha: float, beta: float) -> None:
    times = np.linspace(0, 5, 51)
    din = DIN(problem.gradient, alpha, beta)
    first = din.solve(problem.start, times)
    second = din.solve_second_order(problem.start, times, lambda x, w: problem.hessian(x) @ w)
    np.testing.assert_allclose(first.theta, second.theta, atol=1e-8)
    np.testing.assert_allclose(first.psi, second.psi, atol=1e-8)


@pytest.mark.parametrize(
    ("curvature", "alpha", "beta", "x", "t", "position", "psi"),
    [
        (1, 0.5, 0.1, 1, 2, -0.5615653001822554, -0.5080170723865283),
        (4, 0.5, 0.5, 1, 1, -0.501894158401421, 0.03919309305046),
        (10, 2, 1, -2, 0.7, -0.115467600761191, 1.1584208244925),
    ],
)
def test_exact_solutions(
    curvature: float, alpha: float, beta: float, x: float, t: float, position: float, psi: float
) -> None:
    exact_x, exact_u = on_quadratic(curvature, alpha, beta, x, t)
    assert exact_x == pytest.approx(position, abs=1e-10)
    assert reference.psi_from_momentum(exact_x, exact_u, alpha=alpha, beta=beta) == pytest.approx(
        psi, abs=1e-10
    )
    solved = DIN(lambda p: curvature * p, alpha, beta).solve([x], [0.0, t])
    assert solved.theta[-1, 0] == pytest.approx(position, abs=1e-10)
    assert solved.psi[-1, 0] == pytest.approx(psi, abs=1e-10)


def test_the_exact_solution_at_and_near_critical_damping() -> None:
    for alpha in (1.0, 1.0 + 1e-9, 1.0 - 1e-6):
        x, u = on_quadratic(1.0, alpha, 1.0, 1.0, 3.0)
        solved = DIN(lambda p: p, alpha, 1.0).solve([1.0], [0.0, 3.0])
        assert (x, u) == pytest.approx((solved.theta[-1, 0], solved.u[-1, 0]), abs=1e-9)


def test_euler_converges_with_order_one() -> None:
    exact, _ = on_quadratic(4.0, 0.5, 0.5, 1.0, 1.0)
    din = DIN(lambda p: 4 * p, 0.5, 0.5)
    errors = [abs(din.euler([1.0], 1 / n, n).theta[-1, 0] - exact) for n in (500, 1000, 2000)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.01)


def test_euler_is_the_papers_recursion_for_a_whole_batch_at_once() -> None:
    rng = np.random.default_rng(0)
    curvatures = np.array([1.0, 10.0, 100.0])
    alpha, beta, lr = np.array([[0.1], [0.5]]), np.array([0.05, 0.1, 0.5]), 0.01
    starts = rng.normal(size=(2, 3, 3))
    path = DIN(lambda p: curvatures * p, alpha, beta).euler(
        starts, lr, 200, schedule=schedules.power(0.5), every=50
    )
    assert path.theta.shape == (5, 2, 3, 3)
    for i, j in np.ndindex(2, 3):
        a, b = alpha[i, 0], beta[j]
        theta = starts[i, j]
        psi = reference.initial_psi(theta, curvatures * theta, alpha=a, beta=b)
        for k in range(200):
            step = lr * (k + 1) ** -0.5
            theta, psi = reference.inna_step(theta, psi, curvatures * theta, lr=step, alpha=a, beta=b)
        np.testing.assert_allclose(path.theta[-1, i, j], theta, rtol=1e-10)
        np.testing.assert_allclose(path.psi[-1, i, j], psi, rtol=1e-10)


@pytest.mark.parametrize(
    ("alpha", "beta", "c1", "c2"),
    [(0.5, 0.1, 0.0011755975625177, 8.6337579594968), (1, 1, 0.0954915028125263, 1.3694832979642)],
)
def test_the_constants_of_the_proof(alpha: float, beta: float, c1: float, c2: float) -> None:
    assert proof_constants(alpha, beta) == pytest.approx((c1, c2), rel=1e-10)


@each_setting
def test_the_constants_of_the_proof_are_the_largest(alpha: float, beta: float) -> None:
    c1, c2 = proof_constants(alpha, beta)
    angle = np.linspace(0, np.pi, 100_001)
    velocity, v = np.cos(angle), np.sin(angle)
    u = -velocity - beta * v
    d_energy = np.hypot(2 * (1 + alpha * beta) * v + 2 * (alpha - 1 / beta) * u, 2 * u / beta)
    rate = energy_rate(velocity[:, None], v[:, None], alpha, beta)
    assert (-rate / d_energy**2).min() == pytest.approx(c1, rel=1e-5)
    assert (d_energy / np.hypot(velocity, u)).min() == pytest.approx(c2, rel=1e-5)


@each_setting
def test_the_linear_rate_is_measured(alpha: float, beta: float) -> None:
    curvatures = np.array([0.5, 4.0])
    rate = linear_rate(curvatures, alpha, beta)
    t = np.linspace(0, 60 / abs(rate), 60_001)
    x, _ = on_quadratic(curvatures, alpha, beta, 1.0, t[:, None])
    objective = (curvatures * x**2 / 2).sum(-1)
    envelope = np.maximum.accumulate(objective[::-1])[::-1]  # oscillations touch 0
    half, end = 30_000, 54_000
    measured = np.log(envelope[end] / envelope[half]) / (t[end] - t[half])
    assert measured == pytest.approx(rate, rel=0.05)


def test_the_linear_rate_is_that_of_the_multipliers_for_small_steps() -> None:
    step = 1e-6
    largest = max(abs(m) for m in hyperparameters.multipliers(step, 0.5, 0.1, 7.0))
    assert 2 * np.log(largest) / step == pytest.approx(linear_rate(7.0, 0.5, 0.1), rel=1e-4)


@pytest.mark.parametrize(("c", "limit"), [(3, 0.00462962963), (4, 0.00390625), (6, 0.00300703265)])
def test_the_power_law_is_reached(c: float, limit: float) -> None:
    exponent, predicted = power_law(c, 0.5)
    assert predicted == pytest.approx(limit, rel=1e-8)
    din = DIN(lambda p: c * np.abs(p) ** (c - 1) * np.sign(p), 0.5, 0.1, lambda p: (np.abs(p) ** c).sum(-1))
    path = din.solve([1.0], [0.0, 1e5], rtol=1e-9, atol=1e-15)
    assert 1e5**exponent * path.objective[-1] == pytest.approx(predicted, rel=0.01)


def test_a_psi_or_a_speed_starts_the_system() -> None:
    din = DIN(lambda p: 3 * p, 0.5, 0.1)
    theta = np.array([2.0, -1.0])
    path = din.solve(theta, [0.0, 1.0], initial_speed=0.4)
    np.testing.assert_allclose(path.velocity[0], -0.4 * 3 * theta)
    again = din.solve(theta, [0.0, 1.0], psi=path.psi[0])
    np.testing.assert_allclose(again.theta, path.theta, rtol=1e-9)


@pytest.mark.parametrize("bad", [{"alpha": -1.0}, {"beta": np.array([0.1, np.nan])}])
def test_bad_damping_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be finite and non-negative"):
        DIN(lambda p: p, **bad)


def test_energies_need_the_objective() -> None:
    with pytest.raises(ValueError, match="objective="):
        DIN(lambda p: p).euler([1.0], 0.1, 2).energy()
    with pytest.raises(ValueError, match="c > 2"):
        power_law(2, 0.5)
