"""The first-order flows that the system tends to as the viscous damping grows."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import increasing, non_negative, point
from ._integrate import integrate

__all__ = ["gradient_flow", "newton_flow"]

Array = NDArray[np.float64]


def gradient_flow(gradient: Callable[[Array], Array], theta: ArrayLike, times: ArrayLike) -> Array:
    r"""The flow :math:`\dot\theta = -\nabla J(\theta)`, the limit of (4) on alpha J with beta / alpha.

    It is Theorem 4.2's simplest example: J is its Lyapunov function, with c_1 = c_2 = 1.

    Args:
        gradient: theta -> the gradient, shape (d,).
        theta: theta_0, shape (d,).
        times: increasing times from 0.

    Returns:
        theta at these times, shape (n, d).

    Example:
        >>> gradient_flow(lambda x: 2 * x, [1.0], [0.0, 1.0]).round(6).tolist()
        [[1.0], [0.135335]]
    """
    return _flow(lambda x: -gradient(x), theta, times)


def newton_flow(
    gradient: Callable[[Array], Array],
    hessian: Callable[[Array], Array],
    beta: float,
    theta: ArrayLike,
    times: ArrayLike,
) -> Array:
    r"""The flow :math:`(I + \beta \nabla^2 J)\, \dot\theta = -\nabla J(\theta)`, the limit of (4) on alpha J.

    It lies between the gradient flow (beta = 0) and Newton's (beta large). The paper's footnote 5 names the
    gradient flow; with beta fixed that is its limit only where beta times the curvature is small.

    Args:
        gradient: theta -> the gradient, shape (d,).
        hessian: theta -> the Hessian, shape (d, d); I + beta times it must be invertible.
        beta: Newtonian damping, >= 0.
        theta: theta_0, shape (d,).
        times: increasing times from 0.

    Returns:
        theta at these times, shape (n, d).

    Example:
        >>> newton_flow(lambda x: 2 * x, lambda x: 2 * np.eye(1), 0.5, [1.0], [0.0, 1.0]).round(6).tolist()
        [[1.0], [0.367879]]

    Reference: Castera et al. (2021), Section 5.1, footnote 5.
    """
    non_negative(beta=beta)

    def field(x: Array) -> Array:
        return np.asarray(-np.linalg.solve(np.eye(x.size) + beta * hessian(x), gradient(x)))

    return _flow(field, theta, times)


def _flow(field: Callable[[Array], Array], theta: ArrayLike, times: ArrayLike) -> Array:
    return integrate(lambda _, x: field(x), point(theta), increasing(times), "DOP853", 1e-11, 1e-13)
