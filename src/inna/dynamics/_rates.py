"""How fast the objective must fall: the rates that Section 4 predicts."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["linear_rate", "power_law"]


def linear_rate(curvatures: ArrayLike, alpha: float, beta: float) -> float:
    r"""The exponent of J at a non-degenerate minimum: J falls like exp(t times 2 max Re r).

    The r are the roots of :math:`r^2 + (\alpha + \beta L) r + L = 0` for all Hessian eigenvalues L there.

    Args:
        curvatures: the eigenvalues L of the Hessian at the minimum, > 0.
        alpha: viscous damping.
        beta: Newtonian damping.

    Example:
        >>> linear_rate([1.0, 100.0], 0.5, 0.1)
        -0.6
    """
    s = alpha + beta * np.asarray(curvatures, float)
    root = np.sqrt((s * s - 4 * np.asarray(curvatures, float)).astype(complex))
    return float(2 * ((-s + root) / 2).real.max())


def power_law(c: float, alpha: float) -> tuple[float, float]:
    r"""Exponent p and limit a of :math:`t^p J \to a` for :math:`J = |x|^c`, c > 2.

    .. math:: p = \frac{c}{c - 2}, \qquad a = \left(\frac{c (c - 2)}{\alpha}\right)^{-c/(c - 2)}

    beta has no part in it: near a degenerate minimum the curvature vanishes.

    Args:
        c: the power, > 2.
        alpha: viscous damping, > 0.

    Raises:
        ValueError: c <= 2 (see `linear_rate`) or alpha <= 0.

    Example:
        >>> p, a = power_law(4, 0.5)
        >>> p, round(a, 12)
        (2.0, 0.00390625)
    """
    if not (c > 2 and alpha > 0):
        raise ValueError(f"the power law needs c > 2 and alpha > 0, got c {c}, alpha {alpha}")
    p = c / (c - 2)
    return p, (c * (c - 2) / alpha) ** -p
