"""Whether functions that vanish at a point are positive, all at once, at points as near to it as one likes.

Three answers are certain: a direction along which all grow, a curve along which all are positive, or a
combination of the functions and their products, with positive weights, that is nowhere positive nearby.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from ._expansions import Expansion, Monomial, Rest, order_of, times, times_number
from ._sets import hull_weights

__all__ = ["Kink", "Witness", "curve_into", "direction_into", "is_empty", "side_of"]

Array = NDArray[np.float64]
Witness = tuple[Array, ...]  # c_1, c_2, ... of the curve c_1 t + c_2 t^2 + ...
NARROW = 1e-9  # directions nearer to a kink than this are on it
TRIES = 24
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
    if all(kink.rest == {} for kink in kinks):
        return True  # as no direction is inside
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
    square = np.array([_is_square(m) for m in monomials])
    squares = [m for m in monomials if _is_square(m)]
    bound = np.array([not (absorbing and any(_divides(e, m) for e in squares)) for m in monomials])
    found = linprog(
        table[square].sum(0),
        A_ub=table[square & bound],
        b_ub=np.zeros(np.count_nonzero(square & bound)),
        A_eq=np.vstack([table[~square & bound], np.ones(len(functions))]),
        b_eq=np.append(np.zeros(np.count_nonzero(~square & bound)), 1.0),
    )
    if found.status != 0:
        return False
    left = dict(zip(monomials, (table @ found.x).tolist(), strict=True))
    negative = [m for m in squares if left[m] < -NARROW]
    return all(
        abs(c) <= 1e-11 or m in negative or any(_divides(e, m) for e in negative) for m, c in left.items()
    )


def curve_into(kinks: Sequence[Kink]) -> Witness | None:
    """A curve along which all functions are positive for small t > 0, by search; None if none was found.

    Its coefficients are chosen one order after the other: where all lower coefficients of a function are 0,
    the next one must not be negative, which is a linear condition on the curve's next coefficient.
    """
    rng = np.random.default_rng(0)
    orders = min(8, max(4, 2 * max(kink.degree() for kink in kinks)))
    for trial in range(TRIES):
        curve: list[Array] = []
        waiting = list(range(len(kinks)))
        for k in range(1, orders + 1):
            expanded = [kinks[i].along(curve, orders) for i in waiting]
            if any(known < k for _, known in expanded):
                break
            given = np.array([coefficients[k - 1] for coefficients, _ in expanded])
            step = (
                _next(np.array([kinks[i].normal for i in waiting]), given, rng, trial == 0)
                if k <= 3
                else 0 * kinks[0].normal
            )
            if step is None:
                break
            curve.append(step)
            reached = given + np.array([kinks[i].normal @ step for i in waiting])
            if (reached < -NARROW).any():
                break
            waiting = [i for i, r in zip(waiting, reached, strict=True) if r <= NARROW]
            if not waiting:
                return tuple(curve)
    return None


def _next(normals: Array, given: Array, rng: np.random.Generator, widest: bool) -> Array | None:
    """A c with <a_i, c> + given_i >= 0 for all i, and > 0 if possible; a random one, or that of most room."""
    d = normals.shape[1]
    sloped = normals.any(1)
    if (given[~sloped] < -NARROW).any():
        return None
    conditions = {"A_ub": np.c_[-normals[sloped], np.ones(sloped.sum())], "b_ub": given[sloped]}
    box = [(-1.0, 1.0)] * d
    middle = linprog(np.append(np.zeros(d), -1.0), **conditions, bounds=[*box, (0.0, 1.0)])
    if middle.status != 0:
        return None
    step: Array = middle.x[:d]
    if widest:
        return step
    corners: list[Any] = [
        linprog(np.append(rng.normal(size=d), 0.0), **conditions, bounds=[*box, (0.0, 0.0)]) for _ in range(3)
    ]
    weights = rng.dirichlet(np.ones(4))
    return np.asarray(
        weights[0] * step + sum(w * corner.x[:d] for w, corner in zip(weights[1:], corners, strict=True))
    )


def _is_square(monomial: Monomial) -> bool:
    return len(monomial) % 2 == 0 and monomial[::2] == monomial[1::2]


def _divides(square: Monomial, monomial: Monomial) -> bool:
    """Whether a monomial is a proper multiple of another."""
    return len(monomial) > len(square) and all(monomial.count(i) >= square.count(i) for i in square)
