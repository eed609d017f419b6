"""Theorem 3.1 and the avoidance of saddles, by Monte Carlo: many runs, and what was found of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._oscillator import oscillator
from ..nonsmooth import goldstein
from ._checks import finite, positive
from ._system import DIN

__all__ = ["Escapes", "Limits", "saddle_escapes", "stochastic_limits"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What was found of Theorem 3.1 in several runs.

    Attributes:
        steps: the numbers of steps k after which the runs were looked at, shape (m,).
        near: the Goldstein distance there, in a ball whose radius falls with k, shape (m, runs): the least
            norm in the hull of DJ/N over the ball. It tends to 0 if the accumulation points are D-critical.
        swing: how far J/N moved between k/2 and k, shape (m, runs): it tends to 0 if J converges.
        theta: the last iterates, shape (runs, d).
    """

    steps: NDArray[np.int64]
    near: Array
    swing: Array
    theta: Array

    def __str__(self) -> str:
        rows = [f"{'steps':>9} {'DJ is near 0':>14} {'J still moves':>14}  (the worst of the runs)"]
        for k, near, swing in zip(self.steps, self.near.max(1), self.swing.max(1), strict=True):
            rows.append(f"{k:>9} {near:>14.3g} {swing:>14.3g}")
        return "\n".join(rows)


def stochastic_limits(
    objective: Callable[[Array], Any],
    gradient: Callable[[Array, int], ArrayLike],
    terms: int,
    starts: ArrayLike,
    *,
    lr: float,
    schedule: Callable[[int], float],
    alpha: float = 0.5,
    beta: float = 0.1,
    steps: Sequence[int] = (100, 1000, 10_000),
    radius: Callable[[int], float] = lambda k: 0.1 * (k + 1) ** -0.25,
    seed: int = 0,
) -> Limits:
    r"""Run INNA, one random term a step, and measure what Theorem 3.1 promises of its limits.

    Args:
        objective: theta, shape (d,) -> J(theta).
        gradient: (theta, n) -> an element of the Clarke subdifferential of J_n.
        terms: N.
        starts: theta_0 of each run, shape (runs, d).
        lr: gamma_0.
        schedule: k -> the factor of lr, as in `inna.schedules`; the theorem asks for Assumption 1.
        alpha: viscous damping.
        beta: Newtonian damping.
        steps: increasing numbers of steps after which to look.
        radius: k -> the radius of the ball in which DJ is sampled; it should tend to 0.
        seed: of the terms drawn and of the balls.

    Example:
        The sum of \|theta - y\| over four numbers y and the gap between the middle ones.

        >>> y = np.array([0.0, 1.0, 2.0, 9.0])
        >>> found = stochastic_limits(
        ...     lambda x: np.abs(x - y).sum(), lambda x, n: np.sign(x - y[n]), 4, [[5.0]],
        ...     lr=0.5, schedule=lambda k: (k + 1) ** -0.5)
        >>> bool(found.near[-1].max() < 1e-9), bool(0.9 < found.theta[0, 0] < 2.1)
        (True, True)

    Reference: Castera et al. (2021), Theorem 3.1; for the distance `inna.nonsmooth.goldstein`.
    """
    starts = np.atleast_2d(finite("starts", starts))
    looks = np.array(steps)
    positive(lr=lr, alpha=alpha, beta=beta, terms=terms, steps=looks)
    if not (np.diff(looks) > 0).all():
        raise ValueError(f"steps must increase, got {tuple(steps)}")
    near, swing = np.zeros((2, looks.size, len(starts)))
    ends = []
    for run, start in enumerate(starts):
        rng = np.random.default_rng([seed, run])
        drawn = iter(rng.integers(terms, size=int(looks[-1]) + 1).tolist())

        def term(x: Array, drawn: Iterator[int] = drawn) -> Array:
            return np.asarray(gradient(x.copy(), next(drawn)), float)

        every = max(1, int(looks[0]) // 20)
        path = DIN(term, alpha, beta).euler(start, lr, int(looks[-1]), schedule=schedule, every=every)
        count = np.append(np.arange(0, looks[-1], every), looks[-1])
        heights = np.array([float(objective(x)) for x in path.theta]) / terms

        def whole(x: Array) -> Any:
            return np.mean([np.asarray(gradient(x, n), float) for n in range(terms)], axis=0)

        for m, k in enumerate(looks.tolist()):
            theta = path.theta[np.searchsorted(count, k)]
            near[m, run] = goldstein(whole, theta, radius(k), rng=rng)
            swing[m, run] = np.ptp(heights[(count >= k / 2) & (count <= k)])
        ends.append(path.theta[-1])
    return Limits(looks, near, swing, np.array(ends))


@dataclass(frozen=True)
class Escapes:
    """What became of runs that started near a saddle.

    Attributes:
        share: the share of the runs that ended farther than the radius from it.
        rate: the predicted one at which the distance grows: the largest root r > 0.
        t: times, shape (n,).
        distance: from the saddle, shape (n, runs).
    """

    share: float
    rate: float
    t: Array
    distance: Array


def saddle_escapes(
    gradient: Callable[[Array], Array],
    saddle: ArrayLike,
    curvatures: ArrayLike,
    *,
    alpha: float = 0.5,
    beta: float = 0.1,
    runs: int = 100,
    spread: float = 1e-3,
    radius: float = 0.1,
    lr: float = 0.02,
    steps: int = 10_000,
    seed: int = 0,
) -> Escapes:
    r"""Start INNA at random near a strict saddle, with random momentum, and count the runs that leave it.

    On a curvature L < 0 the roots of :math:`r^2 + (\alpha + \beta L) r + L = 0` have the product L: one is
    positive, whatever alpha and beta. So the saddle is left from all starts but a set of measure zero, its
    stable manifold, at the rate of the largest root.

    Args:
        gradient: of J, smooth; the last axis of theta holds the coordinates, the leading one the runs.
        saddle: the point, shape (d,).
        curvatures: the eigenvalues of the Hessian there; one must be negative.
        alpha: viscous damping.
        beta: Newtonian damping.
        runs: number of starts.
        spread: standard deviation of theta_0 - saddle and of u_0.
        radius: a run that ends farther away has left.
        lr: the step.
        steps: number of steps.
        seed: of the starts.

    Raises:
        ValueError: no curvature is negative: the point is no strict saddle.

    Example:
        >>> found = saddle_escapes(lambda x: x * [1.0, -1.0], [0.0, 0.0], [1.0, -1.0], steps=2000)
        >>> found.share, round(found.rate, 4)
        (1.0, 0.8198)

    Reference: Castera, *Inertial Newton algorithms avoiding strict saddle points*, J. Optim. Theory Appl. 199
    (2023), arXiv 2111.04596.
    """
    point, values = finite("saddle", saddle), finite("curvatures", curvatures)
    positive(alpha=alpha, beta=beta, runs=runs, spread=spread, radius=radius, lr=lr, steps=steps)
    if not (values < 0).any():
        raise ValueError(f"a strict saddle has a negative curvature, got {values.tolist()}")
    rng = np.random.default_rng(seed)
    theta, u = spread * rng.normal(size=(2, runs, point.size))
    psi = beta * u + (1 - alpha * beta) * (point + theta)
    path = DIN(gradient, alpha, beta).euler(point + theta, lr, steps, psi=psi, every=max(1, steps // 500))
    distance = np.linalg.norm(path.theta - point, axis=-1)
    rate = max(root.real for L in values.tolist() for root in oscillator(alpha, beta, L).roots())
    return Escapes(float((distance[-1] > radius).mean()), rate, path.t, distance)
