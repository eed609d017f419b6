"""Sums of convex hulls, and their element nearest to 0."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

__all__ = ["MinkowskiSum"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MinkowskiSum:
    r"""The compact convex set :math:`o + \sum_n \mathrm{conv}\,V_n`: DJ, Clarke's set, or a term's.

    A hull of two points is a segment; a sum of segments is a zonotope.

    Args:
        hulls: the V_n, each of shape (k_n, d); single points are added up in the offset.
        offset: o, shape (d,); None is 0.

    Raises:
        ValueError: there is neither an offset nor a hull, or their dimensions differ.

    Example:
        >>> square = MinkowskiSum([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]], offset=[3, 0.5])
        >>> square.least_norm().round(9), square.contains([4, 1.5]), round(square.distance([7, 1.5]), 9)
        (array([2., 0.]), True, 3.0)
        >>> square.support([1, 1]), square.width([1, 0]), square.bounds()
        (5.5, 2.0, (array([ 2. , -0.5]), array([4. , 1.5])))
    """

    hulls: Any = ()
    offset: Any = None

    def __post_init__(self) -> None:
        hulls = [np.atleast_2d(np.asarray(hull, float)) for hull in self.hulls]
        points = [hull[0] for hull in hulls if len(hull) == 1]
        points += [] if self.offset is None else [np.asarray(self.offset, float)]
        if len({hull.shape[-1] for hull in [*hulls, *points]}) != 1:
            raise ValueError("a Minkowski sum needs hulls or an offset, all of one dimension")
        offset = np.sum(points, axis=0) if points else np.zeros(hulls[0].shape[-1])
        object.__setattr__(self, "offset", offset)
        object.__setattr__(self, "hulls", tuple(hull for hull in hulls if len(hull) > 1))

    def least_norm(self) -> Array:
        """The element nearest to 0, by non-negative least squares."""
        base: Array = self.offset + sum(hull[0] for hull in self.hulls)
        if not any(np.ptp(hull, axis=0).any() for hull in self.hulls):
            return base
        edges = np.concatenate([hull[1:] - hull[0] for hull in self.hulls])
        span, sizes, _ = np.linalg.svd(edges.T, full_matrices=False)
        span = span[:, sizes > 1e-14 * sizes[0]]
        inside = span.T @ base  # only what the edges span can change
        nearest = _least_norm([hull @ span for hull in self.hulls], span.T @ self.offset)
        element: Array = base + span @ (nearest - inside)
        return element

    def distance(self, point: ArrayLike = 0.0) -> float:
        """The distance from a point, or from 0."""
        return float(np.linalg.norm(self._minus(point).least_norm()))

    def contains(self, point: ArrayLike, tolerance: float = 1e-9) -> bool:
        """Whether a point lies in the set, up to a distance."""
        return self.distance(point) <= tolerance

    def support(self, direction: ArrayLike) -> float:
        r"""The support function :math:`\max_{v} \langle v, w\rangle` at w = direction."""
        w = np.asarray(direction, float)
        return float(self.offset @ w + sum((hull @ w).max() for hull in self.hulls))

    def width(self, direction: ArrayLike) -> float:
        r"""How far the :math:`\langle v, w\rangle` are from being one number: the width along w = direction.

        By the chain rule (Lemmas 3.2 and 3.3) the width of DJ(c(t)) along c'(t) is 0 for almost every t.
        """
        return self.support(direction) + self.support(-np.asarray(direction, float))

    def bounds(self) -> tuple[Array, Array]:
        """The smallest box around the set: an interval's ends in one dimension."""
        low = self.offset + sum(hull.min(0) for hull in self.hulls)
        high = self.offset + sum(hull.max(0) for hull in self.hulls)
        return low, high

    def _minus(self, point: ArrayLike) -> "MinkowskiSum":
        return MinkowskiSum(self.hulls, self.offset - np.asarray(point, float))


def hull_weights(points: Array) -> Array:
    """The convex combination of points, one a row, that is nearest to 0.

    Non-negative least squares with the weights' sum, 1, as one more equation; then scaled, which is exact.
    """
    k, d = points.shape
    weights, _ = nnls(np.vstack([points.T, np.ones(k)]), np.r_[np.zeros(d), 1.0])
    return np.asarray(weights / weights.sum())


def _least_norm(hulls: list[Array], offset: Array) -> Array:
    """The sum has too many vertices to list: they enter one by one, the most useful first (Wolfe 1976)."""
    scale = float(np.abs(offset).max() + sum(np.abs(hull).max() for hull in hulls)) or 1.0
    nearest: Array = (offset + sum(hull[0] for hull in hulls)) / scale
    active = nearest[None]
    norm = float("inf")
    while 1e-15 < np.linalg.norm(nearest) < norm:
        norm = float(np.linalg.norm(nearest))
        vertex = (offset + sum(hull[(hull @ nearest).argmin()] for hull in hulls)) / scale
        if nearest @ (nearest - vertex) <= 1e-15 * norm:
            break
        active = np.vstack([active, vertex])
        weights = hull_weights(active)
        active = active[weights > 0]
        nearest = weights[weights > 0] @ active
    return np.asarray(scale * nearest)
