"""Whether a given curve solves the inclusion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..nonsmooth import MinkowskiSum

__all__ = ["Check", "check"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    r"""How far a curve is from solving (11), on each interval between two of its points.

    Attributes:
        t: the middles of the n - 1 intervals.
        needed: the subgradients that the curve needs there, their means, shape (n - 1, d).
        distance: their distances from conv(DJ(theta) at both ends).
        momentum: the distance of the mean of u that theta' needs from that of the curve's u, by the
            trapezoidal rule.
    """

    t: Array
    needed: Array
    distance: Array
    momentum: Array

    @property
    def residual(self) -> float:
        """The largest distance."""
        return float(self.distance.max())


def check(
    times: Array,
    thetas: Array,
    us: Array,
    *,
    damping: Callable[[float], tuple[float, float]],
    subgradients: Callable[[Array], MinkowskiSum],
) -> Check:
    """See `DIN.check`."""
    h = np.diff(times)[:, None]
    middles = (times[1:] + times[:-1]) / 2
    alpha, beta = (np.array(c)[:, None] for c in zip(*map(damping, middles.tolist()), strict=True))
    slope = np.diff(thetas, axis=0) / h
    needed = np.diff(us, axis=0) / h - alpha * slope
    mean = (us[1:] + us[:-1]) / 2
    sets = [subgradients(theta) for theta in thetas]
    gaps = zip(needed, sets[:-1], sets[1:], strict=True)
    distance = np.array([_distance(v, before, after) for v, before, after in gaps])
    return Check(middles, needed, distance, np.asarray(np.linalg.norm(-slope - beta * needed - mean, axis=1)))


def _distance(v: Array, before: MinkowskiSum, after: MinkowskiSum) -> float:
    """The distance from the hull of both sets: the union of the sets (1 - s) before + s after."""

    def at(s: float) -> float:
        hulls = [(1 - s) * hull for hull in before.hulls] + [s * hull for hull in after.hulls]
        balls = [(1 - s) * ball for ball in before.balls] + [s * ball for ball in after.balls]
        return MinkowskiSum(hulls, (1 - s) * before.offset + s * after.offset, balls).distance(v)

    middle = at(0.5)
    if middle < 1e-12:
        return middle
    found = minimize_scalar(at, bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
    return float(min(middle, found.fun))
