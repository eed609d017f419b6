"""A sum of terms, with Clarke's subdifferential of the whole and the sum D of its terms' subdifferentials."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._pieces import clarke_set
from ._sets import MinkowskiSum, total

__all__ = ["FiniteSum"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FiniteSum:
    r"""A finite sum :math:`J = \sum_n J_n` of piecewise smooth terms, written as plain Python functions.

    .. math::
        \partial J(\theta) = \mathrm{conv}\{\lim \nabla J(\theta_k) : \theta_k \to \theta\}, \qquad
        DJ(\theta) = \sum_n \partial J_n(\theta) \supset \partial J(\theta)

    A term may use arithmetic, powers, `abs`, `max`, comparisons, sorting, and NumPy's functions: maximum,
    clip, where, exp, log1p, logaddexp, tanh, arctan, linalg.norm and so on. Its pieces are computed: where
    two numbers that it compares are equal, it is run again with the other answer, if there are points near
    theta that agree with all answers. D explores the kinks of each term apart, Clarke's set explores them
    together.

    The sets are exact where the kinks that meet at theta are affine on each piece, or have independent
    gradients, and mostly where polynomials touch. Otherwise a set says `exact=False`: it holds the pieces
    that are certain, and its `outer` those too that could not be excluded.

    Args:
        terms: functions of theta, shape (d,); each returns a number and is locally Lipschitz.

    Raises:
        ValueError: by D and clarke, theta is not finite, a term is seen to be discontinuous there, or takes
            a root or a norm whose set is not known.
        TypeError: a term uses functions other than NumPy's.

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
        return total([clarke_set(term, theta, tolerance) for term in self.terms])

    def clarke(self, theta: ArrayLike, tolerance: float = 1e-12) -> MinkowskiSum:
        """Clarke's subdifferential of the whole sum.

        Raises:
            ValueError: more than 10,000 smooth pieces meet at theta.
        """
        return clarke_set(lambda x: sum(term(x) for term in self.terms), theta, tolerance)
