"""All D-critical values of a piecewise polynomial sum: Lemma 3.4 by enumeration."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.optimize import linprog

from ._critical import is_d_critical
from ._line import critical_points_on_the_line
from ._numbers import Arithmetic
from ._sets import MinkowskiSum
from ._sum import FiniteSum

__all__ = ["CriticalValue", "d_critical_values"]

Array = NDArray[np.float64]
MOST_FACES = 10_000


class CriticalValue(NamedTuple):
    """A D-critical value of J and a D-critical point that has it."""

    value: float
    theta: Array


def d_critical_values(J: FiniteSum, dimension: int, *, tolerance: float = 1e-9) -> list[CriticalValue]:
    r"""The D-critical values of a piecewise polynomial J: finitely many, as Lemma 3.4 says.

    In one variable, of any degree: J is one polynomial between the roots of what is compared. In more, of
    degree 2:

    the hyperplanes of the kinks cut space into faces. On a face F, J is one quadratic; where 0 is in DJ, its
    derivative along F vanishes by the chain rule. So a face has at most one D-critical value, and what is
    left to decide is whether 0 is in DJ at such a point.

    Args:
        J: a sum of piecewise polynomial terms; in more than one variable, of products of at most two affine
            functions and comparisons of affine ones: half squares of relu(<w, x>) against y, for example.
        dimension: d, the number of coordinates of theta; small, the number of faces grows like that of the
            kinks to the power d.
        tolerance: the largest distance of 0 from DJ that counts as none.

    Returns:
        The values in ascending order, each with a point.

    Raises:
        ValueError: a term is not piecewise polynomial or quadratic, a face has a flat piece along which DJ
            changes, or there are more than 10,000 faces.

    Example:
        >>> J = FiniteSum.over([(1, 1), (-1, -1)], lambda w, x, y: (np.maximum(w[0] * x, 0) - y) ** 2 / 2)
        >>> [round(critical.value, 9) for critical in d_critical_values(J, 1)]  # of the minimum and of 0
        [0.5, 1.0]
        >>> quartic = FiniteSum([lambda x: abs(x[0] ** 4 - 2 * x[0] ** 2)])
        >>> [round(critical.value, 9) for critical in d_critical_values(quartic, 1)]
        [0.0, 1.0]

    Reference: Castera et al. (2021), Lemma 3.4.
    """
    if dimension == 1:
        return _by_value(
            [CriticalValue(J(x), x) for x in critical_points_on_the_line(J, tolerance)], tolerance
        )
    found: list[CriticalValue] = []
    faces, waiting = 0, [Face(dimension)]
    while waiting:
        face = waiting.pop()
        zero, flat = np.zeros(dimension), np.zeros((dimension, dimension))
        theta = np.array([Quadratic(0.0, unit, flat, face) for unit in np.eye(dimension)], object)
        total = sum((np.asarray(term(theta)).item() for term in J.terms), Quadratic(0.0, zero, flat, face))
        waiting += face.others
        faces += 1
        if faces + len(waiting) > MOST_FACES:
            raise ValueError(f"the kinks cut space into more than {MOST_FACES} faces: use fewer terms")
        kinks = face.rows[np.array(face.signs, int) == 0, :dimension]
        along = null_space(kinks) if len(kinks) else np.eye(dimension)
        stationary = along.T @ np.c_[total.curvature, total.slope]  # the derivative along the face
        point = face.point(face.signs, stationary)
        if point is None:
            continue
        if is_d_critical(J, point, tolerance=tolerance):
            found.append(CriticalValue(J(point), point))
        else:
            _refuse_change(J, point, null_space(np.vstack([kinks, stationary[:, :dimension]])).T)
    return _by_value(found, tolerance)


def _by_value(found: list[CriticalValue], tolerance: float) -> list[CriticalValue]:
    found.sort(key=lambda critical: critical.value)
    return [c for k, c in enumerate(found) if k == 0 or c.value - found[k - 1].value > tolerance]


class Face:
    """A face of the arrangement of the kinks met so far: the sign of an affine function for each."""

    def __init__(self, dimension: int, signs: tuple[int, ...] = ()) -> None:
        self.signs = signs
        self.rows = np.zeros((0, dimension + 1))  # of each kink <a, theta> + b: a and b, of length 1 in a
        self.others: list[Face] = []

    def sign(self, offset: float, slope: Array) -> int:
        """The sign of <slope, theta> + offset on the face."""
        norm = np.linalg.norm(slope)
        if norm == 0:
            return int(np.sign(offset))
        self.rows = np.vstack([self.rows, np.append(slope, offset) / norm])
        k = len(self.rows) - 1
        if k == len(self.signs):
            signs = [s for s in (1, -1, 0) if self.point((*self.signs, s)) is not None]
            self.others += [Face(len(slope), (*self.signs, s)) for s in signs[1:]]
            self.signs = (*self.signs, signs[0])
        return self.signs[k]

    def point(self, signs: tuple[int, ...], equal: Array | None = None) -> Array | None:
        """A point in the face's relative interior that also solves `equal`; None if there is none."""
        kinds = np.array(signs, float)
        zero = self.rows[kinds == 0]
        zero = zero if equal is None else np.vstack([zero, equal])
        strict = self.rows[kinds != 0] * kinds[kinds != 0, None]
        d = self.rows.shape[1] - 1
        room = linprog(  # the largest margin, at most 1
            np.append(np.zeros(d), -1.0),
            A_ub=np.c_[-strict[:, :d], np.ones(len(strict))],
            b_ub=strict[:, d],
            A_eq=np.c_[zero[:, :d], np.zeros(len(zero))],
            b_eq=-zero[:, d],
            bounds=[(None, None)] * d + [(None, 1.0)],
        )
        if room.status != 0 or room.x[d] <= 1e-9:
            return None
        point = room.x[:d]
        return np.asarray(point - np.linalg.pinv(zero[:, :d]) @ (zero[:, :d] @ point + zero[:, d]))


def _refuse_change(J: FiniteSum, point: Array, flat_directions: Array) -> None:
    """One point speaks for all at which J is as flat, unless DJ, affine in theta there, changes."""
    here = J.D(point)
    for direction in flat_directions:
        if not _equal(here, J.D(point + 1e-4 * direction)):
            raise ValueError(f"D changes along {direction} from {point}, where J does not: not decided")


def _equal(a: MinkowskiSum, b: MinkowskiSum) -> bool:
    """Whether two sums are equal hull by hull."""
    if len(a.hulls) != len(b.hulls) or np.linalg.norm(a.offset - b.offset) > 1e-9:
        return False
    pairs = [*zip(a.hulls, b.hulls, strict=True), *zip(b.hulls, a.hulls, strict=True)]
    return all(MinkowskiSum([hull]).contains(vertex) for vertices, hull in pairs for vertex in vertices)


class Quadratic(Arithmetic):
    """The function offset + <slope, theta> + <theta, curvature theta>/2, on a face."""

    def __init__(self, offset: float, slope: Array, curvature: Array, face: Face) -> None:
        self.offset, self.slope, self.curvature, self.face = offset, slope, curvature, face

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Quadratic):
            return Quadratic(self.offset + other, self.slope, self.curvature, self.face)
        return Quadratic(
            self.offset + other.offset,
            self.slope + other.slope,
            self.curvature + other.curvature,
            self.face,
        )

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Quadratic):
            return Quadratic(self.offset * other, self.slope * other, self.curvature * other, self.face)
        if other.is_constant() or self.is_constant():
            many, one = (self, other.offset) if other.is_constant() else (other, self.offset)
            return many * one
        if self.curvature.any() or other.curvature.any():
            raise ValueError(
                "a term is not piecewise quadratic: it multiplies more than two functions of theta"
            )
        slope = self.offset * other.slope + other.offset * self.slope
        outer = np.outer(self.slope, other.slope)
        return Quadratic(self.offset * other.offset, slope, outer + outer.T, self.face)

    def __pow__(self, power: float) -> Any:
        if self.is_constant():
            return self * 0 + self.offset**power
        if power not in (1, 2):
            raise ValueError(f"a term is not piecewise quadratic: it takes the power {power}")
        return self * self if power == 2 else self

    def is_constant(self) -> bool:
        return not (self.slope.any() or self.curvature.any())

    def is_positive(self) -> bool:
        if self.curvature.any():
            raise ValueError("a term is not piecewise quadratic: it compares quadratic functions")
        return self.face.sign(self.offset, self.slope) > 0
