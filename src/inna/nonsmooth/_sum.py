"""A sum of terms, with Clarke's subdifferential of the whole and the sum D of its terms' subdifferentials."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._pieces import gradients_of_pieces
from ._sets import MinkowskiSum

__all__ = ["FiniteSum"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FiniteSum:
    r"""A finite sum :math:`J = \sum_n J_n` of piecewise smooth terms, written as plain Python functions.

    .. math::
        \partial J(\theta) = \mathrm{conv}\{\lim \nabla J(\theta_k) : \theta_k \to \theta\}, \qquad
        DJ(\theta) = \sum_n \partial J_n(\theta) \supset \partial J(\theta)

    A term may use arithmetic, powers, `abs`, `max`, comparisons, and NumPy's maximum, exp, log, sqrt, sin,
    cos and tanh. Its pieces are computed: where two numbers that it compares are equal, it is run again with
    the other answer, if an open cone of directions agrees with all answers. D explores the kinks of each
    term apart, Clarke's set explores them together.

    The sets are exact where the kinks that meet at theta are affine on each piece, or have independent
    gradients. Kinks that only touch there may hide a piece from first-order information: see `Sampled`.

    Args:
        terms: functions of theta, shape (d,); each returns a number.

    Example:
        >>> J = FiniteSum([lambda x: abs(x[0]), lambda x: -abs(x[0])])
        >>> J.D([0.0]).bounds(), J.clarke([0.0]).bounds()
        ((array([-2.]), array([2.])), (array([0.]), array([0.])))

    Reference: Castera et al. (2021), (6), (10) and (15).
    """

    terms: Sequence[Callable[[Any], Any]]

    @classmethod
    def over(cls, samples: Iterable[Iterable[Any]], term: Callable[..., Any]) -> "FiniteSum":
        """The sum of `term(theta, *sample)` over samples: the empirical risk (3).

        Example:
            >>> J = FiniteSum.over([(1, 1), (-1, -1)], lambda w, x, y: (np.maximum(w[0] * x, 0) - y) ** 2 / 2)
            >>> J.D([0.0]).bounds(), J.clarke([0.0]).bounds()
            ((array([-2.]), array([0.])), (array([-1.]), array([-1.])))
        """

        def at(sample: tuple[Any, ...]) -> Callable[[Any], Any]:
            return lambda theta: term(theta, *sample)

        return cls([at(tuple(sample)) for sample in samples])

    def __call__(self, theta: ArrayLike) -> float:
        """J(theta)."""
        theta = np.atleast_1d(np.asarray(theta, float))
        return float(sum(np.asarray(term(theta)).item() for term in self.terms))

    def D(self, theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
        """DJ(theta).

        Args:
            theta: the point.
            tolerance: a kink nearer than this counts as met.
        """
        return MinkowskiSum([gradients_of_pieces(term, theta, tolerance) for term in self.terms])

    def clarke(self, theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
        """Clarke's subdifferential of the whole sum.

        Raises:
            ValueError: more than 10,000 smooth pieces meet at theta.
        """
        return MinkowskiSum(
            [gradients_of_pieces(lambda x: sum(term(x) for term in self.terms), theta, tolerance)]
        )
