import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna import hyperparameters, reference, schedules
from inna.dynamics import (
    DIN,
    descent,
    energy,
    energy_bounds,
    energy_gradient,
    energy_rate,
    gradient_flow,
    kl_exponent,
    kl_rates,
    lambda_range,
    linear_rate,
    linearisation,
    measured_rate,
    newton_flow,
    on_quadratic,
    potential,
    potential_weights,
    power_law,
    proof_constants,
    refine,
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


def test_the_maps_between_the_two_forms_undo_each_other() -> None:
    problem = SMOOTH[3]
    alpha, beta = np.array([0.5, 1.0, 0.3]), np.array([0.1, 1.0, 2.0])
    din = DIN(problem.gradient, alpha, beta)
    theta, velocity = np.random.default_rng(0).normal(size=(2, 3, 2))
    psi = din.phase(theta, velocity)
    v, a, b = problem.gradient(theta), alpha[:, None], beta[:, None]
    np.testing.assert_allclose(psi, -b * velocity - b**2 * v - (a * b - 1) * theta, rtol=1e-12)
    np.testing.assert_allclose(din.velocity(theta, psi), velocity, rtol=1e-9)


def test_the_speed_is_the_length_of_the_paths_derivative() -> None:
    problem, h = SMOOTH[2], 1e-4
    path = DIN(problem.gradient, 0.5, 0.1).solve(problem.start, [0.0, 1 - h, 1.0, 1 + h])
    assert path.speed[2] == pytest.approx(np.linalg.norm(path.theta[3] - path.theta[1]) / (2 * h), rel=1e-6)


@each_setting
def test_a_critical_point_with_its_psi_is_at_rest_and_no_other_point_is(alpha: float, beta: float) -> None:
    problem = SMOOTH[2]
    din = DIN(problem.gradient, alpha, beta)
    for critical in ([0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]):
        theta = np.array(critical)
        psi = din.rest_phase(theta)
        path = din.solve(theta, [0.0, 10.0], psi=psi)
        np.testing.assert_allclose(path.theta[-1], theta, atol=1e-9)
        assert path.speed.max() < 1e-9
        assert np.linalg.norm(din.velocity(theta, psi + 0.1)) > 0.05 / beta
    elsewhere = np.array([0.5, 0.0])
    assert np.linalg.norm(din.velocity(elsewhere, din.rest_phase(elsewhere))) > 0.3 * beta


@each_objective
def test_bounded_trajectories_come_to_rest(problem: Smooth) -> None:
    din = DIN(problem.gradient, 0.5, 0.1)
    end = din.solve(problem.start, [0.0, 200.0], rtol=1e-9, atol=1e-12)
    assert np.linalg.norm(problem.gradient(end.theta[-1])) < 1e-7
    np.testing.assert_allclose(end.psi[-1], din.rest_phase(end.theta[-1]), atol=1e-7)


@each_setting
def test_the_gradient_of_the_energy(alpha: float, beta: float) -> None:
    problem, h = SMOOTH[3], 1e-6
    theta, psi = np.random.default_rng(1).normal(size=(2, 2))

    def value(point: Array) -> float:
        u = reference.momentum_from_psi(point[:2], point[2:], alpha=alpha, beta=beta)
        return float(energy(problem.objective(point[:2]), u, alpha, beta))

    point = np.concatenate([theta, psi])
    numeric = [(value(point + h * e) - value(point - h * e)) / (2 * h) for e in np.eye(4)]
    u = reference.momentum_from_psi(theta, psi, alpha=alpha, beta=beta)
    np.testing.assert_allclose(energy_gradient(problem.gradient(theta), u, alpha, beta), numeric, rtol=1e-6)


@each_setting
def test_coercive_objectives_keep_trajectories_bounded(alpha: float, beta: float) -> None:
    rng = np.random.default_rng(2)
    smooth, kinked = SMOOTH[2], np.abs
    for system in (
        DIN(smooth.gradient, alpha, beta, smooth.objective),
        DIN(np.sign, alpha, beta, lambda p: kinked(p).sum(-1)),
    ):
        assert system.objective is not None
        starts, u = rng.normal(size=(2, 20, 2))
        psi = reference.psi_from_momentum(starts, 3 * u, alpha=alpha, beta=beta)
        path = system.euler(starts, 1e-3, 10_000, psi=psi, every=10)
        height, momentum = energy_bounds(system.objective(starts), path.u[0], alpha, beta, infimum=0.0)
        slack = 1 + 2e-2  # of the Euler step
        assert (path.objective <= height * slack).all()
        assert (np.linalg.norm(path.u, axis=-1) <= momentum * slack + 1e-2).all()
        assert (path.objective.max(0) > system.objective(starts)).any()  # it does rise at times


SETTINGS_ABOVE_1 = [(2.0, 1.0), (1.1, 1.0), (0.5, 8.0)]


@each_objective
@pytest.mark.parametrize(("alpha", "beta"), SETTINGS_ABOVE_1)
def test_above_alpha_beta_1_the_system_follows_a_potential(
    problem: Smooth, alpha: float, beta: float
) -> None:
    path = DIN(problem.gradient, alpha, beta, problem.objective).solve(
        problem.start, np.linspace(0, 5, 51), method="Radau", rtol=1e-9
    )

    def phi(state: Array) -> Array:
        return potential(problem.objective(state[..., :2]), state[..., :2], state[..., 2:], alpha, beta)

    states, h = np.concatenate([path.theta, path.psi], -1), 1e-5
    slope = np.stack([(phi(states + h * e) - phi(states - h * e)) / (2 * h) for e in np.eye(4)], -1)
    weights = np.repeat(potential_weights(alpha, beta), 2)
    motion = np.concatenate([path.velocity, -path.u], -1)
    np.testing.assert_allclose(-weights * slope, motion, rtol=1e-5, atol=1e-6 * np.abs(motion).max())
    assert (np.diff(phi(states)) < 0).all()
    low, high = lambda_range(alpha, beta)
    assert low <= alpha * beta - 1 <= high
    np.testing.assert_allclose(phi(states), path.energy(alpha * beta - 1) / (alpha - 1 / beta), rtol=1e-12)


def test_in_the_metric_of_the_potential_every_linearisation_is_symmetric() -> None:
    for alpha, beta in SETTINGS_ABOVE_1:
        metric = np.diag(1 / np.array(potential_weights(alpha, beta)))
        for curvature in (-1.0, 0.3, 20.0):
            matrix = metric @ linearisation(curvature, alpha, beta)
            np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_at_alpha_beta_1_no_metric_makes_it_a_gradient_system(beta: float) -> None:
    with pytest.raises(ValueError, match="alpha beta > 1 only, got 1"):
        potential_weights(1 / beta, beta)
    block = linearisation(1 / beta**2, 1 / beta, beta) + np.eye(2) / beta
    assert np.abs(block).max() > 0.1  # one eigenvalue, -1/beta, twice
    np.testing.assert_allclose(block @ block, 0, atol=1e-12)  # and one eigenvector only
    x, _ = on_quadratic(1 / beta**2, 1 / beta, beta, 1.0, np.array([20.0, 40.0]) * beta, initial_speed=0.0)
    assert x[1] / x[0] * np.exp(20) == pytest.approx(41 / 21)  # so it falls like t exp(-t/beta)


@each_setting
def test_the_linearisation_has_the_roots_of_the_rates(alpha: float, beta: float) -> None:
    for curvature in (-2.0, 0.5, 30.0):
        roots = np.linalg.eigvals(linearisation(curvature, alpha, beta))
        np.testing.assert_allclose(roots**2 + (alpha + beta * curvature) * roots + curvature, 0, atol=1e-9)
        if curvature > 0:
            assert linear_rate(curvature, alpha, beta) == pytest.approx(2 * roots.real.max(), rel=1e-9)


@pytest.mark.parametrize("problem", SMOOTH[1:], ids=lambda p: p.name)
@each_setting
def test_objective_and_trajectory_fall_at_the_predicted_linear_rates(
    problem: Smooth, alpha: float, beta: float
) -> None:
    din = DIN(problem.gradient, alpha, beta, problem.objective)
    minimum = din.solve(problem.start, [0.0, 500.0]).theta[-1]
    rate = linear_rate(np.linalg.eigvalsh(problem.hessian(minimum)), alpha, beta)
    times = np.linspace(0, 40 / abs(rate), 1201)
    path = din.solve(problem.start, times)
    gap = path.objective - problem.objective(minimum)
    distance = np.linalg.norm(path.theta - minimum, axis=-1)
    tail = (0.4, 0.8)
    assert measured_rate(times, gap, tail=tail) == pytest.approx(rate, rel=0.12)
    assert measured_rate(times, distance, tail=tail) == pytest.approx(rate / 2, rel=0.12)


@pytest.mark.parametrize("c", [3, 4, 6])
def test_theorem_4_2_on_a_power(c: int) -> None:
    alpha, beta = 0.5, 0.1
    din = DIN(
        lambda p: c * np.abs(p) ** (c - 1) * np.sign(p), alpha, beta, lambda p: (np.abs(p) ** c).sum(-1)
    )
    t = np.concatenate([[0.0], np.geomspace(1, 1e5, 400)])
    path = din.solve([1.0], t, rtol=1e-9, atol=1e-15)
    values = path.energy()
    gradients = energy_gradient(din.gradient(path.theta), path.u, alpha, beta)
    velocities = np.concatenate([path.velocity, -path.u], -1)
    measured = descent(values, gradients, velocities)
    c1, c2 = proof_constants(alpha, beta)
    assert c1 <= measured.c1 < 1.01 * c1
    assert c2 <= measured.c2 < 1.01 * c2
    assert measured.exponent == pytest.approx(kl_exponent(c), abs=1e-3)
    exact = descent(values, gradients, velocities, exponent=kl_exponent(c))
    assert (values <= exact.value_bound(t) * (1 + 1e-9)).all()
    to_go = np.hypot(np.diff(path.theta[:, 0]), np.diff(path.psi[:, 0]))[::-1].cumsum()[::-1]
    assert (to_go <= exact.path_bound(values[:-1])).all()
    of_value, of_path = kl_rates(kl_exponent(c))
    late = (0.8, 1.0)
    assert measured_rate(t, values, "power", tail=late) == pytest.approx(-of_value, rel=0.01)
    assert measured_rate(t, np.abs(path.theta[:, 0]), "power", tail=late) == pytest.approx(-of_path, rel=0.01)
    assert (np.diff(t[200:] * path.objective[200:]) < 0).all()  # O(1/t), and o(1/t)


def test_theorem_4_2_on_the_gradient_flow() -> None:
    problem = SMOOTH[3]
    times = np.linspace(0, 24, 241)
    x = gradient_flow(problem.gradient, problem.start, times)
    slope = problem.gradient(x)
    values = problem.objective(x)
    found = descent(values, slope, -slope, exponent=0.5)
    assert (found.c1, found.c2) == pytest.approx((1, 1))
    assert (values <= found.value_bound(times) * (1 + 1e-9)).all()
    assert descent(values, slope, -slope).exponent == pytest.approx(0.5, abs=0.01)
    curvature = np.linalg.eigvalsh(problem.hessian(np.array([1.0, 1.0])))[0]
    assert measured_rate(times, values) == pytest.approx(-2 * curvature, rel=0.01)


def test_theorem_4_2_asks_for_descent() -> None:
    x = np.array([[1.0], [2.0]])
    with pytest.raises(ValueError, match="must decrease along the trajectory, got c1 = -1"):
        descent((x * x)[:, 0], 2 * x, 2 * x)
    with pytest.raises(ValueError, match=r"lie in \(0, 1\), got 1: does the trajectory come close"):
        descent((x * x)[:, 0], 2 * x, -2 * x, exponent=1.0)
    with pytest.raises(ValueError, match=r"above the limit 1\.0, got one at 1\.0"):
        descent((x * x)[:, 0], 2 * x, -2 * x, limit=1.0)


def test_rates_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lies in \(0, 1\), got 1"):
        kl_rates(1.0)
    with pytest.raises(ValueError, match="c > 1, got c 1"):
        kl_exponent(1.0)
    with pytest.raises(ValueError, match="two positive values"):
        measured_rate([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])


def valley(p: Array) -> Array:
    x, y = p[..., 0], p[..., 1]
    gap = y - np.abs(x)
    return np.stack([-20 * gap * np.sign(x) - np.sign(1 - x), 20 * gap], -1)


def test_the_euler_path_of_a_non_smooth_system_is_refined_until_it_no_longer_changes() -> None:
    din = DIN(valley, 0.5, 0.1)
    path = refine(din, [-1.0, 1.5], 3.0, tolerance=0.02)
    assert path.differences[-1] <= 0.02 < path.differences[-2]
    assert path.order == pytest.approx(1, abs=0.1)
    finer = din.euler([-1.0, 1.5], path.lr / 8, round(8 * 3.0 / path.lr))
    np.testing.assert_allclose(path.trajectory.theta[-1], finer.theta[-1], atol=0.02)
    np.testing.assert_allclose(path.trajectory.t, np.linspace(0, 3, 101), atol=1e-9)


def test_a_refinement_that_does_not_settle_says_so() -> None:
    with pytest.raises(RuntimeError, match="after 400 steps: raise max_steps or tolerance, or the solution"):
        refine(DIN(valley, 0.5, 0.1), [-1.0, 1.5], 5.0, tolerance=1e-9, max_steps=400)
    with pytest.raises(ValueError, match="duration and tolerance must be positive, got duration -1"):
        refine(DIN(np.sign), [1.0], -1.0)


@pytest.mark.parametrize("problem", SMOOTH[:2], ids=lambda p: p.name)
def test_as_alpha_grows_on_alpha_j_the_system_tends_to_its_limit_flow(problem: Smooth) -> None:
    times = np.linspace(0, 4, 41)

    def distance(alpha: float, beta: float, limit: Array) -> float:
        din = DIN(lambda x: alpha * problem.gradient(x), alpha, beta)
        path = din.solve(problem.start, times, initial_speed=1 / alpha, rtol=1e-9, atol=1e-11)
        return float(np.abs(path.theta - limit).max())

    to_gradient = gradient_flow(problem.gradient, problem.start, times)
    to_newton = newton_flow(problem.gradient, problem.hessian, 0.5, problem.start, times)
    for beta, limit in ((lambda a: 0.0, to_gradient), (lambda a: 0.5 / a, to_gradient)):
        assert distance(20, beta(20), limit) < 0.3
        assert distance(20, beta(20), limit) / distance(80, beta(80), limit) == pytest.approx(4, rel=0.15)
    assert distance(20, 0.5, to_newton) / distance(80, 0.5, to_newton) == pytest.approx(4, rel=0.15)
    assert distance(80, 0.5, to_gradient) > 0.1  # with beta fixed the gradient flow is not the limit


def test_the_dynamics_need_no_framework() -> None:
    code = "import sys, inna.dynamics; print({'torch', 'jax', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n"
