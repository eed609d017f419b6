"""The gradients of the smooth pieces of a function that meet at a point.

The function is run on numbers that carry a gradient. Where it compares two that are equal, a kink, either
answer is explored, if there are directions from the point in which the answer is true.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._sets import MinkowskiSum

__all__ = ["cells", "gradients_of_pieces"]

Array = NDArray[np.float64]
MOST_PIECES = 10_000


def gradients_of_pieces(function: Callable[[Any], Any], theta: ArrayLike, tolerance: float = 1e-12) -> Array:
    """The gradients at theta of the smooth pieces that meet there, one a row: Clarke's set is their hull."""
    theta = np.atleast_1d(np.asarray(theta, float))
    found: list[Array] = []
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        path = Path(waiting.pop(), tolerance)
        numbers = np.empty(len(theta), object)
        numbers[:] = [
            Number(x, unit, path) for x, unit in zip(theta.tolist(), np.eye(len(theta)), strict=True)
        ]
        value = function(numbers)
        value = value.item() if isinstance(value, np.ndarray) else value
        found.append(value.gradient if isinstance(value, Number) else np.zeros(len(theta)))
        waiting += path.others
        _refuse_too_many(len(found) + len(waiting))
    return np.unique(found, axis=0)


def cells(normals: Array) -> Array:
    """The sign patterns (0 or 1) of <a_i, d> on the cells that the hyperplanes <a_i, d> = 0 cut out."""
    found: list[list[bool]] = []
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        path = Path(waiting.pop(), 0.0)
        found.append([path.is_positive(0.0, normal) for normal in normals])
        waiting += path.others
        _refuse_too_many(len(found) + len(waiting))
    return np.array(found, float)


class Path:
    """The sides of kinks taken on one way through a function: an open cone of directions."""

    def __init__(self, sides: tuple[int, ...], tolerance: float) -> None:
        self.sides = sides  # prescribed for the first kinks; those of later kinks are appended
        self.tolerance = tolerance
        self.inward: list[Array] = []  # unit normals; the cone is where all inner products are positive
        self.inside: Any = 0.0  # a direction in it
        self.others: list[tuple[int, ...]] = []  # where to go another time

    def is_positive(self, value: float, gradient: Array) -> bool:
        """Whether a number of this value and gradient is positive on the piece being explored."""
        slope = float(np.linalg.norm(gradient))
        if slope == 0 or abs(value) > self.tolerance * slope:
            return value > 0
        cones = {side: self._cone(side * gradient / slope) for side in (1, -1)}
        open_sides = [side for side, inside in cones.items() if inside is not None]
        if len(self.inward) == len(self.sides):
            self.others += [(*self.sides, side) for side in open_sides[1:]]
            self.sides += (open_sides[0],)
        side = self.sides[len(self.inward)]
        self.inward.append(side * gradient / slope)
        self.inside = cones[side]
        return side > 0

    def _cone(self, normal: Array) -> Any:
        """A direction in the cone cut by one more half-space; None if nothing open remains (Gordan)."""
        if np.sum(self.inside * normal) > 1e-9:
            return self.inside
        nearest = MinkowskiSum([[*self.inward, normal]]).least_norm()
        norm = float(np.linalg.norm(nearest))
        return nearest / norm if norm > 1e-9 else None


def _refuse_too_many(pieces: int) -> None:
    if pieces > MOST_PIECES:
        raise ValueError(
            f"more than {MOST_PIECES} smooth pieces meet at this point, too many for Clarke's set: "
            "D explores each term apart"
        )


class Number:
    """A value and its gradient on the piece being explored, with the arithmetic of a float."""

    __slots__ = ("gradient", "path", "value")

    def __init__(self, value: float, gradient: Array, path: Path) -> None:
        self.value, self.gradient, self.path = value, gradient, path

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Number):
            return Number(self.value + other.value, self.gradient + other.gradient, self.path)
        return Number(self.value + other, self.gradient, self.path)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Number):
            slope = self.value * other.gradient + other.value * self.gradient
            return Number(self.value * other.value, slope, self.path)
        return Number(self.value * other, self.gradient * other, self.path)

    def __pow__(self, power: float) -> Any:
        return self._chain(self.value**power, power * np.float64(self.value) ** (power - 1) if power else 0.0)

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0)

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other: Any) -> bool:
        difference = self - other
        return self.path.is_positive(difference.value, difference.gradient)

    def __lt__(self, other: Any) -> bool:
        return bool(-self > -other)

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __abs__(self) -> "Number":
        return self if self > 0 else -self

    # NumPy calls these methods for numbers it does not know: np.exp(x) is x.exp().

    def exp(self) -> "Number":
        return self._chain(np.exp(self.value), np.exp(self.value))

    def log(self) -> "Number":
        return self._chain(np.log(self.value), 1 / self.value)

    def sqrt(self) -> "Number":
        return self._chain(np.sqrt(self.value), 0.5 / np.sqrt(self.value))

    def sin(self) -> "Number":
        return self._chain(np.sin(self.value), np.cos(self.value))

    def cos(self) -> "Number":
        return self._chain(np.cos(self.value), -np.sin(self.value))

    def tanh(self) -> "Number":
        return self._chain(np.tanh(self.value), 1 - np.tanh(self.value) ** 2)

    def _chain(self, value: float, slope: float) -> "Number":
        if not np.isfinite(slope):
            raise ValueError(f"a term has no locally Lipschitz value at this point: slope {slope}")
        return Number(float(value), slope * self.gradient, self.path)
