"""The one golden path of INNA and INNAprop, in NumPy, that every framework is held to."""

from collections.abc import Callable

import numpy as np

from inna.reference import initial_psi, inna_step

STEPS = 500
RATES = {"constant": lambda k: 0.05, "varying": lambda k: 0.2 * (k + 1.0) ** -0.5}
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 6))
START = np.linspace(-1, 1, 6)


def golden_path(
    rate: Callable[[int], float],
    *,
    alpha: float,
    beta: float,
    speed: float,
    decay: float = 0.0,
    rms: bool = False,
    steps: int = STEPS,
) -> np.ndarray:
    """The literal path in (theta, psi), with INNAprop's scaling if `rms`; the decay is decoupled."""
    theta, s, path = START, np.zeros(6), []
    for k, v in enumerate(GRADIENTS[:steps]):
        if rms:
            s = 0.999 * s + 0.001 * v**2
            v = v / (np.sqrt(s / (1 - 0.999 ** (k + 1))) + 1e-8)
        if k == 0:
            psi = initial_psi(theta, v, alpha=alpha, beta=beta, initial_speed=speed)
        shrinkage = rate(k) * decay * theta
        theta, psi = inna_step(theta, psi, v, lr=rate(k), alpha=alpha, beta=beta)
        # Decoupled: theta shrinks and u = (alpha - 1/beta) theta + psi/beta stays, so psi follows.
        theta, psi = theta - shrinkage, psi - (1 - alpha * beta) * shrinkage
        path.append(theta)
    return np.array(path)


def assert_golden(path: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    assert np.abs(path - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()
