"""All D-critical points of a piecewise polynomial sum of one variable: Lemma 3.4 by real roots."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from ._critical import is_d_critical
from ._numbers import Arithmetic, Vector
from ._sum import FiniteSum

__all__ = ["critical_points_on_the_line"]

Array = NDArray[np.float64]
MOST_INTERVALS = 10_000


def critical_points_on_the_line(J: FiniteSum, tolerance: float) -> list[Array]:
    """Points of all D-critical values: the stationary points between kinks, and the kinks where 0 is in DJ.

    An interval is cut at the roots of what is compared on it, until there are none; then J is one polynomial.
    """
    found: list[float] = []
    kinks: set[float] = set()
    waiting = [(-np.inf, np.inf)]
    intervals = 0
    while waiting:
        interval = waiting.pop()
        intervals += 1
        if intervals > MOST_INTERVALS:
            raise ValueError(f"the kinks cut the line into more than {MOST_INTERVALS} intervals")
        theta = np.empty(1, object)
        theta[0] = Piece(Polynomial([0.0, 1.0]), interval)
        try:
            total = sum((_value(term, theta) for term in J.terms), theta[0] * 0)
        except Cut as cut:
            kinks.update(cut.roots)
            waiting += zip([interval[0], *cut.roots], [*cut.roots, interval[1]], strict=True)
        else:
            found += total.stationary(tolerance)
    found += [x for x in sorted(kinks) if is_d_critical(J, [x], tolerance=tolerance)]
    return [np.array([x]) for x in found]


def _value(term: Callable[[Any], Any], theta: Any) -> Any:
    value = term(theta.view(Vector))
    return value.item() if isinstance(value, np.ndarray) else value


class Cut(Exception):
    """An interval on which something changes its sign."""

    def __init__(self, roots: list[float]) -> None:
        super().__init__()
        self.roots = roots


class Piece(Arithmetic):
    """A polynomial on an open interval."""

    def __init__(self, polynomial: Polynomial, interval: tuple[float, float]) -> None:
        self.polynomial, self.interval = polynomial, interval

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Piece(self.polynomial + _polynomial(other), self.interval)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        return Piece(self.polynomial * _polynomial(other), self.interval)

    def __pow__(self, power: Any) -> Any:
        if self.polynomial.degree() == 0 or not self.polynomial.coef[1:].any():
            return self * 0 + float(self.polynomial.coef[0] ** power)
        if power not in range(1, 100):
            raise ValueError(f"a term is not piecewise polynomial: it takes the power {power}")
        return Piece(self.polynomial ** int(power), self.interval)

    def is_positive(self) -> bool:
        if roots := self.roots():
            raise Cut(roots)
        return bool(self.polynomial(self.inside()) > 0)

    def roots(self) -> list[float]:
        """The real roots in the interval; some of these, near a double one, may be none."""
        low, high = self.interval
        complex_roots = self.polynomial.trim().roots()
        real = complex_roots.real[np.abs(complex_roots.imag) <= 1e-6 * (1 + np.abs(complex_roots.real))]
        return sorted({x for r in real if low < (x := self._polished(float(r))) < high})

    def _polished(self, root: float) -> float:
        """A step of Newton, where it helps."""
        slope = self.polynomial.deriv()(root)
        better = root - float(self.polynomial(root) / slope) if slope else root
        return better if abs(self.polynomial(better)) < abs(self.polynomial(root)) else root

    def inside(self) -> float:
        """A point of the interval."""
        low, high = self.interval
        if np.isfinite(low) and np.isfinite(high):
            return (low + high) / 2
        return low + 1 if np.isfinite(low) else high - 1 if np.isfinite(high) else 0.0

    def stationary(self, tolerance: float) -> list[float]:
        """The points in the interval where the derivative is 0; one of them where it is 0 everywhere."""
        slope = Piece(self.polynomial.deriv(), self.interval)
        if not slope.polynomial.coef.any():
            return [self.inside()]
        sizes = Polynomial(np.abs(slope.polynomial.coef))
        return [x for x in slope.roots() if abs(slope.polynomial(x)) <= tolerance * (1 + sizes(abs(x)))]


def _polynomial(other: Any) -> Any:
    return other.polynomial if isinstance(other, Piece) else float(other)
