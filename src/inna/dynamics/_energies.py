"""Lyapunov energies of the system, their rates of change, what they bound, and Theorem 4.3's constants."""

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import non_negative, positive

__all__ = ["energy", "energy_bounds", "energy_gradient", "energy_rate", "lambda_range", "proof_constants"]

Array = NDArray[np.float64]


def energy(
    objective: ArrayLike, u: ArrayLike, alpha: ArrayLike, beta: ArrayLike, lam: float | None = None
) -> Array:
    r"""The energy :math:`E_\lambda = \lambda J + |u|^2/2`, or :math:`E = 2(1 + \alpha\beta) J + |u|^2`.

    E_lambda does not increase along trajectories when lambda lies in `lambda_range`; E is E_min + E_max.

    Args:
        objective: J(theta).
        u: the momentum, coordinates along the last axis.
        alpha: viscous damping.
        beta: Newtonian damping.
        lam: lambda; None for E.

    Example:
        >>> float(energy(2.0, [3.0, 4.0], 0.5, 0.1, lam=1.0)), float(energy(2.0, [3.0, 4.0], 0.5, 0.1))
        (14.5, 29.2)

    Reference: Castera et al. (2021), Lemmas 3.5 and 3.6.
    """
    kinetic = np.square(u).sum(-1)
    if lam is None:
        return np.asarray(2 * (1 + np.multiply(alpha, beta)) * np.asarray(objective) + kinetic)
    return np.asarray(lam * np.asarray(objective) + kinetic / 2)


def energy_rate(
    velocity: ArrayLike, v: ArrayLike, alpha: ArrayLike, beta: ArrayLike, lam: float | None = None
) -> Array:
    r"""The energy's rate of change along a trajectory.

    .. math:: \dot E_\lambda = -\alpha|\dot\theta|^2 - \beta|v|^2 + (\lambda - 1 - \alpha\beta)
              \langle\dot\theta, v\rangle, \qquad \dot E = -2\alpha|\dot\theta|^2 - 2\beta|v|^2

    At the ends of `lambda_range` it is a square: :math:`-|\sqrt\alpha\dot\theta + \sqrt\beta v|^2` for E_min,
    :math:`-|\sqrt\alpha\dot\theta - \sqrt\beta v|^2` for E_max; the paper prints the signs swapped.

    Args:
        velocity: theta'.
        v: the (sub)gradient.
        alpha: viscous damping.
        beta: Newtonian damping.
        lam: lambda; None for E.

    Example:
        >>> float(energy_rate([1.0], [2.0], 0.5, 0.1))
        -1.8

    Reference: Castera et al. (2021), Lemma 3.5, (20) (corrected), (31).
    """
    velocity, v = np.asarray(velocity), np.asarray(v)
    alpha, beta = np.asarray(alpha), np.asarray(beta)
    friction = alpha * np.square(velocity).sum(-1) + beta * np.square(v).sum(-1)
    if lam is None:
        return np.asarray(-2 * friction)
    return np.asarray(-friction + (lam - 1 - alpha * beta) * (velocity * v).sum(-1))


def energy_gradient(v: ArrayLike, u: ArrayLike, alpha: float, beta: float) -> Array:
    r"""The gradient of E in (theta, psi), the two one after the other along the last axis.

    .. math:: \partial E = 2 \left((1 + \alpha\beta) v + (\alpha - \tfrac1\beta) u,\; \tfrac1\beta u\right)

    Args:
        v: the (sub)gradient of J.
        u: the momentum.
        alpha: viscous damping.
        beta: Newtonian damping, > 0.

    Example:
        >>> energy_gradient([1.0], [2.0], 0.5, 0.5)
        array([-3.5,  8. ])

    Reference: Castera et al. (2021), (32).
    """
    v, u = np.asarray(v, float), np.asarray(u, float)
    return 2 * np.concatenate([(1 + alpha * beta) * v + (alpha - 1 / beta) * u, u / beta], axis=-1)


def energy_bounds(
    objective: ArrayLike, u: ArrayLike, alpha: float, beta: float, infimum: float
) -> tuple[Array, Array]:
    r"""How high and how fast a trajectory can ever get: bounds of J and of ``|u|`` from where it is now.

    .. math:: J(\theta(t)) \le J_0 + \frac{|u_0|^2}{2 \lambda_{max}}, \qquad
              |u(t)|^2 \le |u_0|^2 + 2 \lambda_{min} (J_0 - \inf J)

    So a trajectory stays in a sublevel set of J: it is bounded if J is coercive.

    Args:
        objective: J_0.
        u: the momentum u_0, coordinates along the last axis.
        alpha: viscous damping.
        beta: Newtonian damping.
        infimum: a lower bound of J.

    Example:
        >>> height, momentum = energy_bounds(2.0, [3.0], alpha=1.0, beta=1.0, infimum=0.0)
        >>> float(height), float(momentum)
        (3.125, 3.0)

    Reference: Castera et al. (2021), Section 3.2, there with E; E_min and E_max give more.
    """
    low, high = lambda_range(alpha, beta)
    objective, square = np.asarray(objective, float), np.square(u).sum(-1)
    return objective + square / (2 * high), np.sqrt(square + 2 * low * (objective - infimum))


def lambda_range(alpha: float, beta: float) -> tuple[float, float]:
    r"""The ends of the lambda for which E_lambda decreases: :math:`(1 \mp \sqrt{\alpha\beta})^2`.

    Example:
        >>> lambda_range(1.0, 0.25)
        (0.25, 2.25)
    """
    non_negative(alpha=alpha, beta=beta)
    root = float(np.sqrt(alpha * beta))
    inertia = float(1 - Fraction(alpha) * Fraction(beta))  # rounded once
    return (inertia / (1 + root)) ** 2, (1 + root) ** 2


def proof_constants(alpha: float, beta: float) -> tuple[float, float]:
    r"""The largest c_1, c_2 of the proof of Theorem 4.3.

    They give :math:`\dot E \le -c_1 |dE|^2` and :math:`|dE| \ge c_2 |(\dot\theta, \dot\psi)|`, where dE is
    the gradient of E in (theta, psi). All are quadratic forms in (theta', v), so c_1 and c_2 are singular
    values of 2 x 2 matrices:

    .. math::
        c_1^{-1/2} = \sigma_{max} \begin{pmatrix} (1/\beta - \alpha)\, \sqrt{2/\alpha} & 4 / \sqrt{2 \beta} \\
                     -\sqrt{2/\alpha} / \beta & -\sqrt{2/\beta} \end{pmatrix}, \qquad
        c_2 = \sigma_{min} \begin{pmatrix} -2 (\alpha + 1/\beta) & 4/\beta \\ 0 & -2/\beta \end{pmatrix}

    Args:
        alpha: viscous damping, > 0.
        beta: Newtonian damping, > 0.

    Example:
        >>> c1, c2 = proof_constants(1.0, 1.0)
        >>> f"{c1:.12f} {c2:.12f}"
        '0.095491502813 1.369483297964'

    Reference: Castera et al. (2021), proof of Theorem 4.3.
    """
    positive(alpha=alpha, beta=beta)
    viscous, newtonian = np.sqrt(2 / alpha), np.sqrt(2 / beta)
    largest = _largest((1 / beta - alpha) * viscous, 2 * newtonian, -viscous / beta, -newtonian)
    a, b = alpha + 1 / beta, 1 / beta
    return 1 / largest**2, 4 * a * b / _largest(-2 * a, 4 * b, 0.0, -2 * b)  # |det| / sigma_max


def _largest(a: float, b: float, c: float, d: float) -> float:
    """The larger singular value of the matrix with rows (a, b) and (c, d)."""
    return float((np.hypot(a + d, b - c) + np.hypot(a - d, b + c)) / 2)
