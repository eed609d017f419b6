"""The smooth pieces of a function that meet at a point, and Clarke's set, made of their gradients.

The function is run on numbers that carry an expansion. Where it compares two that are equal, a kink, either
answer is explored, if there are points near the given one at which the answers so far and this one are true.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._expansions import Cones, Expansion
from ._norms import hull_with_norms, sign_of_norms
from ._numbers import Number, value_of
from ._regions import Kink, Witness, curve_into, direction_into, is_empty, side_of
from ._sets import MinkowskiSum

__all__ = ["cells", "clarke_set", "finite_point"]

Array = NDArray[np.float64]
MOST_PIECES = 10_000


def clarke_set(function: Callable[[Any], Any], theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
    """Clarke's subdifferential of a function, with a sum around it where not all pieces are decided.

    Raises:
        ValueError: theta is not finite, the pieces' values differ, too many pieces meet, or none is certain.
    """
    point = finite_point(theta)
    units = np.eye(len(point))
    certain: list[Expansion] = []
    possible: list[Expansion] = []
    waiting = [Path(tolerance)]
    while waiting:
        path = waiting.pop()
        numbers: list[Number] = [
            Expansion(x, e, path, {}) for x, e in zip(point.tolist(), units, strict=True)
        ]
        value = value_of(function, numbers)
        if not isinstance(value, Expansion):
            value = Expansion(float(value), np.zeros(len(point)), path, {})
        (certain if path.witness is not None else possible).append(value)
        waiting += path.others
        _refuse_too_many(len(certain) + len(possible) + len(waiting))
    if not certain and len(possible) == 1:
        certain, possible = possible, []
    if not certain:
        raise ValueError(
            f"the pieces that meet at {point} cannot be decided at first order, nor by their expansions: "
            "sample the gradients with inna.nonsmooth.Sampled"
        )
    _refuse_jumps(certain, point)
    return _hull(certain, possible)


def finite_point(theta: ArrayLike) -> Array:
    """A point as a vector of finite numbers."""
    point = np.atleast_1d(np.asarray(theta, float))
    if point.ndim != 1 or not np.isfinite(point).all():
        raise ValueError(f"theta must be a vector of finite numbers, got {theta!r}")
    return point


def cells(normals: Array) -> Array:
    """The sign patterns (0 or 1) of <a_i, d> on the cells that the hyperplanes <a_i, d> = 0 cut out."""
    found: list[list[bool]] = []
    waiting = [Path(0.0)]
    while waiting:
        path = waiting.pop()
        found.append([path.is_positive_number(Expansion(0.0, normal, path, {})) for normal in normals])
        waiting += path.others
        _refuse_too_many(len(found) + len(waiting))
    return np.array(found, float)


class Path:
    """One way through a function: the sides taken at its kinks, and a curve that lies on all of them.

    There is no such curve where it was not found, and the sides were not shown to exclude each other either.
    """

    def __init__(self, tolerance: float, sides: tuple[int, ...] = (), witness: Witness | None = ()) -> None:
        self.tolerance = tolerance
        self.sides = sides  # prescribed at the first kinks; those of later kinks are appended
        self.witness = witness  # of all the sides prescribed
        self.kinks: list[Kink] = []  # met so far, each turned to its side: positive on the way taken
        self.others: list[Path] = []  # to take another time
        self.remainders: dict[Any, int] = {}

    def is_positive_number(self, number: Expansion) -> bool:
        """Whether a number is positive on the way taken."""
        slope = float(np.linalg.norm(number.gradient))
        if number.value != 0 and abs(number.value) > self.tolerance * (slope + _size(number.cones)):
            return number.value > 0
        if number.cones:
            return sign_of_norms(number) > 0
        if number.is_constant():
            return False
        kink = Kink.of(number)
        if len(self.kinks) == len(self.sides):
            ways = [(s, witness) for s in (1, -1) if (witness := self._way(kink.turned(s))) != ()]
            ways = ways or [(1, None), (-1, None)]
            (side, self.witness), *rest = ways
            self.others += [Path(self.tolerance, (*self.sides, s), witness) for s, witness in rest]
            self.sides += (side,)
        side = self.sides[len(self.kinks)]
        self.kinks.append(kink.turned(side))
        return side > 0

    def _way(self, kink: Kink) -> Witness | None:
        """A curve on all sides taken and this one; () if there is none, None if that is not decided."""
        if self.witness and side_of(kink, self.witness) > 0:
            return self.witness
        kinks = [*self.kinks, kink]
        if (direction := direction_into(kinks)) is not None:
            return (direction,)
        if all(kink.rest == {} for kink in kinks):
            return ()
        return curve_into(kinks) or (() if is_empty(kinks) else None)


def _size(cones: Cones) -> float:
    return float(sum(abs(c) for c, _ in cones))


def _hull(certain: list[Expansion], possible: list[Expansion]) -> MinkowskiSum:
    """The hull of the gradients, and around it that with the pieces in question."""
    if any(number.cones for number in certain + possible):
        return hull_with_norms(certain, possible)
    inner = np.unique([number.gradient for number in certain], axis=0)
    inside = MinkowskiSum([inner])
    if all(inside.contains(number.gradient, 1e-12) for number in possible):
        return inside
    outer = np.unique([number.gradient for number in certain + possible], axis=0)
    return MinkowskiSum([inner], exact=False, outer=MinkowskiSum([outer]))


def _refuse_jumps(pieces: list[Expansion], point: Array) -> None:
    values = np.array([piece.value for piece in pieces])
    slope = max(float(np.linalg.norm(piece.gradient)) for piece in pieces)
    tolerance = pieces[0].path.tolerance
    if np.ptp(values) > 1e-9 * (1 + np.abs(values).max()) + 10 * tolerance * slope:
        raise ValueError(
            f"a term is discontinuous at {point}, hence not locally Lipschitz: its pieces have there the "
            f"values {values.min():g} and {values.max():g}"
        )
    affine = [piece for piece in pieces if all(kink.rest == {} for kink in piece.path.kinks)]
    by_sides = {piece.path.sides: piece for piece in affine}
    normals = {piece.path.sides: np.array([kink.normal for kink in piece.path.kinks]) for piece in affine}
    for sides, piece in by_sides.items():
        for k in np.flatnonzero(np.array(sides) > 0):
            other = (*sides[:k], -1, *sides[k + 1 :])  # across the k-th kink, if the others are the same
            if other not in by_sides or len(normals[other]) != len(normals[sides]):
                continue
            differing = np.abs(normals[other] - normals[sides]).max(1) > 1e-12
            normal, change = normals[sides][k], piece.gradient - by_sides[other].gradient
            along = change - (change @ normal) * normal
            if differing.sum() == 1 and np.linalg.norm(along) > 1e-9 * (1 + np.linalg.norm(change)):
                raise ValueError(
                    f"a term is discontinuous at points near {point}, hence not locally Lipschitz: across a "
                    f"kink with the normal {normal} its gradient changes by {change}"
                )


def _refuse_too_many(pieces: int) -> None:
    if pieces > MOST_PIECES:
        raise ValueError(
            f"more than {MOST_PIECES} smooth pieces meet at this point, too many for Clarke's set; "
            "if it is that of a whole sum, D explores each term apart"
        )
