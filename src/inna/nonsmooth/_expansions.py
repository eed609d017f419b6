"""Numbers that know a function around a point, beyond its gradient: for kinks that touch, and for norms."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._numbers import Number

__all__ = ["Expansion", "Monomial", "Rest", "order_of", "times"]

Array = NDArray[np.float64]
Monomial = tuple[int, ...]  # sorted indices of its factors: coordinates, and from d on remainders
Rest = dict[Monomial, float]
Cones = tuple[tuple[float, Array], ...]
MOST_MONOMIALS = 300
ROUNDING = 1e-13


class Expansion(Number):
    r"""The function :math:`v + \langle g, x\rangle + \sum_m c_m x^m + \sum_k c_k |A_k x|` around x = 0.

    The monomials are of degree 2 and more. A function like exp adds a remainder, a function of order |x|^2 of
    which nothing else is known, the same for the same argument: in the monomials it counts as one more
    variable. `rest` is None where there are too many monomials. `cones` are the pairs of c_k and A_k, scaled
    to length 1.
    """

    __slots__ = ("cones", "rest")

    def __init__(
        self,
        value: float,
        gradient: Array,
        path: Any,
        rest: Rest | None = None,
        cones: Cones = (),
    ) -> None:
        super().__init__(value, gradient, path)
        self.rest = rest if rest is None or len(rest) <= MOST_MONOMIALS else None
        self.cones = cones

    def is_constant(self) -> bool:
        """Whether it is known not to depend on theta."""
        return self.rest == {} and not self.cones and not self.gradient.any()

    def __add__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        if not isinstance(other, Expansion):
            return Expansion(_sum(self.value, other), self.gradient, self.path, self.rest, self.cones)
        gradient = self.gradient + other.gradient
        gradient[np.abs(gradient) <= ROUNDING * (np.abs(self.gradient) + np.abs(other.gradient))] = 0
        value, cones = _sum(self.value, other.value), _joined(self.cones, other.cones)
        return Expansion(value, gradient, self.path, plus(self.rest, other.rest), cones)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        if not isinstance(other, Expansion):
            rest = times_number(self.rest, other)
            return Expansion(
                self.value * other, self.gradient * other, self.path, rest, _scaled(self.cones, other)
            )
        rest = None
        if (not self.cones and not other.cones) or self.is_constant() or other.is_constant():
            rest = plus(times_number(self.rest, other.value), times_number(other.rest, self.value))
            rest = plus(rest, times(self.all(), other.all()))
        return Expansion(
            self.value * other.value,
            self.value * other.gradient + other.value * self.gradient,
            self.path,
            rest,
            _joined(_scaled(self.cones, other.value), _scaled(other.cones, self.value)),
        )

    def __pow__(self, power: Any) -> Any:
        if not isinstance(power, Number):
            if power == 0.5:
                return self.function("sqrt")
            if power in range(1, 9):
                result = self
                for _ in range(int(power) - 1):
                    result = result * self
                return result
        return super().__pow__(power)

    def all(self) -> Rest | None:
        """The linear and the other monomials."""
        if self.rest is None:
            return None
        return {(int(i),): float(self.gradient[i]) for i in np.flatnonzero(self.gradient)} | self.rest

    def is_positive(self) -> bool:
        return bool(self.path.is_positive_number(self))

    def function(self, name: str) -> Any:
        if name == "sqrt" and self.value <= self._met():
            return self._norm()
        return super().function(name)

    def _chain(self, value: float, slope: float, name: str) -> "Expansion":
        if self.is_constant():
            return Expansion(value, 0 * self.gradient, self.path, {})
        rest = None
        if self.rest is not None and not self.cones:
            key = (name, self.value, self.gradient.tobytes(), frozenset(self.rest.items()))
            remainder = self.path.remainders.setdefault(key, self.gradient.size + len(self.path.remainders))
            rest = plus(times_number(self.rest, slope), {(remainder,): 1.0})
        return Expansion(value, slope * self.gradient, self.path, rest, _scaled(self.cones, slope))

    def _met(self) -> float:
        """Below this, as a square, a distance from a zero of the square root counts as none."""
        return float(self.path.tolerance**2) * self._size()

    def _size(self) -> float:
        """The trace of the quadratic part."""
        squares = sum(c for m, c in (self.rest or {}).items() if len(m) == 2 and m[0] == m[1])
        return float(max(squares, 0.0))

    def _norm(self) -> "Expansion":
        """The square root at a zero of a function that is non-negative around it: |A x|."""
        zero = np.zeros_like(self.gradient)
        if self.is_constant() and self.value == 0:
            return Expansion(0.0, zero, self.path, {})
        if (
            self.value < 0
            or self.cones
            or np.linalg.norm(self.gradient) > 4 * self.path.tolerance * self._size()
        ):
            raise ValueError(
                f"a term takes the square root of {self.value:g} where that is no minimum: it is not locally "
                "Lipschitz there, or not defined around it"
            )
        form = None if self.rest is None else quadratic_form(self.rest, zero.size)
        if form is None:
            raise ValueError(
                "a term takes the square root of 0, of a function of unknown second derivatives: "
                "write the norm of linear functions of theta, or give the gradient to inna.nonsmooth.Sampled"
            )
        sizes, axes = np.linalg.eigh(form)
        if sizes[0] < -1e-12 * np.abs(sizes).max():
            raise ValueError("a term takes the square root of a function that is negative near this point")
        kept = sizes > 1e-12 * sizes[-1] if sizes[-1] > 0 else np.zeros(len(sizes), bool)
        matrix = np.sqrt(sizes[kept])[:, None] * axes.T[kept]
        if len(matrix) == 1 and all(len(m) == 2 for m in self.rest or {}):
            root: Expansion = abs(Expansion(0.0, matrix[0], self.path, {}))  # of a square
            return root
        length = float(np.linalg.norm(matrix))
        return Expansion(0.0, zero, self.path, None, ((length, matrix / length),) if length else ())


def order_of(monomial: Monomial, dimension: int) -> int:
    """The power of |x| that bounds a monomial near 0; a remainder counts for two."""
    return sum(1 if i < dimension else 2 for i in monomial)


def quadratic_form(rest: Rest, dimension: int) -> Array | None:
    """The symmetric matrix of the monomials of order 2; None if a remainder is among them."""
    form = np.zeros((dimension, dimension))
    for monomial, c in rest.items():
        if order_of(monomial, dimension) == 2:
            if len(monomial) == 1:
                return None
            form[monomial] += c / 2
            form[monomial[::-1]] += c / 2
    return form


def plus(a: Rest | None, b: Rest | None) -> Rest | None:
    """The sum of polynomials; what cancels but for rounding is 0."""
    if a is None or b is None:
        return None
    total = dict(a)
    for monomial, c in b.items():
        before = total.get(monomial, 0.0)
        total[monomial] = before + c
        if abs(before + c) <= ROUNDING * (abs(before) + abs(c)):
            del total[monomial]
    return total


def times(a: Rest | None, b: Rest | None) -> Rest | None:
    """The product of polynomials, None if it has too many monomials."""
    if a is None or b is None or len(a) * len(b) > MOST_MONOMIALS**1.5:
        return None
    total: Rest = {}
    sizes: Counter[Monomial] = Counter()
    for m, c in a.items():
        for n, e in b.items():
            both = tuple(sorted(m + n))
            total[both] = total.get(both, 0.0) + c * e
            sizes[both] += abs(c * e)  # type: ignore[assignment]
    return {m: c for m, c in total.items() if abs(c) > ROUNDING * sizes[m]}


def times_number(a: Rest | None, factor: float) -> Rest | None:
    """A multiple of a polynomial."""
    if factor == 0:
        return {}
    return None if a is None else {m: c * float(factor) for m, c in a.items()}


def _sum(a: float, b: Any) -> float:
    total = a + float(b)
    return 0.0 if abs(total) <= 4e-16 * (abs(a) + abs(float(b))) else total


def _scaled(cones: Cones, factor: float) -> Cones:
    return tuple((c * float(factor), a) for c, a in cones if factor != 0)


def _joined(cones: Cones, more: Cones) -> Cones:
    """Norms added; multiples of one norm become one."""
    total = list(cones)
    for c, a in more:
        form = a.T @ a
        same = [k for k, (_, b) in enumerate(total) if np.allclose(b.T @ b, form, rtol=1e-12, atol=1e-15)]
        if same:
            total[same[0]] = (total[same[0]][0] + c, a)
        else:
            total.append((c, a))
    return tuple((c, a) for c, a in total if abs(c) > ROUNDING)
