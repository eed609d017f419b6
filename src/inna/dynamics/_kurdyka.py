"""Lemma 4.1 measured: the Kurdyka-Lojasiewicz inequality around a set of critical points."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import finite, positive
from ._descent import Descent, descent
from ._energies import energy_rate
from ._system import DIN, Trajectory

__all__ = ["Kurdyka", "energy_descent", "energy_slope", "kl_inequality"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kurdyka:
    r"""What holds at some points of :math:`\rho (1 - a) (L - L^*)^{-a}\, \mathrm{dist}(0, \partial L) \ge 1`.

    Attributes:
        exponent: a.
        rho: the least with which the inequality holds at all points.
        gaps: L - L* at the points.
        slopes: dist(0, dL) there.
    """

    exponent: float
    rho: float
    gaps: Array
    slopes: Array


def kl_inequality(
    function: Callable[[Array], Any],
    slope: Callable[[Array], Any],
    points: ArrayLike,
    *,
    radius: float = 0.1,
    decades: float = 8.0,
    delta: float = np.inf,
    exponent: float | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> Kurdyka:
    r"""Measure the exponent a and the constant rho of Lemma 4.1 in a neighbourhood of a compact set K.

    Points are drawn at distances from K over several decades, half of them in directions that lean to the
    axes, by up to four times as many. The exponent is the slope of the lower envelope of log dist(0, dL)
    against log(L - L*). Sampling can miss the worst direction, above all in many dimensions; then a and rho
    are too small.

    Args:
        function: x, shape (d,) -> L(x).
        slope: x -> dist(0, dL(x)): the length of the gradient where L is smooth, else the distance of 0 from
            the subdifferential, as `MinkowskiSum.distance`, `energy_slope`.
        points: points of K, shape (n, d); L is L* on all of them.
        radius: epsilon, the largest distance from K.
        decades: over how many powers of ten the distances fall.
        delta: the largest L - L*.
        exponent: a in (0, 1); None measures it.
        samples: number of points.
        seed: of the points.

    Raises:
        ValueError: L is not constant on the points, or too few samples lie above L*.

    Example:
        >>> found = kl_inequality(lambda x: x[0] ** 4, lambda x: 4 * abs(x[0]) ** 3, [[0.0]])
        >>> round(found.exponent, 6), round(found.rho, 6)
        (0.75, 1.0)

    Reference: Castera et al. (2021), Lemma 4.1, (22).
    """
    K = np.atleast_2d(finite("points", points))
    positive(radius=radius, samples=samples, decades=decades)
    levels = np.array([float(function(x)) for x in K])
    if np.ptp(levels) > 1e-12 * (1 + np.abs(levels).max()):
        raise ValueError(f"L must be constant on the points, got {levels.min()} to {levels.max()}")
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(samples, K.shape[1]))
    directions[::2] *= 10 ** rng.uniform(-4 * decades, 0, directions[::2].shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distances = radius * 10 ** rng.uniform(-decades, 0, (samples, 1))
    near = K[rng.integers(len(K), size=samples)] + distances * directions
    gaps = np.array([float(function(x)) for x in near]) - levels[0]
    above = (gaps > 1e-14 * abs(levels[0])) & (gaps < delta)
    if above.sum() < 20:
        raise ValueError(f"only {above.sum()} of {samples} samples lie above L* and below delta: take more")
    gaps, slopes = gaps[above], np.array([float(slope(x)) for x in near[above]])
    if exponent is None:
        exponent = float(np.polyfit(*_lower_envelope(np.log(gaps), np.log(slopes)), 1)[0])
    if not 0 <= exponent < 1:
        raise ValueError(f"the exponent must lie in [0, 1), got {exponent:g}")
    return Kurdyka(exponent, float((gaps**exponent / ((1 - exponent) * slopes)).max()), gaps, slopes)


def _lower_envelope(x: Array, y: Array, bins: int = 20) -> tuple[Array, Array]:
    """The lowest points of as many equal slices of x."""
    slice_of = np.minimum((bins * (x - x.min()) / np.ptp(x)).astype(int), bins - 1)
    lowest = [np.flatnonzero(slice_of == k)[y[slice_of == k].argmin()] for k in np.unique(slice_of)]
    return x[lowest], y[lowest]


def energy_slope(system: DIN, theta: Array, u: Array) -> float:
    r"""The distance of 0 from the subdifferential of E at (theta, psi), J smooth or not.

    .. math::
        \mathrm{dist}(0, \partial E) = 2 \min_{v \in DJ(\theta)}
        \left|\left((1 + \alpha\beta) v + (\alpha - \tfrac1\beta) u,\; \tfrac1\beta u\right)\right|

    Args:
        system: with constant alpha and beta > 0.
        theta: the position, shape (d,).
        u: the momentum.

    Example:
        >>> from inna.nonsmooth import FiniteSum
        >>> energy_slope(DIN.of(FiniteSum([lambda x: abs(x[0])]), 1.0, 1.0), np.zeros(1), np.ones(1))
        2.0

    Reference: Castera et al. (2021), (32), (33).
    """
    alpha, beta = system.damping()
    share = 1 + alpha * beta
    nearest = share * system.subgradients(theta).distance(-(alpha - 1 / beta) / share * u)
    return float(2 * np.hypot(nearest, np.linalg.norm(u) / beta))


def energy_descent(path: Trajectory, *, limit: float = 0.0, exponent: float | None = None) -> Descent:
    r"""Theorem 4.3's hypotheses measured along a trajectory, J smooth or not: `descent` of its energy E.

    At a kink \|dE\| is the distance of 0 from dE, which the selection v of the trajectory does not attain.
    Both hypotheses still hold, with the constants of `proof_constants`: dE/dt is that of v, and the velocity
    of the sliding selection is the least of all.

    Args:
        path: one trajectory (no batch), constant alpha and beta > 0; a `Solution` where J is not smooth.
        limit: the limit of E; points at which E is not above it are left out, as after a finite arrival.
        exponent: as for `descent`.

    Example:
        >>> from inna.nonsmooth import FiniteSum
        >>> din = DIN.of(FiniteSum([lambda x: abs(x[0])]), 0.5, 0.1)
        >>> found = energy_descent(din.solve_inclusion([1.0], [0.0, *np.linspace(4.8, 5.6, 40)]))
        >>> round(found.exponent, 3)  # that of u^2, though J is sharp
        0.5

    Reference: Castera et al. (2021), Theorem 4.3.
    """
    values = path.energy()
    kept = values > limit + 1e-13 * abs(limit)
    alpha, beta = path.system.damping()
    theta, u, velocity = path.theta[kept], path.u[kept], path.velocity[kept]
    v = -(velocity + u) / beta
    slopes = np.array([energy_slope(path.system, x, w) for x, w in zip(theta, u, strict=True)])
    motion = np.concatenate([velocity, -u], axis=-1)
    rates = energy_rate(velocity, v, alpha, beta)
    return descent(values[kept], slopes, motion, rates=rates, limit=limit, exponent=exponent)
