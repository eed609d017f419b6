"""Theorem 3.1 made visible: mini-batch INNA on non-smooth sums, with admissible steps and with others."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.dynamics import DIN, shadow_distance
from inna.nonsmooth import FiniteSum, ReluNetwork, goldstein, is_d_critical
from inna.schedules import Schedule, admissible, constant, power

Array = NDArray[np.float64]

# The sum of |theta - y_n|, one term a step: its minimum is the median.

TARGETS = np.array([0.0, 1.0, 2.0, 5.0, 9.0])


def last_tenth_of_medians(lr: float, schedule: Schedule, steps: int = 200_000) -> Array:
    """The last tenth of theta_k for five seeds."""
    draws = np.stack([np.random.default_rng(seed).integers(5, size=steps + 1) for seed in range(5)], -1)
    terms = iter(draws)
    din = DIN(lambda theta: np.sign(theta - TARGETS[next(terms)][:, None]))
    path = din.euler(np.full((5, 1), 6.0), lr, steps, schedule=schedule)
    return path.theta[-steps // 10 :, :, 0]


def test_with_admissible_steps_inna_finds_the_median() -> None:
    assert admissible(power(1 / 2))
    theta = last_tenth_of_medians(0.5, power(1 / 2))
    assert theta.shape == (20_000, 5)
    assert np.abs(theta - 2).max() < 0.02


def test_with_constant_steps_it_does_not() -> None:
    assert not admissible(constant())
    theta = last_tenth_of_medians(0.1, constant())
    assert (np.abs(theta - 2).max(0) > 1).all()


def test_the_median_is_the_d_critical_point() -> None:
    J = FiniteSum.over(TARGETS[:, None], lambda theta, y: abs(theta[0] - y))
    assert [y for y in TARGETS if is_d_critical(J, [y])] == [2.0]
    assert not any(is_d_critical(J, [y]) for y in (0.5, 1.5, 3.0, 7.0))
    path = last_tenth_of_medians(0.5, power(1 / 2), 20_000)
    assert J.D(path[-1, :1]).distance() >= 1  # near the point, not at it: this distance stays 1 ...
    radius = 2 * np.abs(path - 2).max()
    assert goldstein(lambda x: J.D(x).least_norm(), path[-1, :1], radius) < 1e-9  # ... and this one is 0


# A ReLU network of 52 parameters that cannot fit its noisy data.

SAMPLES = 40


def network() -> tuple[ReluNetwork, Array]:
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(SAMPLES, 2)), np.ones(SAMPLES)]
    y = np.abs(x[:, 0]) - np.maximum(x[:, 1], 0) + 0.5 * rng.normal(size=SAMPLES)
    J = ReluNetwork(x, y, hidden=13)
    return J, rng.normal(size=J.size) / 2


def trained(
    lr: float, schedule: Schedule, seed: int = 1, steps: int = 100_000
) -> tuple[dict[int, float], Array]:
    """Nearness to the D-critical set after so many steps, and J over the last tenth; both a sample."""
    J, theta = network()
    assert J.size >= 50
    samples = iter(np.random.default_rng(seed).integers(SAMPLES, size=steps + 1))
    din = DIN(lambda p: J.gradient(p, [next(samples)]))
    path = din.euler(theta, lr, steps, schedule=schedule, every=100)
    near = {
        k: goldstein(J.gradient, path.theta[k // 100], 0.1 * (k + 1) ** -0.25) / SAMPLES
        for k in (100, 1000, 10_000, 100_000)
    }
    return near, np.array([J(x) for x in path.theta[-100:]]) / SAMPLES


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_relu_network_approaches_the_d_critical_set_and_its_objective_converges(seed: int) -> None:
    near, objective = trained(0.1, power(1 / 2), seed)
    assert near[100] > near[1000] > near[10_000] > near[100_000]
    assert near[100_000] < near[100] / 10
    assert np.ptp(objective) < 0.01 * objective.mean()


def test_with_constant_steps_its_objective_keeps_moving() -> None:
    near, objective = trained(0.05, constant())
    assert np.ptp(objective) > 0.5 * objective.mean()
    assert near[100_000] > 0.1


def test_with_a_finite_sum_of_steps_it_stops_short() -> None:
    assert not admissible(power(2))
    near, objective = trained(0.05, power(2))
    assert np.ptp(objective) < 1e-3
    assert near[100_000] > 0.5


# The noise form (13).

GRADIENTS: dict[str, Callable[[Array], Array]] = {
    "smooth": lambda x: x * [1.0, 4.0],
    "non-smooth": lambda x: np.sign(x) * [1.0, 2.0] + x / 4,
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_noisy_run_comes_ever_nearer_to_the_solution_over_a_window(name: str) -> None:
    ideal = DIN(GRADIENTS[name])
    gaps = {}
    for schedule in (power(1 / 2), constant()):
        noise = np.random.default_rng(0).uniform
        noisy = DIN(partial(lambda noise, x: GRADIENTS[name](x) + noise(-3, 3, x.shape), noise))
        steps, lr = (40_000, 0.5) if schedule == power(1 / 2) else (4100, 0.05)
        path = noisy.euler([2.0, -1.0], lr, steps, schedule=schedule, initial_speed=0.1)
        gaps[schedule] = [
            np.mean([shadow_distance(path, ideal, t + shift, 3.0) for shift in np.linspace(0, 0.3 * t, 5)])
            for t in (5.0, 20.0, 150.0)
        ]
    early, later, late = gaps[power(1 / 2)]
    assert early > later > late
    assert late < early / 3
    assert gaps[constant()][-1] > gaps[constant()][0] / 2


def test_the_window_must_lie_on_the_path() -> None:
    path = DIN(lambda x: x).euler([1.0], 0.1, 10)
    with pytest.raises(ValueError, match=r"must reach time 3.0, it ends at"):
        shadow_distance(path, DIN(lambda x: x), 2.0, 1.0)


# Strict saddles.

SADDLES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], int]] = {
    "double well, at 0": (
        lambda p: (p[..., 0] ** 2 - 1) ** 2 / 4 + p[..., 1] ** 2 / 2,
        lambda p: np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1),
        2,
    ),
    "factorisation (ab - 1)^2 / 2, at 0": (
        lambda p: (p[..., 0] * p[..., 1] - 1) ** 2 / 2,
        lambda p: (p[..., :1] * p[..., 1:] - 1) * p[..., ::-1],
        2,
    ),
    "one direction of ten, at 0": (
        lambda p: (p**2).sum(-1) / 2 - p[..., 3] ** 2 + p[..., 3] ** 4 / 4 + 0.25,
        lambda p: p + (p[..., 3] ** 3 - 2 * p[..., 3])[..., None] * np.eye(10)[3],
        10,
    ),
}


@pytest.mark.parametrize(("J", "gradient", "d"), SADDLES.values(), ids=SADDLES.keys())
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.1), (1.0, 2.0)])
def test_strict_saddles_are_left_from_100_of_100_random_starts(
    J: Callable[[Array], Array], gradient: Callable[[Array], Array], d: int, alpha: float, beta: float
) -> None:
    rng = np.random.default_rng(0)
    starts = 1e-3 * rng.normal(size=(100, d))
    path = DIN(gradient, alpha, beta, J).euler(starts, 0.02, 10_000, every=10_000)
    assert (J(starts) > 0.2).all()  # at the height of the saddle
    assert (path.objective[-1] < 1e-6).all()  # at a minimum


def test_a_start_on_the_stable_manifold_ends_at_the_saddle() -> None:
    J, gradient, _ = SADDLES["double well, at 0"]
    path = DIN(gradient, objective=J).euler([0.0, 1.0], 0.02, 10_000, every=10_000)
    np.testing.assert_allclose(path.theta[-1], 0, atol=1e-9)
