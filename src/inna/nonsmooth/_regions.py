"""Whether functions that vanish at a point are positive, all at once, at points as near to it as one likes.

Three answers are certain: a direction along which all grow, a curve along which all are positive, or a
combination of the functions and their products, with positive weights, that is nowhere positive nearby.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ._expansions import Expansion, Monomial, Rest, order_of, times, times_number
from ._sets import hull_weights

__all__ = ["Kink", "Witness", "curve_into", "direction_into", "is_empty", "side_of"]

Array = NDArray[np.float64]
Witness = tuple[Array, ...]  # c_1, c_2, ... of the curve c_1 t + c_2 t^2 + ...
NARROW = 1e-9  # directions nearer to a kink than this are on it
TRIES = 40
MOST_WITH_PRODUCTS = 6


@dataclass(frozen=True, eq=False)
class Kink:
    """A function <normal, x> + rest that vanishes at x = 0, scaled; rest None if not known."""

    normal: Array
    rest: Rest | None

    @classmethod
    def of(cls, number: Expansion) -> "Kink":
        """The function a number stands for, without its value."""
        slope = float(np.linalg.norm(number.gradient))
        size = slope or max(map(abs, (number.rest or {}).values()), default=1.0)
        return cls(number.gradient / size, times_number(number.rest, 1 / size))

    def turned(self, side: int) -> "Kink":
        """The function, or its negative."""
        return self if side > 0 else Kink(-self.normal, times_number(self.rest, -1))

    def along(self, curve: Sequence[Array], orders: int) -> tuple[Array, int]:
        """The coefficients of t, t^2, ... on a curve, and how many of them are known."""
        d = self.normal.size
        powers = np.zeros((d, orders + 1))
        for k, step in enumerate(curve, 1):
            powers[:, k] = step
        known = orders
        total = np.asarray(self.normal @ powers)
        if self.rest is None:
            return total[1:], 1
        for monomial, factor in self.rest.items():
            if monomial[-1] >= d:
                known = min(known, order_of(monomial, d) - 1)
                continue
            product = powers[monomial[0]]
            for i in monomial[1:]:
                product = np.convolve(product, powers[i])[: orders + 1]
            total = np.asarray(total + factor * product)
        return total[1:], known

    def degree(self) -> int:
        """Of the polynomial."""
        return max(map(len, self.rest or {}), default=1)

    def all(self) -> Rest | None:
        """The linear monomials too."""
        if self.rest is None:
            return None
        return {(int(i),): float(self.normal[i]) for i in np.flatnonzero(self.normal)} | self.rest


def side_of(kink: Kink, curve: Witness) -> int:
    """The sign along a curve, for small t > 0; 0 if it is not known."""
    coefficients, known = kink.along(curve, max(4, kink.degree() * len(curve)))
    for c in coefficients[:known]:
        if abs(c) > NARROW:
            return int(np.sign(c))
    return 0


def direction_into(kinks: Sequence[Kink]) -> Array | None:
    """A direction of growth of all functions; None if there is none (Gordan)."""
    normals = np.array([kink.normal for kink in kinks])
    nearest = hull_weights(normals) @ normals
    norm = float(np.linalg.norm(nearest))
    return nearest / norm if norm > NARROW else None


def is_empty(kinks: Sequence[Kink]) -> bool:
    """Whether it is certain that nowhere near 0 all functions are positive.

    Some combination with positive weights has no term left but squares with negative factors, and monomials
    that are small against these. Products of two functions may enter, as they are positive too.
    """
    functions = [f for kink in kinks if (f := kink.all()) is not None]
    products: list[Rest] = []
    if len(functions) <= MOST_WITH_PRODUCTS:
        products = [f for a, b in combinations_with_replacement(functions, 2) if (f := times(a, b))]
    return any(
        _is_combined_to_squares(group, absorbing)
        for group in (functions, functions + products)
        for absorbing in (False, True)
    )


def _is_combined_to_squares(functions: list[Rest], absorbing: bool) -> bool:
    if not functions:
        return False
    monomials = sorted({m for f in functions for m in f})
    table = np.array([[f.get(m, 0.0) for f in functions] for m in monomials])
    squares = [m for m in monomials if _is_square(m)]
    bound = np.array([not (absorbing and any(_divides(e, m) for e in squares)) for m in monomials])
    slack = np.array([[float(m == e) for e in squares] for m in monomials]).reshape(len(monomials), -1)
    slack = slack[:, slack[bound].any(0)]
    # Some function must enter; and if squares are to absorb others, some square must be left over.
    ones = np.repeat([not absorbing, absorbing], [table.shape[1], slack.shape[1]])
    rows = np.vstack([np.hstack([table, slack])[bound], ones])
    weights, residual = nnls(rows, np.append(np.zeros(len(rows) - 1), 1.0))
    if residual > 1e-10:
        return False
    left = dict(zip(monomials, (table @ weights[: table.shape[1]]).tolist(), strict=True))
    negative = [m for m in squares if left[m] < -NARROW]
    return (not absorbing or bool(negative)) and all(
        abs(c) <= 1e-11 or m in negative or any(_divides(e, m) for e in negative) for m, c in left.items()
    )


def curve_into(kinks: Sequence[Kink]) -> Witness | None:
    """A curve along which all functions are positive for small t > 0, by search; None if none was found.

    Its coefficients are chosen one order after the other: where all lower coefficients of a function are 0,
    the next one must not be negative, which is a linear condition on the curve's next coefficient.
    """
    rng = np.random.default_rng(0)
    orders = min(8, max(4, 2 * max(kink.degree() for kink in kinks)))
    for _ in range(TRIES):
        curve: list[Array] = []
        waiting = list(kinks)
        for k in range(orders):
            expanded = [kink.along(curve, orders) for kink in waiting]
            if any(known <= k for _, known in expanded):
                break
            given = np.array([coefficients[k] for coefficients, _ in expanded])
            normals = np.array([kink.normal for kink in waiting])
            step = _next(normals, given, rng) if k < 3 else np.zeros(normals.shape[1])
            reached = given + normals @ step
            if (reached < -NARROW).any():
                break
            curve.append(step)
            waiting = [kink for kink, r in zip(waiting, reached.tolist(), strict=True) if r <= NARROW]
            if not waiting:
                return tuple(curve)
    return None


def _next(normals: Array, given: Array, rng: np.random.Generator) -> Array:
    """A c with <a_i, c> + given_i > 0 for all i, or else a random one with >= 0, if there are such."""
    rows = np.vstack([np.c_[normals, given], np.eye(normals.shape[1] + 1)[-1]])  # of (c, 1), times s >= 0
    inside = hull_weights(rows) @ rows
    if not (rows @ inside > NARROW).all():
        aim = np.append(rng.normal(size=normals.shape[1]), 1.0)
        inside = aim + nnls(rows.T, -aim)[0] @ rows  # projected on the cone
    return np.asarray(inside[:-1] / max(inside[-1], 1e-3))


def _is_square(monomial: Monomial) -> bool:
    return len(monomial) % 2 == 0 and monomial[::2] == monomial[1::2]


def _divides(square: Monomial, monomial: Monomial) -> bool:
    """Whether a monomial is a proper multiple of another."""
    return len(monomial) > len(square) and all(monomial.count(i) >= square.count(i) for i in square)
