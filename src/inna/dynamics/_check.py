"""Whether a given curve solves the inclusion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..nonsmooth import MinkowskiSum

if TYPE_CHECKING:
    from ._system import DIN, Trajectory

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


def check(system: "DIN", path: "Trajectory") -> Check:
    """See `DIN.check`."""
    h = np.diff(path.t)[:, None]
    t = (path.t[1:] + path.t[:-1]) / 2
    alpha, beta = (np.array(c)[:, None] for c in zip(*map(system.damping, t.tolist()), strict=True))
    slope = np.diff(path.theta, axis=0) / h
    needed = np.diff(path.u, axis=0) / h - alpha * slope
    mean = (path.u[1:] + path.u[:-1]) / 2
    sets = [system.subgradients(theta) for theta in path.theta]
    gaps = zip(needed, sets[:-1], sets[1:], strict=True)
    distance = np.array([_distance(v, before, after) for v, before, after in gaps])
    return Check(t, needed, distance, np.asarray(np.linalg.norm(-slope - beta * needed - mean, axis=1)))


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
