"""Where the system is a gradient system: Remark 2(b), corrected to alpha beta > 1."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..reference import momentum_from_psi

__all__ = ["linearisation", "potential", "potential_weights"]

Array = NDArray[np.float64]


def potential(objective: ArrayLike, theta: Array, psi: Array, alpha: float, beta: float) -> Array:
    r"""The potential whose gradient system (5) is, for alpha beta > 1.

    .. math::
        \Phi(\theta, \psi) = \beta J(\theta) + \frac{k}{2} \left|\theta + \frac{\psi}{\beta k}\right|^2, \quad
        k = \alpha - \frac1\beta, \qquad
        \dot\theta = -\frac{\partial\Phi}{\partial\theta}, \quad
        \dot\psi = -(\alpha\beta - 1) \frac{\partial\Phi}{\partial\psi}

    It is one of the energies, divided: :math:`\Phi = E_\lambda / k` for :math:`\lambda = \alpha\beta - 1`.

    Args:
        objective: J(theta).
        theta: the position, coordinates along the last axis.
        psi: the phase variable.
        alpha: viscous damping.
        beta: Newtonian damping.

    Raises:
        ValueError: alpha beta <= 1.

    Example:
        >>> float(potential(2.0, np.array([1.0]), np.array([-1.0]), alpha=2.0, beta=1.0))
        2.0

    Reference: Castera et al. (2021), Remark 2(b), which leaves the potential to Alvarez et al. (2002).
    """
    k = potential_weights(alpha, beta)[1] / beta
    u = momentum_from_psi(theta, psi, alpha=alpha, beta=beta)
    return np.asarray(beta * np.asarray(objective) + np.square(u).sum(-1) / (2 * k))


def potential_weights(alpha: float, beta: float) -> tuple[float, float]:
    """The inverse metric of the gradient system: theta' and psi' are minus dPhi times these.

    Raises:
        ValueError: alpha beta <= 1. Below 1 some curvatures spiral; at 1 the curvature 1/beta^2 gives a
            Jordan block. A gradient system does neither, in any metric.

    Example:
        >>> potential_weights(2.0, 1.0)
        (1.0, 1.0)
    """
    if not alpha * beta > 1:
        raise ValueError(f"the system is a gradient system for alpha beta > 1 only, got {alpha * beta:g}")
    return 1.0, float(Fraction(alpha) * Fraction(beta) - 1)  # rounded once


def linearisation(curvature: float, alpha: float, beta: float) -> Array:
    r"""The matrix of (5) in (theta, psi) at a critical point of curvature L.

    Args:
        curvature: L, an eigenvalue of the Hessian; negative at a saddle.
        alpha: viscous damping.
        beta: Newtonian damping, > 0.

    Example:
        >>> linearisation(4.0, 2.0, 0.5)  # alpha beta = 1 and L = 1/beta^2: a Jordan block
        array([[-2., -2.],
               [-0., -2.]])

    Reference: Castera et al. (2021), (5).
    """
    k: Any = alpha - 1 / beta
    return np.array([[-beta * curvature - k, -1 / beta], [-k, -1 / beta]])
