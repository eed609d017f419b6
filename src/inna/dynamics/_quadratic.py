"""The system on a quadratic, where it can be solved."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._oscillator import nearest, oscillator
from ._checks import finite, non_negative

__all__ = ["on_quadratic"]

Array = NDArray[np.float64]


def on_quadratic(
    curvature: Any,
    alpha: Any,
    beta: Any,
    x: Any,
    t: Any,
    *,
    initial_speed: Any = 1.0,
) -> tuple[Array, Array]:
    r"""The exact solution on :math:`J(x) = L x^2 / 2`: position and momentum u at time t.

    Both solve :math:`\ddot y + (\alpha + \beta L)\, \dot y + L y = 0`. The coefficients of their modes are
    computed in rational numbers and rounded once; what is left is the rounding of r t in exp(r t), for the
    roots r.

    All arguments broadcast.

    Args:
        curvature: L; negative at a saddle.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        x: x_0.
        t: time.
        initial_speed: s, the initial velocity being -s L x_0.

    Raises:
        ValueError: alpha or beta is negative, or a number is not finite.

    Example:
        >>> from inna.reference import psi_from_momentum
        >>> x, u = on_quadratic(1.0, 0.5, 0.1, 1.0, 2.0)
        >>> f"{x:.12f} {psi_from_momentum(x, u, alpha=0.5, beta=0.1):.12f}"
        '-0.561565300182 -0.508017072387'
    """
    non_negative(alpha=alpha, beta=beta)
    for name, value in (("curvature", curvature), ("x", x), ("t", t), ("initial_speed", initial_speed)):
        finite(name, value)
    settings = (np.asarray(value, float) for value in (curvature, alpha, beta, initial_speed))
    real, slow, fast, root, *of_position_and_u = np.vectorize(_modes, otypes=[float] * 12)(*settings)
    x, t = np.asarray(x, float), np.asarray(t, float)
    turn = root * t
    near = (real == 0) | (np.abs(turn) < 1)  # where two real modes are almost one their sum would cancel
    slow_mode, fast_mode = np.exp(slow * t), np.exp(fast * t)
    odd = np.where(real, -np.expm1(-turn), np.sin(turn)) / np.where(turn == 0, 1, root)
    odd = slow_mode * np.where(turn == 0, t, odd)
    even = slow_mode * np.where(real, 1, np.cos(turn))
    position, u = (
        x * np.where(near, start * even + push * odd, of_slow * slow_mode + of_fast * fast_mode)
        for start, push, of_slow, of_fast in (of_position_and_u[:4], of_position_and_u[4:])
    )
    return position, u


def _modes(curvature: float, alpha: float, beta: float, speed: float) -> tuple[float, ...]:
    """Whether the roots are real; the two, or their real part; half the root of the discriminant if not.

    Then for x and for u, from x = 1: y(0), y'(0) - slow y(0), and the shares of the slow and the fast mode.
    """
    o = oscillator(alpha, beta, curvature)
    L, a, b, s = o.curvature, Fraction(alpha), Fraction(beta), Fraction(speed)
    slow, fast, root = (o.slow, o.fast, o.root) if o.real else (-o.friction / 2, Fraction(0), o.root / 2)
    u = (s - b) * L
    found: list[Fraction] = [slow, fast, root]
    for start, slope in ((Fraction(1), -s * L), (u, -a * u + (1 - a * b) * L)):
        push = slope - slow * start
        shares = ((slope - fast * start) / root, -push / root) if o.real and root else (start, Fraction(0))
        found += [start, push, *shares]
    return (float(o.real), *map(nearest, found))
