"""Whether a point is critical, in Clarke's sense or for D, and how far it is from that."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._sets import MinkowskiSum

__all__ = ["Criticality", "is_clarke_critical", "is_d_critical"]

Array = NDArray[np.float64]


class NonSmooth(Protocol):
    """What `FiniteSum`, `ReluNetwork` and `Sampled` have in common."""

    def D(self, theta: Any) -> MinkowskiSum: ...
    def clarke(self, theta: Any) -> MinkowskiSum: ...


@dataclass(frozen=True, eq=False)
class Criticality:
    """Whether 0 lies in a subdifferential, and how far from it. True and False in a condition.

    Attributes:
        critical: None where it cannot be decided; then a condition raises a ValueError.
        distance: of 0 from the set, or from the part of it that is known.
        subgradient: the element nearest to 0, of that part.
    """

    critical: bool | None
    distance: float
    subgradient: Array

    def __bool__(self) -> bool:
        if self.critical is None:
            raise ValueError(str(self))
        return self.critical

    def __str__(self) -> str:
        if self.critical is None:
            known = f"0 is {self.distance:.3g} away from the part of the set that is known"
            return f"whether it is critical cannot be decided at first order: {known}"
        return f"{'critical' if self.critical else 'not critical'}: 0 is {self.distance:.3g} away"


def is_d_critical(J: NonSmooth, theta: ArrayLike, *, tolerance: float = 1e-9) -> Criticality:
    r"""Whether :math:`0 \in DJ(\theta)`: where mini-batch methods can come to rest.

    The answer is yes, no, or, where the set is known in part only (`exact=False`), that it cannot be decided.

    Args:
        J: a `FiniteSum`, a `ReluNetwork` or a `Sampled` function.
        theta: the point, shape (d,).
        tolerance: the largest distance from 0 that counts as none.

    Example:
        >>> from inna.nonsmooth import FiniteSum
        >>> J = FiniteSum([lambda x: np.maximum(x[0], 0), lambda x: -np.maximum(-x[0], 0)])  # J(x) = x
        >>> print(is_d_critical(J, [0.0]), is_clarke_critical(J, [0.0]), sep="; ")
        critical: 0 is 0 away; not critical: 0 is 1 away

    Reference: Castera et al. (2021), Section 2.3.3.
    """
    return _criticality(J.D(theta), tolerance)


def is_clarke_critical(J: NonSmooth, theta: ArrayLike, *, tolerance: float = 1e-9) -> Criticality:
    r"""Whether :math:`0 \in \partial J(\theta)`, as at every local minimum. It implies D-criticality.

    Args:
        J: a `FiniteSum`, a `ReluNetwork` or a `Sampled` function.
        theta: the point, shape (d,).
        tolerance: the largest distance from 0 that counts as none.
    """
    return _criticality(J.clarke(theta), tolerance)


def _criticality(subgradients: MinkowskiSum, tolerance: float) -> Criticality:
    nearest = subgradients.least_norm()
    distance = float(np.linalg.norm(nearest))
    critical: bool | None = bool(distance <= tolerance)
    if not critical and not subgradients.exact:
        outside = subgradients.outer is not None and subgradients.outer.distance() > tolerance
        critical = False if outside else None
    return Criticality(critical, distance, nearest)
