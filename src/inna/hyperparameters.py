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
        largest stable lr        0.0853893: this lr is stable
        critical beta            0.09875
"""

import cmath
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
    s = alpha + beta * curvature
    if s == 0:
        return "undamped"
    if math.isclose(s * s, 4 * curvature, rel_tol=1e-12):
        return "critically damped"
    return "underdamped" if s * s < 4 * curvature else "overdamped"


def critical_beta(alpha: float, curvature: float) -> float:
    """The beta that damps a curvature L > 0 critically: (2 sqrt(L) - alpha) / L, or 0 if alpha alone does.

    Example:
        >>> critical_beta(0.5, 100.0)
        0.195
    """
    _check(alpha=alpha, curvature=curvature)
    return max(0.0, (2 * math.sqrt(curvature) - alpha) / curvature)


def max_stable_lr(alpha: float, beta: float, curvature: float) -> float:
    """The least upper bound of the constant lr at which INNA is stable on a curvature L > 0.

    Both multipliers lie inside the unit circle for smaller lr > 0. With s = alpha + beta L it is s / L if
    s^2 <= 4 L, else (s - sqrt(s^2 - 4 L)) / L. It is 0 for alpha = beta = 0: no damping, no stable step.

    Args:
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, >= 0.
        curvature: L > 0, an eigenvalue of the Hessian; the largest one decides.

    Example:
        >>> max_stable_lr(0.5, 0.1, 1.0), max_stable_lr(0.5, 0.01, 400.0), max_stable_lr(1, 1, 1)
        (0.6, 0.01125, 2.0)
    """
    _check(alpha=alpha, beta=beta, curvature=curvature)
    s = alpha + beta * curvature
    if s * s <= 4 * curvature:
        return s / curvature
    return 4 / (s + math.sqrt(s * s - 4 * curvature))  # the same without cancellation


def multipliers(lr: float, alpha: float, beta: float, curvature: float) -> tuple[complex, complex]:
    """The two numbers by which the recursion multiplies its modes in one step on a curvature L > 0.

    They are 1 + lr r for the roots r of r^2 + (alpha + beta L) r + L = 0: complex when s^2 < 4 L.

    Example:
        >>> multipliers(1.0, 1.0, 1.0, 1.0)
        (0j, 0j)
    """
    _check(lr=lr, alpha=alpha, beta=beta, curvature=curvature)
    s = alpha + beta * curvature
    root = cmath.sqrt(s * s - 4 * curvature)
    return 1 - lr * (s + root) / 2, 1 - lr * (s - root) / 2


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

    @property
    def stable(self) -> bool | None:
        """Whether lr is below the stability limit; None when no curvature is given."""
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
            verdict = "stable" if self.stable else "NOT stable"
            rows += [
                f"  on curvature {self.curvature:g}",
                f"    continuous system        {self.damping}: (alpha + beta L)^2 = {s * s:g}, "
                f"4 L = {4 * self.curvature:g}",
                f"    largest stable lr        {self.max_stable_lr:g}: this lr is {verdict}",
                f"    critical beta            {self.critical_beta:g}",
            ]
        return "\n".join(rows)


def describe(lr: float, alpha: float, beta: float, curvature: float | None = None) -> Description:
    """Say what a setting means; with a curvature also its damping and its stability limit.

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
    )


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and non-negative, got {value}")
        if name == "curvature" and value == 0:
            raise ValueError(f"curvature must be positive, got {value}")
