"""The gradients of the smooth pieces of a function that meet at a point.

The function is run on numbers that carry a gradient. Where it compares two that are equal, a kink, either
answer is explored, if there are directions from the point in which the answer is true.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._sets import hull_weights

__all__ = ["cells", "gradients_of_pieces"]

Array = NDArray[np.float64]
MOST_PIECES = 10_000


def gradients_of_pieces(function: Callable[[Any], Any], theta: ArrayLike, tolerance: float = 1e-12) -> Array:
    """The gradients at theta of the smooth pieces that meet there, one a row: Clarke's set is their hull."""
    theta = np.atleast_1d(np.asarray(theta, float))
    found: list[Array] = []
    waiting = [Path(tolerance)]
    while waiting:
        path = waiting.pop()
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
    waiting = [Path(0.0)]
    while waiting:
        path = waiting.pop()
        found.append([path.is_positive(0.0, normal) for normal in normals])
        waiting += path.others
        _refuse_too_many(len(found) + len(waiting))
    return np.array(found, float)


class Path:
    """One way through a function: the sides taken at its kinks, and a direction that lies on all of them."""

    def __init__(self, tolerance: float, sides: tuple[int, ...] = (), direction: Any = 0.0) -> None:
        self.tolerance = tolerance
        self.sides = sides  # prescribed at the first kinks; those of later kinks are appended
        self.direction = direction
        self.inward: list[Array] = []  # unit normals of the kinks met: the direction has <a, d> > 0 for all
        self.others: list[Path] = []  # to take another time

    def is_positive(self, value: float, gradient: Array) -> bool:
        """Whether a number of this value and gradient is positive on the way taken."""
        slope = float(np.linalg.norm(gradient))
        if slope == 0 or abs(value) > self.tolerance * slope:
            return value > 0
        normal = gradient / slope
        if len(self.inward) == len(self.sides):
            ways = [(side, self._direction_to(side * normal)) for side in (1, -1)]
            if not (ways := [way for way in ways if way[1] is not None]):  # narrower than rounding
                ways = [(1 if np.sum(self.direction * normal) >= 0 else -1, self.direction)]
            (side, self.direction), *rest = ways
            self.others += [Path(self.tolerance, (*self.sides, other), way) for other, way in rest]
            self.sides += (side,)
        side = self.sides[len(self.inward)]
        self.inward.append(side * normal)
        return side > 0

    def _direction_to(self, normal: Array) -> Any:
        """A direction on all sides taken with <normal, d> > 0 too; None if there is none."""
        if np.sum(self.direction * normal) > 1e-9:
            return self.direction
        normals = np.array([*self.inward, normal])
        nearest = hull_weights(normals) @ normals  # positive on all normals, or 0 (Gordan)
        norm = float(np.linalg.norm(nearest))
        return nearest / norm if norm > 1e-9 else None


def _refuse_too_many(pieces: int) -> None:
    if pieces > MOST_PIECES:
        raise ValueError(
            f"more than {MOST_PIECES} smooth pieces meet at this point, too many for Clarke's set; "
            "if it is that of a whole sum, D explores each term apart"
        )


class Arithmetic:
    """What follows from `__add__`, `__mul__`, `__pow__` and `is_positive`, for numbers that know more."""

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError

    def __mul__(self, other: Any) -> Any:
        raise NotImplementedError

    def __pow__(self, power: float) -> Any:
        raise NotImplementedError

    def is_positive(self) -> bool:
        raise NotImplementedError

    def __neg__(self) -> Any:
        return self * -1

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return self * (other**-1.0)

    def __rtruediv__(self, other: Any) -> Any:
        return self**-1.0 * other

    def __gt__(self, other: Any) -> bool:
        return bool((self - other).is_positive())

    def __lt__(self, other: Any) -> bool:
        return bool((-self + other).is_positive())

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __abs__(self) -> Any:
        return self if self > 0 else -self


class Number(Arithmetic):
    """A value and its gradient on the piece being explored."""

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
        slope = power * np.float64(self.value) ** (power - 1) if power else 0.0
        return self._chain(self.value**power, slope)

    def is_positive(self) -> bool:
        return self.path.is_positive(self.value, self.gradient)

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
