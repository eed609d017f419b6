"""How fast the objective must fall, by Section 4, and how fast it falls."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._oscillator import oscillator
from ._checks import finite, non_negative, positive

__all__ = ["Law", "kl_exponent", "kl_rates", "linear_rate", "measured_law", "measured_rate", "power_law"]


def linear_rate(curvatures: ArrayLike, alpha: float, beta: float) -> float:
    r"""The exponent of J at a non-degenerate minimum: J falls like exp(t times 2 max Re r).

    The r are the roots of :math:`r^2 + (\alpha + \beta L) r + L = 0` for all Hessian eigenvalues L there.

    Args:
        curvatures: the eigenvalues L of the Hessian at the minimum, > 0.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.

    Raises:
        ValueError: a curvature is not positive and finite.

    Example:
        >>> linear_rate([1.0, 100.0], 0.5, 0.1)
        -0.6
    """
    positive(curvatures=curvatures)
    non_negative(alpha=alpha, beta=beta)
    slow = (oscillator(alpha, beta, L).roots()[0] for L in np.ravel(np.asarray(curvatures, float)).tolist())
    return 2 * max(root.real for root in slow)


def power_law(c: float, alpha: float) -> tuple[float, float]:
    r"""Exponent p and limit a of :math:`t^p J \to a` for :math:`J = |x|^c`, c > 2.

    .. math:: p = \frac{c}{c - 2}, \qquad a = \left(\frac{c (c - 2)}{\alpha}\right)^{-c/(c - 2)}

    beta has no part in it: near a degenerate minimum the curvature vanishes. It holds for all trajectories
    but those on the strong stable manifold of the minimum, a curve: on it x falls like exp(-alpha t).

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
    if not (2 < c < np.inf and 0 < alpha < np.inf):
        raise ValueError(f"the power law needs c > 2 and alpha > 0, got c {c}, alpha {alpha}")
    p = c / (c - 2)
    return p, (c * (c - 2) / alpha) ** -p


def kl_exponent(c: float) -> float:
    r"""The Kurdyka-Lojasiewicz exponent of the energy E at the minimum of :math:`|x|^c`, c > 1.

    .. math:: a = \max\left(\tfrac12, 1 - \tfrac1c\right)

    The closing remark of Section 4 gives 1 - 1/c, that of J. E is quadratic in u: its exponent is never below
    1/2, and for 1 < c < 2 E falls like :math:`e^{-2t/\beta}`, no faster as c tends to 1.

    Raises:
        ValueError: c <= 1.

    Example:
        >>> kl_exponent(4), kl_exponent(1.5)
        (0.75, 0.5)

    Reference: Castera et al. (2021), the end of Section 4 (corrected).
    """
    if not 1 < c < np.inf:
        raise ValueError(f"the exponent is that of |x|^c for c > 1, got c {c}")
    return max(0.5, 1 - 1 / c)


def kl_rates(exponent: float) -> tuple[float, float]:
    r"""The powers of 1/t that a Kurdyka-Lojasiewicz exponent a > 1/2 of the Lyapunov function gives.

    .. math:: L(X(t)) - L^* = O(t^{-1/(2a - 1)}), \qquad |X(t) - X^*| = O(t^{-(1 - a)/(2a - 1)})

    Both are infinite for a <= 1/2, where the rates are linear or better. The first is never below 1: O(1/t).

    Args:
        exponent: a in (0, 1).

    Raises:
        ValueError: a is not in (0, 1).

    Example:
        >>> kl_rates(0.75), kl_rates(0.5)
        ((2.0, 0.5), (inf, inf))

    Reference: Castera et al. (2021), proof of Theorem 4.2.
    """
    if not 0 < exponent < 1:
        raise ValueError(f"a Kurdyka-Lojasiewicz exponent lies in (0, 1), got {exponent}")
    if exponent <= 0.5:
        return float("inf"), float("inf")
    return 1 / (2 * exponent - 1), (1 - exponent) / (2 * exponent - 1)


def measured_rate(
    t: ArrayLike,
    gap: ArrayLike,
    law: Literal["exponential", "power"] = "exponential",
    *,
    tail: tuple[float, float] = (0.5, 0.9),
) -> float:
    """The rate at which something falls to 0: the slope of its logarithm against t, or against log t.

    What oscillates is measured by its upper envelope, the largest value from there on.

    Args:
        t: increasing times.
        gap: what falls, such as ``J - J*`` or ``|theta - theta*|``, >= 0.
        law: "exponential" gives r of exp(r t), "power" gives r of t^r.
        tail: the part of the points that counts, as fractions of their number. The last oscillation is cut
            off by the end, so the envelope's end does not count.

    Raises:
        ValueError: fewer than two points of the tail are positive, in t or in gap; the law is another; t does
            not increase; gap is of another length.

    Example:
        >>> t = np.linspace(0, 20, 401)
        >>> round(measured_rate(t, 3 * np.exp(-t / 2)), 6)
        -0.5
        >>> round(measured_rate(t, 3 / (1 + t) ** 2, "power", tail=(0.9, 1.0)), 2)
        -1.9
    """
    if law not in ("exponential", "power"):
        raise ValueError(f"law must be 'exponential' or 'power', got {law!r}")
    t, gap = finite("t", t), finite("gap", gap)
    if t.ndim != 1 or t.shape != gap.shape or not (np.diff(t) > 0).all():
        raise ValueError("a rate needs increasing t and as many values of gap")
    if not 0 <= tail[0] < tail[1] <= 1:
        raise ValueError(f"tail must be two increasing fractions in [0, 1], got {tail}")
    envelope = np.maximum.accumulate(gap[::-1])[::-1]
    part = slice(int(tail[0] * t.size), int(np.ceil(tail[1] * t.size)))
    t, envelope = t[part], envelope[part]
    usable = (envelope > 0) & ((t > 0) | (law == "exponential"))
    if usable.sum() < 2:
        raise ValueError("a rate needs two positive values in the tail: take more points or an earlier tail")
    abscissa = np.log(t[usable]) if law == "power" else t[usable]
    return float(np.polyfit(abscissa, np.log(envelope[usable]), 1)[0])


class Law(NamedTuple):
    """How something falls to 0: in finite time, linearly (exponentially) or like a power of t."""

    name: Literal["finite", "linear", "power"]
    exponent: float


def measured_law(
    t: ArrayLike, gap: ArrayLike, *, tail: tuple[float, float] = (0.5, 0.95), tolerance: float = 0.05
) -> Law:
    r"""Tell finite convergence, linear and a power of t apart.

    If :math:`\dot g = -c\, g^{2a}`, as in the proof of Theorem 4.2, then the time scale
    :math:`-g / \dot g` grows like (2a - 1) t: it shrinks to 0 before a finite arrival, is constant for a
    linear rate, and grows for a power. Its slope gives a.

    Args:
        t: increasing times.
        gap: what falls; what oscillates is measured by its upper envelope.
        tail: the part of the positive values that counts, as fractions of their number.
        tolerance: the largest \|2a - 1\| that counts as linear.

    Raises:
        ValueError: fewer than five values of the tail are positive, or they do not fall.

    Example:
        >>> t = np.linspace(0, 10, 1001)
        >>> for gap in (np.maximum(1 - t / 9, 0) ** 2, np.exp(-t), (1 + t) ** -2.0):
        ...     print(measured_law(t, gap).name, round(measured_law(t, gap).exponent, 2))
        finite 0.25
        linear 0.5
        power 0.75

    Reference: Castera et al. (2021), footnote 4 and (23).
    """
    t, gap = finite("t", t), finite("gap", gap)
    if t.ndim != 1 or t.shape != gap.shape or not (np.diff(t) > 0).all():
        raise ValueError("a law needs increasing t and as many values of gap")
    envelope = np.maximum.accumulate(gap[::-1])[::-1]
    usable = np.flatnonzero(envelope > 0)
    marks = (usable.size - 1) * np.linspace(tail[0], tail[1], 13)  # far apart, against what wavers
    at = np.unique(usable[marks.astype(int)]) if usable.size else usable
    falls = at[np.append(True, np.diff(envelope[at]) < 0)] if at.size else at
    if falls.size < 5:
        raise ValueError("a law needs five positive, falling values in the tail: take more points")
    t, height = t[falls], np.log(envelope[falls])
    scale = -np.diff(t) / np.diff(height)
    middle = (t[1:] + t[:-1]) / 2
    slope = float(np.polyfit(middle, scale, 1)[0])
    name: Literal["finite", "linear", "power"] = "finite" if slope < 0 else "power"
    return Law("linear" if abs(slope) <= tolerance else name, (1 + slope) / 2)
