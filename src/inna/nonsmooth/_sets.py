"""Sums of convex hulls, and their element nearest to 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

__all__ = ["MinkowskiSum", "hull_weights", "total"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MinkowskiSum:
    r"""The compact convex set :math:`o + \sum_n \mathrm{conv}\,V_n + \sum_m A_m^T B`: DJ or Clarke's set.

    A hull of two points is a segment; a sum of segments is a zonotope. B is the unit ball: the
    subdifferential of :math:`|A\theta|` at 0 is :math:`A^T B`.

    Args:
        hulls: the V_n, each of shape (k_n, d); single points are added up in the offset.
        offset: o, shape (d,); None is 0.
        balls: the A_m, each of shape (k_m, d); r times the identity for a ball of radius r.
        exact: whether this is all of the set that was asked for, not only a part of it.
        outer: where it is not, a sum that contains the set that was asked for; None if none is known.

    Raises:
        ValueError: there is neither an offset nor a hull nor a ball, their dimensions differ, or a number is
            not finite.

    Example:
        >>> square = MinkowskiSum([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]], offset=[3, 0.5])
        >>> square.least_norm().round(9), square.contains([4, 1.5]), round(square.distance([7, 1.5]), 9)
        (array([2., 0.]), True, 3.0)
        >>> square.support([1, 1]), square.width([1, 0]), square.bounds()
        (5.5, 2.0, (array([ 2. , -0.5]), array([4. , 1.5])))
    """

    hulls: Any = ()
    offset: Any = None
    balls: Any = ()
    exact: bool = True
    outer: "MinkowskiSum | None" = None

    def __post_init__(self) -> None:
        hulls = [np.atleast_2d(np.asarray(hull, float)) for hull in self.hulls]
        balls = [np.atleast_2d(np.asarray(ball, float)) for ball in self.balls]
        points = [hull[0] for hull in hulls if len(hull) == 1]
        points += [] if self.offset is None else [np.asarray(self.offset, float)]
        parts = [*hulls, *balls, *points]
        if len({part.shape[-1] for part in parts}) != 1:
            raise ValueError("a Minkowski sum needs hulls, balls or an offset, all of one dimension")
        if not all(np.isfinite(part).all() for part in parts):
            raise ValueError("a Minkowski sum needs finite numbers, got NaN or infinity")
        offset = np.sum(points, axis=0) if points else np.zeros(parts[0].shape[-1])
        object.__setattr__(self, "offset", offset)
        object.__setattr__(self, "hulls", tuple(hull for hull in hulls if len(hull) > 1))
        object.__setattr__(self, "balls", tuple(ball for ball in balls if ball.any()))

    def least_norm(self) -> Array:
        """The element nearest to 0."""
        base: Array = self.offset + sum(hull[0] for hull in self.hulls)
        edges = np.concatenate(
            [np.zeros((0, base.size)), *(hull[1:] - hull[0] for hull in self.hulls), *self.balls]
        )
        if not edges.any():
            return base
        span, sizes, _ = np.linalg.svd(edges.T, full_matrices=False)
        span = span[:, sizes > 1e-14 * sizes[0]]
        inside = span.T @ base  # only what the edges span can change
        hulls, balls = [hull @ span for hull in self.hulls], [ball @ span for ball in self.balls]
        nearest = _least_norm(hulls, balls, span.T @ self.offset)
        element: Array = base + span @ (nearest - inside)
        return element

    def nearest(self, point: ArrayLike) -> Array:
        """The element nearest to a point, shape (d,); with balls, to about 1e-8 of the set's size.

        Example:
            >>> MinkowskiSum([[[-1, 0], [1, 0]], [[0, -1], [0, 1]]]).nearest([3, 0.5]).round(9)
            array([1. , 0.5])
        """
        shifted = self._minus(point)
        element: Array = self.offset + (shifted.least_norm() - shifted.offset)
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
        rounded = sum(np.linalg.norm(ball @ w) for ball in self.balls)
        return float(self.offset @ w + sum((hull @ w).max() for hull in self.hulls) + rounded)

    def width(self, direction: ArrayLike) -> float:
        r"""How far the :math:`\langle v, w\rangle` are from being one number: the width along w = direction.

        By the chain rule (Lemmas 3.2 and 3.3) the width of DJ(c(t)) along c'(t) is 0 for almost every t.
        """
        return self.support(direction) + self.support(-np.asarray(direction, float))

    def bounds(self) -> tuple[Array, Array]:
        """The smallest box around the set: an interval's ends in one dimension."""
        rounded = sum(np.linalg.norm(ball, axis=0) for ball in self.balls)
        low = self.offset + sum(hull.min(0) for hull in self.hulls) - rounded
        high = self.offset + sum(hull.max(0) for hull in self.hulls) + rounded
        return low, high

    def _minus(self, point: ArrayLike) -> "MinkowskiSum":
        return MinkowskiSum(self.hulls, self.offset - np.asarray(point, float), self.balls)


def total(sets: Sequence[MinkowskiSum]) -> MinkowskiSum:
    """The Minkowski sum of sums; exact if all are."""

    def joined(parts: Sequence[MinkowskiSum], **options: Any) -> MinkowskiSum:
        hulls, balls = ([x for s in parts for x in getattr(s, name)] for name in ("hulls", "balls"))
        return MinkowskiSum(hulls, np.sum([s.offset for s in parts], axis=0), balls, **options)

    if all(s.exact for s in sets):
        return joined(sets)
    around = [s if s.exact else s.outer for s in sets]
    outer = None if None in around else joined([s for s in around if s is not None])
    return joined(sets, exact=False, outer=outer)


def hull_weights(points: Array) -> Array:
    """The convex combination of points, one a row, that is nearest to 0.

    Non-negative least squares with the weights' sum, 1, as one more equation; then scaled, which is exact.
    """
    k, d = points.shape
    weights, _ = nnls(np.vstack([points.T, np.ones(k)]), np.r_[np.zeros(d), 1.0])
    return np.asarray(weights / weights.sum())


def _least_norm(hulls: list[Array], balls: list[Array], offset: Array) -> Array:
    """Too many extreme points to list: they enter one by one, the most useful first (Wolfe 1976)."""
    sizes = [np.abs(part).max() for part in (offset, *hulls)] + [np.linalg.norm(ball) for ball in balls]
    scale = float(sum(sizes)) or 1.0
    nearest: Array = (offset + sum(hull[0] for hull in hulls)) / scale
    active = nearest[None]
    norm = float("inf")
    while 1e-15 < np.linalg.norm(nearest) < norm:
        norm = float(np.linalg.norm(nearest))
        vertex = (offset + sum(_lowest(hull, nearest) for hull in hulls)) / scale
        vertex = vertex - sum(ball.T @ _unit(ball @ nearest) for ball in balls) / scale
        if nearest @ (nearest - vertex) <= 1e-15 * norm:
            break
        active = np.vstack([active, vertex])
        weights = hull_weights(active)
        active = active[weights > 0]
        nearest = weights[weights > 0] @ active
    return np.asarray(scale * nearest)


def _lowest(hull: Array, direction: Array) -> Array:
    return np.asarray(hull[(hull @ direction).argmin()])


def _unit(vector: Array) -> Array:
    return vector / (np.linalg.norm(vector) or 1.0)
