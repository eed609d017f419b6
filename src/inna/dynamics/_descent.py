"""Theorem 4.2 on any trajectory with any Lyapunov function: its hypotheses measured, its bounds computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import finite
from ._rates import kl_rates

__all__ = ["Descent", "descent"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    r"""What Theorem 4.2 asks of a trajectory X and its Lyapunov function L, as measured along it.

    Attributes:
        c1: the largest for which :math:`\dot L \le -c_1 |\partial L|^2`.
        c2: the largest for which :math:`c_2 |\dot X| \le |\partial L|`.
        exponent: the Kurdyka-Lojasiewicz exponent a.
        rho: the smallest for which :math:`\rho (1 - a) (L - L^*)^{-a} |\partial L| \ge 1`.
        gap: :math:`L - L^*` at the first point.
    """

    c1: float
    c2: float
    exponent: float
    rho: float
    gap: float

    @property
    def rates(self) -> tuple[float, float]:
        """The predicted powers of 1/t, of the value and of the path, inf if they are linear or better."""
        return kl_rates(self.exponent)

    @property
    def arrival(self) -> float:
        """The time by which L reaches its limit, by (23) for a < 1/2; infinite from 1/2 on."""
        a = self.exponent
        pull = self.c1 / (self.rho * (1 - a)) ** 2
        return float(self.gap ** (1 - 2 * a) / ((1 - 2 * a) * pull)) if a < 0.5 else float("inf")

    def value_bound(self, elapsed: ArrayLike) -> Array:
        """The proof's bound of L - L* after a time, by (23)."""
        a, elapsed = self.exponent, np.asarray(elapsed, float)
        pull = self.c1 / (self.rho * (1 - a)) ** 2
        if abs(2 * a - 1) < 1e-9:
            return np.asarray(self.gap * np.exp(-pull * elapsed))
        base = self.gap ** (1 - 2 * a) + (2 * a - 1) * pull * elapsed
        return np.asarray(np.maximum(base, 0) ** (1 / (1 - 2 * a)))

    def path_bound(self, gap: ArrayLike) -> Array:
        """The proof's bound of the length of the path still to go where L - L* is `gap`, by (30)."""
        return np.asarray(self.rho / (self.c1 * self.c2) * np.asarray(gap, float) ** (1 - self.exponent))


def descent(
    values: ArrayLike,
    gradients: ArrayLike,
    velocities: ArrayLike,
    *,
    rates: ArrayLike | None = None,
    limit: float = 0.0,
    exponent: float | None = None,
) -> Descent:
    r"""Measure the hypotheses of Theorem 4.2 along a trajectory.

    Args:
        values: L at n points of the trajectory, in the order of time, all above the limit.
        gradients: the gradient of L there, shape (n, d); or, with `rates`, dist(0, dL), shape (n,).
        velocities: X' there, shape (n, d).
        rates: dL/dt there, shape (n,); None is the product of gradient and velocity, right where L is smooth.
        limit: L*.
        exponent: a in (0, 1); None measures it, as the slope of ``log |dL|`` against
            ``log (L - L*)`` over the last
            half of the points, which should come close to the limit.

    For a < 1/2 the limit is reached in finite time, footnote 4: `Descent.arrival`.

    Raises:
        ValueError: a value is not above the limit, the function does not descend (c_1 <= 0), or the exponent
            is not in (0, 1).

    Example:
        The gradient flow of x^2 from 1; its Lyapunov function is x^2 itself.

        >>> x = np.exp(-2 * np.linspace(0, 5, 101))[:, None]
        >>> found = descent((x * x)[:, 0], 2 * x, -2 * x)
        >>> round(found.c1, 6), round(found.c2, 6), round(found.exponent, 6)
        (1.0, 1.0, 0.5)

    Reference: Castera et al. (2021), Lemma 4.1, Theorem 4.2 and its proof.
    """
    gaps = finite("values", values) - limit
    slopes, motion = finite("gradients", gradients), finite("velocities", velocities)
    if rates is None:
        if gaps.ndim != 1 or slopes.shape[:-1] != gaps.shape or motion.shape != slopes.shape:
            raise ValueError(
                "values must have shape (n,), gradients and velocities (n, d), "
                f"got {gaps.shape}, {slopes.shape} and {motion.shape}"
            )
        changes = (slopes * motion).sum(-1)
        slopes = np.linalg.norm(slopes, axis=-1)
    else:
        changes = finite("rates", rates)
        if not gaps.ndim == 1 or not gaps.shape == slopes.shape == changes.shape == motion.shape[:-1]:
            raise ValueError(
                "values, gradients and rates must have shape (n,), velocities (n, d), "
                f"got {gaps.shape}, {slopes.shape}, {changes.shape} and {motion.shape}"
            )
    if not (gaps > 0).all():
        raise ValueError(f"the values must lie above the limit {limit}, got one at {gaps.min() + limit}")
    speeds = np.linalg.norm(motion, axis=-1)
    c1 = float((-changes / slopes**2).min())
    if not c1 > 0:
        raise ValueError(f"the function must decrease along the trajectory, got c1 = {c1:g}")
    if exponent is None:
        tail = slice(gaps.size // 2, None)
        exponent = float(np.polyfit(np.log(gaps[tail]), np.log(slopes[tail]), 1)[0])
    if not 0 < exponent < 1:
        raise ValueError(
            f"the exponent must lie in (0, 1), got {exponent:g}: does the trajectory come close to the limit?"
        )
    rho = float((gaps**exponent / ((1 - exponent) * slopes)).max())
    return Descent(c1, float((slopes / speeds).min()), exponent, rho, float(gaps[0]))
