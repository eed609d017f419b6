"""Step-size schedules: pure functions of the iteration k = 0, 1, ..., and Assumption 1 decided for each.

A schedule maps k to a factor of the initial step gamma_0: gamma_k = gamma_0 schedule(k), and schedule(0) = 1
(a warm-up aside). It takes Python numbers and arrays; for the arrays of another library pass its namespace
as `xp` (``jax.numpy``, ``keras.ops``). ``torch.optim.lr_scheduler.LambdaLR``, stepped after every iteration,
takes a schedule as it is. The families are classes with the names of functions, like `functools.partial`.

Example:
    >>> schedule = power(0.5)
    >>> [schedule(k) for k in (0, 3, 99)]
    [1.0, 0.5, 0.1]
    >>> print(admissible(schedule))
    admissible: 0 < q <= 1, so the steps sum to infinity and gamma_k log k tends to 0
    >>> bool(admissible(cosine(1000)))
    False
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Admissibility",
    "Schedule",
    "admissible",
    "constant",
    "cosine",
    "drops",
    "exponential",
    "inverse_k_log",
    "linear",
    "log_power",
    "power",
    "warmup",
]


@dataclass(frozen=True)
class Admissibility:
    """Whether a schedule meets Assumption 1 of the paper, and why. True and False in a condition."""

    admissible: bool
    reason: str

    def __bool__(self) -> bool:
        return self.admissible

    def __str__(self) -> str:
        return f"{'admissible' if self.admissible else 'not admissible'}: {self.reason}"


class Schedule:
    """A pure function of the iteration. Leaves define `factor` and `admissibility`."""

    def __call__(self, k: Any, xp: Any = np) -> Any:
        """The factor at iteration k >= 0: a float for a Python number, else an array of the library `xp`."""
        value = self.factor(k, xp)
        return float(value) if isinstance(k, int | float) else value

    def factor(self, k: Any, xp: Any) -> Any:
        """The same in the arithmetic of the array namespace `xp`."""
        raise NotImplementedError

    def admissibility(self) -> Admissibility:
        """Assumption 1, decided."""
        raise NotImplementedError


def admissible(schedule: Schedule) -> Admissibility:
    r"""Decide Assumption 1: :math:`\sum_k \gamma_k = +\infty` and :math:`\gamma_k \log k \to 0`.

    Args:
        schedule: one of this module's families, or any object with a method `admissibility`.

    Returns:
        The verdict, which is true or false in a condition and prints its reason.

    Raises:
        TypeError: the schedule is a bare function, of which nothing can be proved.

    Example:
        >>> print(admissible(log_power(1)))
        not admissible: gamma_k log k tends to a positive constant, not to 0 (p > 1 is needed)

    Reference: Castera et al. (2021), Assumption 1.
    """
    decide = getattr(schedule, "admissibility", None)
    if decide is None:
        raise TypeError(f"only the families of inna.schedules can be decided, got {schedule!r}")
    verdict: Admissibility = decide()
    return verdict


_SUM_FINITE = "the steps have a finite sum, so the iterates can stop before they reach a critical point"
_NOT_VANISHING = "gamma_k log k tends to infinity: the steps do not vanish"


@dataclass(frozen=True)
class power(Schedule):
    """(k + 1)^-q, q >= 0: Section 5.2 has q = 1/2, Figure 4 has 1/2, 1/4, 1/8 and 1/16."""

    q: float

    def __post_init__(self) -> None:
        _require(0 <= self.q < math.inf, f"q must be finite and non-negative, got {self.q}")

    def factor(self, k: Any, xp: Any) -> Any:
        return (k + 1.0) ** -self.q

    def admissibility(self) -> Admissibility:
        if self.q == 0:
            return Admissibility(False, _NOT_VANISHING)
        if self.q > 1:
            return Admissibility(False, _SUM_FINITE)
        return Admissibility(True, "0 < q <= 1, so the steps sum to infinity and gamma_k log k tends to 0")


@dataclass(frozen=True)
class log_power(Schedule):
    """log(k + e)^-p, p > 0: the slowest decay that Assumption 1 allows is any p > 1."""

    p: float

    def __post_init__(self) -> None:
        _require(0 < self.p < math.inf, f"p must be finite and positive, got {self.p}")

    def factor(self, k: Any, xp: Any) -> Any:
        return xp.log(k + math.e) ** -self.p

    def admissibility(self) -> Admissibility:
        if self.p > 1:
            return Admissibility(True, "p > 1, so gamma_k log k = O(log(k)^(1-p)) tends to 0")
        if self.p == 1:
            return Admissibility(
                False, "gamma_k log k tends to a positive constant, not to 0 (p > 1 is needed)"
            )
        return Admissibility(False, "gamma_k log k tends to infinity (p > 1 is needed)")


@dataclass(frozen=True)
class inverse_k_log(Schedule):
    """1 / ((k + 1) log(k + e)): the fastest of the usual decays whose sum is still infinite."""

    def factor(self, k: Any, xp: Any) -> Any:
        return 1 / ((k + 1.0) * xp.log(k + math.e))

    def admissibility(self) -> Admissibility:
        return Admissibility(True, "the steps sum to infinity (like log log k) and gamma_k log k tends to 0")


@dataclass(frozen=True)
class constant(Schedule):
    """1 at every iteration."""

    def factor(self, k: Any, xp: Any) -> Any:
        return 1.0 + 0.0 * k

    def admissibility(self) -> Admissibility:
        return Admissibility(False, _NOT_VANISHING)


@dataclass(frozen=True)
class exponential(Schedule):
    """rate^k, 0 < rate < 1."""

    rate: float

    def __post_init__(self) -> None:
        _require(0 < self.rate < 1, f"rate must lie strictly between 0 and 1, got {self.rate}")

    def factor(self, k: Any, xp: Any) -> Any:
        return self.rate ** (k + 0.0)

    def admissibility(self) -> Admissibility:
        return Admissibility(False, _SUM_FINITE)


@dataclass(frozen=True)
class linear(Schedule):
    """From 1 at k = 0 in a straight line to 0 at k = steps, 0 afterwards."""

    steps: int

    def __post_init__(self) -> None:
        _require(1 <= self.steps < math.inf, f"steps must be finite and at least 1, got {self.steps}")

    def factor(self, k: Any, xp: Any) -> Any:
        return 1 - xp.minimum(k / self.steps, 1.0)

    def admissibility(self) -> Admissibility:
        return Admissibility(False, _SUM_FINITE)


@dataclass(frozen=True)
class cosine(Schedule):
    """From 1 at k = 0 along half a cosine to 0 at k = steps, 0 afterwards."""

    steps: int

    def __post_init__(self) -> None:
        _require(1 <= self.steps < math.inf, f"steps must be finite and at least 1, got {self.steps}")

    def factor(self, k: Any, xp: Any) -> Any:
        return (1 + xp.cos(math.pi * xp.minimum(k / self.steps, 1.0))) / 2

    def admissibility(self) -> Admissibility:
        return Admissibility(False, _SUM_FINITE)


@dataclass(frozen=True)
class drops(Schedule):
    """A factor `ratio` at each of finitely many milestones: ratio^(number of milestones <= k)."""

    milestones: Sequence[int]
    ratio: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        _require(0 < self.ratio < 1, f"ratio must lie strictly between 0 and 1, got {self.ratio}")
        _require(all(m > 0 for m in self.milestones), f"milestones must be positive, got {self.milestones}")

    def factor(self, k: Any, xp: Any) -> Any:
        value = 1.0 + 0.0 * k
        for milestone in self.milestones:
            value = xp.where(k >= milestone, value * self.ratio, value)
        return value

    def admissibility(self) -> Admissibility:
        return Admissibility(False, f"after the last drop it is constant, so {_NOT_VANISHING}")


@dataclass(frozen=True)
class warmup(Schedule):
    """(k + 1) / steps for k < steps, then the schedule `then`, which starts at its own k = 0."""

    steps: int
    then: Schedule

    def __post_init__(self) -> None:
        _require(1 <= self.steps < math.inf, f"steps must be finite and at least 1, got {self.steps}")

    def factor(self, k: Any, xp: Any) -> Any:
        tail = self.then.factor(xp.maximum(k - self.steps, 0), xp)
        return xp.where(k < self.steps, (k + 1.0) / self.steps, tail)

    def admissibility(self) -> Admissibility:
        tail = admissible(self.then)
        return Admissibility(tail.admissible, f"finitely many warm-up steps change nothing; {tail.reason}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
