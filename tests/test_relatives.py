"""docs/relatives.md: what equals what, each in NumPy against the two lines of INNA."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inna.hyperparameters import from_memory, quasi_hyperbolic

Array = NDArray[np.float64]
GRADIENTS: Array = np.random.default_rng(0).standard_normal((400, 3))
"""The k-th mini-batch's part of the gradient; the rest depends on where it is taken."""


def gradient(k: int, theta: Array) -> Array:
    return np.asarray(GRADIENTS[k] + np.array([0.1, 1.0, 3.0]) * theta)


def inna(lr: float, alpha: float, beta: float, **_: float) -> Array:
    """The iterates of INNA with u_0 = 0."""
    theta, u, found = np.ones(3), np.zeros(3), []
    for k in range(len(GRADIENTS)):
        v = gradient(k, theta)
        theta, u = theta - lr * (u + beta * v), (1 - alpha * lr) * u + lr * (1 - alpha * beta) * v
        found.append(theta)
    return np.array(found)


def quasi_hyperbolic_momentum(lr: float, momentum: float, nu: float) -> Array:
    """Ma and Yarats (2019)."""
    theta, buffer, found = np.ones(3), np.zeros(3), []
    for k in range(len(GRADIENTS)):
        v = gradient(k, theta)
        buffer = momentum * buffer + (1 - momentum) * v
        theta = theta - lr * ((1 - nu) * v + nu * buffer)
        found.append(theta)
    return np.array(found)


def simplified_ademamix(lr: float, beta1: float, mixing: float) -> Array:
    """Morwani et al. (2025), without their second moment."""
    theta, buffer, found = np.ones(3), np.zeros(3), []
    for k in range(len(GRADIENTS)):
        v = gradient(k, theta)
        buffer = beta1 * buffer + v
        theta = theta - lr * (buffer + mixing * v)
        found.append(theta)
    return np.array(found)


def schedule_free(lr: float, interpolation: float, average: Callable[[int], float]) -> Array:
    """Defazio et al. (2024): the points y at which the gradients are taken."""
    z, x, found = np.ones(3), np.ones(3), []
    for k in range(len(GRADIENTS)):
        y = (1 - interpolation) * z + interpolation * x
        z = z - lr * gradient(k, y)
        x = (1 - average(k)) * x + average(k) * z
        found.append((1 - interpolation) * z + interpolation * x)
    return np.array(found)


def same(one: Array, other: Array) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


SETTINGS = [(0.1, 0.5, 0.1), (0.2, 1.0, 0.7), (0.05, 4.0, 0.02), (0.02, 0.1, 0.3)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_inna_is_quasi_hyperbolic_momentum(setting: tuple[float, float, float]) -> None:
    same(inna(*setting), quasi_hyperbolic_momentum(*quasi_hyperbolic(*setting)))


@pytest.mark.parametrize("setting", SETTINGS)
def test_inna_is_simplified_ademamix(setting: tuple[float, float, float]) -> None:
    lr, alpha, beta = setting
    beta1 = 1 - alpha * lr
    c = lr * (1 - alpha * beta) / beta1
    same(inna(*setting), simplified_ademamix(lr * c, beta1, beta / c - 1))


@pytest.mark.parametrize(
    ("lr", "interpolation", "average"), [(0.1, 0.9, 0.1), (0.3, 0.5, 0.02), (0.05, 1, 0.2)]
)
def test_inna_is_schedule_free_descent_with_an_exponential_average(
    lr: float, interpolation: float, average: float
) -> None:
    settings: Any = from_memory(step=lr, memory=1 / average, direct=1 - interpolation * (1 - average))
    same(inna(**settings), schedule_free(lr, interpolation, lambda _: average))


def test_the_plain_average_of_schedule_free_descent_is_no_constant_memory() -> None:
    plain = schedule_free(0.1, 0.9, lambda k: 1 / (k + 1))
    distances = []
    for memory in (1.0, 10.0, 100.0):
        settings: Any = from_memory(step=0.1, memory=memory, direct=1 - 0.9 * (1 - 1 / memory))
        distances.append(float(np.abs(inna(**settings) - plain).max()))
    assert all(distance > 0.01 for distance in distances)


@pytest.mark.parametrize(("memory", "nesterov"), [(10.0, False), (10.0, True), (2.0, True)])
def test_heavy_ball_and_nesterov_are_direct_shares(memory: float, nesterov: bool) -> None:
    momentum, lr = 1 - 1 / memory, 0.02
    theta, buffer, found = np.ones(3), np.zeros(3), []
    for k in range(len(GRADIENTS)):
        v = gradient(k, theta)
        buffer = momentum * buffer + v
        theta = theta - lr * (v + momentum * buffer if nesterov else buffer)
        found.append(theta)
    direct = (2 * memory - 1) / memory**2 if nesterov else 1 / memory
    settings: Any = from_memory(step=lr * memory, memory=memory, direct=direct)
    same(inna(**settings), np.array(found))


def test_full_direct_share_is_gradient_descent() -> None:
    settings: Any = from_memory(step=0.1, memory=7, direct=1)
    theta, found = np.ones(3), []
    for k in range(len(GRADIENTS)):
        theta = theta - 0.1 * gradient(k, theta)
        found.append(theta)
    same(inna(**settings), np.array(found))
    assert math.isclose(settings["alpha"] * settings["beta"], 1)
