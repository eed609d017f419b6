"""How fast? Steps and time to a target, and performance profiles, from plain arrays."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Median", "first_at", "median", "ratios", "share_within"]

Floats = NDArray[np.float64]


def first_at(losses: ArrayLike, goals: ArrayLike, at: ArrayLike | None = None) -> Floats:
    """Where each run first has a loss of at most each goal.

    Args:
        losses: shape (runs, points); NaN from where a run diverged.
        goals: shape (goals,).
        at: what the points cost, such as steps or seconds since the start: shape (points,) or (runs, points);
            0, 1, 2, ... if not given.

    Returns:
        Shape (goals, runs); infinite where a run never came there.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> first_at([[4, 2, 1], [4, 3, 2]], [2, 1], at=[0, 100, 200])
        array([[100., 200.],
               [200.,  inf]])
    """
    x, wanted = np.asarray(losses, dtype=float), np.asarray(goals, dtype=float)
    if x.ndim != 2 or wanted.ndim != 1:
        raise ValueError(
            f"losses must have the shape (runs, points), goals (goals,), got {x.shape}, {wanted.shape}"
        )
    cost = np.arange(x.shape[1], dtype=float) if at is None else np.asarray(at, dtype=float)
    if cost.shape not in (x.shape, x.shape[1:]):
        raise ValueError(f"at must have the shape {x.shape[1:]} or {x.shape}, got {cost.shape}")
    reached = x <= wanted[:, None, None]
    first = np.broadcast_to(cost, x.shape)[np.arange(len(x)), reached.argmax(axis=2)]
    return np.where(reached.any(axis=2), first, math.inf)


@dataclass(frozen=True)
class Median:
    """A median over runs, two of the runs that hold it between them, and at what level they do."""

    median: float
    low: float
    high: float
    level: float


def median(values: ArrayLike, level: float = 0.95) -> Median:
    r"""The median of costs, infinite ones among them, with an exact interval whatever their distribution.

    The i-th lowest and the i-th highest of n hold it between them with probability
    :math:`1 - 2 P(B(n, 1/2) < i)`. The narrowest pair that has the level is taken; if none has, as with five
    runs, the lowest and the highest, whose level is :math:`1 - 2^{1-n}`.

    Args:
        values: of independent runs; infinite for those that never came.
        level: the least level, between 0 and 1.

    Raises:
        ValueError: there is no run, or a value is NaN.

    Example:
        >>> median([3, 1, 2, 5, float("inf")])
        Median(median=3.0, low=1.0, high=inf, level=0.9375)

    Reference:
        David, Nagaraja, Order Statistics (2003), 7.1.
    """
    x = np.sort(np.asarray(values, dtype=float).ravel())
    n = len(x)
    if n == 0 or np.isnan(x).any():
        raise ValueError(f"values must be numbers, infinite for who never came, got {values!r}")
    middle = float(x[n // 2] if x[(n - 1) // 2] == x[n // 2] else (x[(n - 1) // 2] + x[n // 2]) / 2)
    for i in range((n - 1) // 2, -1, -1):
        held = 1 - 2 * sum(math.comb(n, j) for j in range(i + 1)) / 2**n
        if held >= level or i == 0:
            break
    return Median(middle, float(x[i]), float(x[n - 1 - i]), held)


def ratios(costs: ArrayLike) -> Floats:
    r"""Each solver's cost on each task over that of the best solver there: Dolan and Moré's :math:`r_{p,s}`.

    Args:
        costs: shape (tasks, solvers), positive; infinite where a solver failed.

    Returns:
        The ratios of the tasks that some solver has solved, 1 or more, shape (those tasks, solvers).

    Raises:
        ValueError: a cost is not positive.

    Example:
        >>> ratios([[1, 2], [6, 3], [float("inf"), float("inf")]])
        array([[1., 2.],
               [2., 1.]])

    Reference:
        Dolan, Moré, Benchmarking optimization software with performance profiles, Math. Program. 91 (2002).
    """
    x = np.asarray(costs, dtype=float)
    if x.ndim != 2 or not (x > 0).all():
        raise ValueError(f"costs must be positive and have the shape (tasks, solvers), got {costs!r}")
    solved = x[np.isfinite(x).any(axis=1)]
    return np.asarray(solved / solved.min(axis=1, keepdims=True))


def share_within(ratios: ArrayLike, factors: ArrayLike) -> Floats:
    r"""The performance profiles :math:`\rho_s(\tau)`: the share of tasks with a ratio of at most each factor.

    Args:
        ratios: shape (tasks, solvers), of `ratios`.
        factors: tau, shape (factors,).

    Returns:
        Shape (factors, solvers).

    Example:
        >>> share_within([[1, 2], [2, 1], [1, 4]], [1, 2])
        array([[0.66666667, 0.33333333],
               [1.        , 0.66666667]])
    """
    below = np.asarray(ratios, dtype=float) <= np.asarray(factors, dtype=float)[:, None, None]
    return np.asarray(below.mean(axis=1))
