r"""What a setting of lr (gamma), alpha and beta means: step, momentum, damping, stability.

On a quadratic with curvature L the continuous system is the damped oscillator
:math:`\ddot x + (\alpha + \beta L)\,\dot x + L x = 0`, and INNA is its explicit Euler discretisation with
step gamma (Castera et al. 2021, equations (1), (5) and (12)).

Example:
    >>> print(describe(lr=0.01, alpha=0.5, beta=0.1, curvature=400))
    lr 0.01, alpha 0.5, beta 0.1
      long-run step lr/alpha     0.02 (as of plain gradient descent)
      momentum 1 - alpha lr      0.995: a memory of 200 steps
      quasi-hyperbolic momentum  lr 0.02, momentum 0.995, nu 0.954774
      direct share alpha beta    0.05 (< 1: a truly inertial system)
      on curvature 400
        continuous system        overdamped: (alpha + beta L)^2 = 1640.25, 4 L = 1600
        largest stable lr        0.0853893: this lr is stable on all curvatures up to it
        critical beta            0.09875
        oscillating curvatures   0.0641131 to 389.936
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from ._oscillator import nearest, oscillator
from ._translation import from_adamw, from_memory, from_sgd, to_memory, to_sgd

__all__ = [
    "Description",
    "QuasiHyperbolic",
    "critical_beta",
    "damping",
    "describe",
    "effective_lr",
    "from_adamw",
    "from_memory",
    "from_sgd",
    "max_stable_lr",
    "momentum",
    "multipliers",
    "oscillating_curvatures",
    "quasi_hyperbolic",
    "to_memory",
    "to_sgd",
]

Damping = Literal["undamped", "underdamped", "critically damped", "overdamped"]


def effective_lr(lr: float, alpha: float) -> float:
    """The step of gradient descent with the same long-run drift: lr / alpha (infinite at alpha = 0).

    Example:
        >>> effective_lr(0.1, 0.5)
        0.2
    """
    _check(lr=lr, alpha=alpha)
    return lr / alpha if alpha > 0 else math.inf


def momentum(lr: float, alpha: float) -> float:
    """The factor by which the momentum buffer decays in one step: 1 - alpha lr.

    Example:
        >>> momentum(0.1, 0.5)
        0.95
    """
    _check(lr=lr, alpha=alpha)
    return 1 - alpha * lr


class QuasiHyperbolic(NamedTuple):
    """Quasi-hyperbolic momentum (Ma and Yarats, 2019): theta -= lr ((1 - nu) v + nu m), m an average of v."""

    lr: float
    momentum: float
    nu: float


def quasi_hyperbolic(lr: float, alpha: float, beta: float) -> QuasiHyperbolic:
    """The quasi-hyperbolic momentum method that INNA with a constant lr is, for alpha > 0.

    Its average m starts at alpha u_0 / (1 - alpha beta).

    Example:
        >>> quasi_hyperbolic(0.1, 0.5, 0.1)
        QuasiHyperbolic(lr=0.2, momentum=0.95, nu=1.0)

    Raises:
        ValueError: alpha is 0 or alpha lr is 1, where the equivalent does not exist.
    """
    _check(lr=lr, alpha=alpha, beta=beta)
    decay = 1 - alpha * lr
    if alpha == 0 or decay == 0:
        raise ValueError(f"the equivalent needs alpha > 0 and alpha lr != 1, got alpha {alpha}, lr {lr}")
    return QuasiHyperbolic(lr / alpha, decay, (1 - alpha * beta) / decay)


def damping(alpha: float, beta: float, curvature: float) -> Damping:
    """The regime of the oscillator on a curvature L > 0: the sign of (alpha + beta L)^2 - 4 L.

    Example:
        >>> damping(0.5, 0.1, 1.0), damping(0.5, 0.1, 400.0), damping(1.0, 1.0, 1.0)
        ('underdamped', 'overdamped', 'critically damped')
    """
    _check(alpha=alpha, beta=beta, curvature=curvature)
    s, critical = alpha + beta * curvature, 2 * math.sqrt(curvature)
    if s == 0:
        return "undamped"
    if math.isclose(s, critical, rel_tol=5e-13):
        return "critically damped"
    return "underdamped" if s < critical else "overdamped"


def oscillating_curvatures(alpha: float, beta: float) -> tuple[float, float] | None:
    """The band of curvatures on which the continuous system oscillates, (alpha + beta L)^2 < 4 L.

    Its ends are ((1 -+ sqrt(1 - alpha beta)) / beta)^2; None if there is no such curvature: alpha beta >= 1.

    Example:
        >>> oscillating_curvatures(0.75, 1.0), oscillating_curvatures(2.0, 0.0), oscillating_curvatures(1, 1)
        ((0.25, 2.25), (1.0, inf), None)
    """
    _check(alpha=alpha, beta=beta)
    inertia = 1 - Fraction(alpha) * Fraction(beta)
    if inertia <= 0:
        return None
    wide = 1 + math.sqrt(inertia)
    low, high = alpha / wide, wide / beta if beta > 0 else math.inf
    return low * low, high * high


def critical_beta(alpha: float, curvature: float) -> float:
    """The beta that damps a curvature L > 0 critically: (2 sqrt(L) - alpha) / L, or 0 if alpha alone does.

    Example:
        >>> critical_beta(0.5, 100.0)
        0.195
    """
    _check(alpha=alpha, curvature=curvature)
    missing = 4 * Fraction(curvature) - Fraction(alpha) ** 2  # without cancellation
    return max(0.0, nearest(missing / Fraction(curvature)) / (2 * math.sqrt(curvature) + alpha))


def max_stable_lr(alpha: float, beta: float, curvature: float, smallest: float = 0.0) -> float:
    """The least upper bound of the constant lr at which INNA is stable, on all curvatures in (0, L].

    On one curvature, with s = alpha + beta L, it is s / L if s^2 <= 4 L, else (s - sqrt(s^2 - 4 L)) / L: both
    multipliers lie inside the unit circle for smaller lr > 0. This rises and then falls with L; for
    alpha beta >= 1 it only falls. So the largest and the smallest curvature decide, and it tends to 2 / alpha
    at 0: the limit is min(that on L, 2 / alpha).

    It is 0 for alpha = beta = 0: no damping, no stable step.

    Args:
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        curvature: L > 0, the largest eigenvalue of the Hessian.
        smallest: the smallest eigenvalue, where it is known, in [0, L]; L itself for this curvature alone.

    Example:
        >>> max_stable_lr(0.5, 0.1, 1.0), max_stable_lr(0.5, 0.01, 400.0), max_stable_lr(1, 1, 1)
        (0.6, 0.01125, 2.0)
        >>> max_stable_lr(10, 0.01, 20), round(max_stable_lr(10, 0.01, 20, smallest=20), 6)
        (0.2, 0.264847)
    """
    _check(alpha=alpha, beta=beta, curvature=curvature)
    if not 0 <= smallest <= curvature:
        raise ValueError(f"smallest must be between 0 and the curvature {curvature}, got {smallest}")
    limits = [_limit(alpha, beta, curvature)]
    if smallest > 0:
        limits.append(_limit(alpha, beta, smallest))
    elif alpha > 0:
        limits.append(2 / alpha)
    return min(limits)


def _limit(alpha: float, beta: float, curvature: float) -> float:
    """The limit on this curvature alone."""
    o = oscillator(alpha, beta, curvature)
    return nearest(-2 / o.fast if o.real else o.friction / o.curvature)


def multipliers(lr: float, alpha: float, beta: float, curvature: float) -> tuple[complex, complex]:
    """The two numbers by which the recursion multiplies its modes in one step on a curvature L > 0.

    They are 1 + lr r for the roots r of r^2 + (alpha + beta L) r + L = 0: complex when s^2 < 4 L.

    Example:
        >>> multipliers(1.0, 1.0, 1.0, 1.0)
        (0j, 0j)
    """
    _check(lr=lr, alpha=alpha, beta=beta, curvature=curvature)
    slow, fast = oscillator(alpha, beta, curvature).roots()
    return 1 + lr * fast, 1 + lr * slow


@dataclass(frozen=True)
class Description:
    """A setting of (lr, alpha, beta) in words and numbers; `print` shows it."""

    lr: float
    alpha: float
    beta: float
    curvature: float | None
    effective_lr: float
    momentum: float
    quasi_hyperbolic: QuasiHyperbolic | None
    damping: Damping | None
    max_stable_lr: float | None
    critical_beta: float | None
    oscillating_curvatures: tuple[float, float] | None

    @property
    def stable(self) -> bool | None:
        """Whether lr is below the limit on all curvatures in (0, L]; None when no curvature is given."""
        return None if self.max_stable_lr is None else self.lr < self.max_stable_lr

    def __str__(self) -> str:
        product = self.alpha * self.beta
        if math.isclose(product, 1, rel_tol=1e-12):
            kind = "= 1: the momentum dies out, plain gradient steps remain"
        elif product < 1:
            kind = "< 1: a truly inertial system"
        else:
            kind = "> 1: the gradient system of another function"
        memory = math.inf if self.momentum == 1 else 1 / (1 - self.momentum)
        qh = self.quasi_hyperbolic
        rows = [
            f"lr {self.lr:g}, alpha {self.alpha:g}, beta {self.beta:g}",
            f"  long-run step lr/alpha     {self.effective_lr:g} (as of plain gradient descent)",
            f"  momentum 1 - alpha lr      {self.momentum:g}: a memory of {memory:g} steps",
            "  quasi-hyperbolic momentum  "
            + (f"lr {qh.lr:g}, momentum {qh.momentum:g}, nu {qh.nu:g}" if qh else "none here"),
            f"  direct share alpha beta    {product:g} ({kind})",
        ]
        if self.curvature is not None:
            s = self.alpha + self.beta * self.curvature
            band = self.oscillating_curvatures
            verdict = "stable on all curvatures up to it"
            if not self.stable:
                largest_decides = self.lr >= _limit(self.alpha, self.beta, self.curvature)
                verdict = "NOT stable" + ("" if largest_decides else " on small curvatures (2 / alpha)")
            rows += [
                f"  on curvature {self.curvature:g}",
                f"    continuous system        {self.damping}: (alpha + beta L)^2 = {s * s:g}, "
                f"4 L = {4 * self.curvature:g}",
                f"    largest stable lr        {self.max_stable_lr:g}: this lr is {verdict}",
                f"    critical beta            {self.critical_beta:g}",
                "    oscillating curvatures   " + (f"{band[0]:g} to {band[1]:g}" if band else "none"),
            ]
        return "\n".join(rows)


def describe(lr: float, alpha: float, beta: float, curvature: float | None = None) -> Description:
    """Say what a setting means; with the largest curvature L also its damping and its stability on (0, L].

    Args:
        lr: step size gamma, >= 0.
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        curvature: the largest Hessian eigenvalue L > 0, when known.

    Raises:
        ValueError: a value is negative, NaN or infinite.

    Example:
        >>> describe(lr=0.1, alpha=0.5, beta=0.1, curvature=100).stable
        True
        >>> describe(lr=0.25, alpha=10, beta=0.01, curvature=20).stable  # 2 / alpha is 0.2
        False
    """
    _check(lr=lr, alpha=alpha, beta=beta)
    return Description(
        lr=lr,
        alpha=alpha,
        beta=beta,
        curvature=curvature,
        effective_lr=effective_lr(lr, alpha),
        momentum=momentum(lr, alpha),
        quasi_hyperbolic=quasi_hyperbolic(lr, alpha, beta) if alpha > 0 and alpha * lr != 1 else None,
        damping=None if curvature is None else damping(alpha, beta, curvature),
        max_stable_lr=None if curvature is None else max_stable_lr(alpha, beta, curvature),
        critical_beta=None if curvature is None else critical_beta(alpha, curvature),
        oscillating_curvatures=oscillating_curvatures(alpha, beta),
    )


def _check(**values: float) -> None:
    for name, value in values.items():
        if name == "curvature" and not 0 < value < math.inf:
            raise ValueError(
                f"curvature must be positive and finite (the largest eigenvalue of the Hessian), got {value}"
            )
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and non-negative, got {value}")
