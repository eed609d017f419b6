"""How many seeds, and was the difference there? A one-sided test that is declared before, and its power."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Effect", "OneSided", "detectable", "effect", "holm", "one_sided", "power", "seeds_for"]

MOST = 10_000
"""More seeds than this nobody runs."""


@dataclass(frozen=True)
class OneSided:
    """The outcome of a one-sided test over paired seeds."""

    mean: float
    high: float
    """The upper end of the one-sided interval for the mean at 1 - level: below -margin, the test rejects."""
    p: float
    rejected: bool
    """Whether ours is lower by more than the margin, at the level that was declared."""
    seeds: int


def one_sided(differences: ArrayLike, *, level: float = 0.05, margin: float = 0.0) -> OneSided:
    r"""Is ours lower, by more than a margin? Student's one-sided test of paired differences.

    The hypothesis to be refuted is :math:`\mu \ge -\text{margin}`. Number of seeds, level and margin are to
    be declared before anything runs; to look, and add seeds until it rejects, breaks the level.

    Args:
        differences: ours minus theirs for each seed, such as of the logarithms of the losses; independent
            and normal over the seeds.
        level: how often it may reject where nothing is to be found, between 0 and 0.5.
        margin: at least so much lower, in the unit of the differences; 0 or more.

    Raises:
        ValueError: there are fewer than two seeds, a difference is not finite, or an option is out of range.

    Example:
        >>> found = one_sided([-0.2, -0.1, -0.3, -0.1, -0.2])
        >>> found.rejected, round(found.p, 4)
        (True, 0.0043)
    """
    x = _differences(differences)
    _level(level)
    if margin < 0:
        raise ValueError(f"margin must be 0 or more, got {margin!r}")
    from scipy.special import stdtr, stdtrit

    n, mean, error = len(x), float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x))
    high = mean + float(stdtrit(n - 1, 1 - level)) * error
    p = float(stdtr(n - 1, (mean + margin) / error)) if error else float(mean >= -margin)
    return OneSided(mean, high, p, p < level, n)


def holm(ps: ArrayLike) -> list[float]:
    """The p-values of several tests, corrected so that together they err no more often than their level.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none becomes smaller
    than the one before it, nor greater than 1.

    Raises:
        ValueError: a p-value lies outside of [0, 1].

    Example:
        >>> holm([0.01, 0.2, 0.02])
        [0.03, 0.2, 0.04]

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6 (1979).
    """
    x = np.asarray(ps, dtype=float).ravel()
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"p-values lie between 0 and 1, got {ps!r}")
    order = np.argsort(x, kind="stable")
    corrected = np.minimum(np.maximum.accumulate(x[order] * np.arange(len(x), 0, -1)), 1)
    found = np.empty(len(x))
    found[order] = corrected
    return [float(p) for p in found]


def power(effect: float, seeds: int, *, level: float = 0.05, comparisons: int = 1) -> float:
    r"""How often a one-sided paired t-test finds a difference that is there.

    .. math:: P(T_{n-1}(\sqrt n \, \text{effect}) > t_{n-1, 1 - \text{level}/m})

    with T Student's noncentral distribution.

    Args:
        effect: the mean of the differences over their standard deviation, in the direction of the test.
        seeds: n, at least 2.
        level: of the test, between 0 and 0.5; of a two-sided one give half.
        comparisons: m, by which the level is divided (Bonferroni).

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> round(power(1.0, 8), 3)
        0.815

    Reference:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), 2.
    """
    _level(level)
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, got {seeds!r}")
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, got {comparisons!r}")
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(seeds - 1, 1 - level / comparisons))
    return 1 - float(nctdtr(seeds - 1, math.sqrt(seeds) * effect, critical))


def seeds_for(effect: float, *, target: float = 0.8, level: float = 0.05, comparisons: int = 1) -> int:
    """The least number of seeds with which a test has the power `target`; see `power`.

    Raises:
        ValueError: an argument is out of range, or more than 10,000 seeds would be needed.

    Example:
        >>> [seeds_for(effect) for effect in (0.5, 0.8, 1.0)]
        [27, 12, 8]
    """
    if not effect > 0:
        raise ValueError(f"effect must be positive, got {effect!r}")
    _target(target)
    low, high = 1, 2
    while power(effect, high, level=level, comparisons=comparisons) < target:
        low, high = high, 2 * high
        if low >= MOST:
            raise ValueError(f"more than {MOST:,} seeds would be needed to find an effect of {effect:g}")
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(effect, middle, level=level, comparisons=comparisons) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable(seeds: int, *, target: float = 0.8, level: float = 0.05, comparisons: int = 1) -> float:
    """The least effect that a test with so many seeds finds with the power `target`; see `power`.

    Example:
        >>> round(detectable(5), 2)
        1.36
    """
    _target(target)
    low, high = 0.0, 1.0
    while power(high, seeds, level=level, comparisons=comparisons) < target:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        enough = power(middle, seeds, level=level, comparisons=comparisons) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


@dataclass(frozen=True)
class Effect:
    """How large a paired difference is beside its spread over the seeds."""

    d: float
    """Cohen's d: mean over standard deviation; infinite if all differences are the same."""
    g: float
    """Hedges' g: the same without the bias of few seeds."""
    spread: float
    """The standard deviation of the differences."""
    lower: float
    """The share of the seeds on which ours is lower; a tie is half a seed."""
    seeds: int


def effect(differences: ArrayLike) -> Effect:
    r"""The size of a paired difference.

    .. math:: d = \bar x / s, \qquad
        g = d \, \Gamma(\tfrac{n-1}2) \Big/ \Big(\sqrt{\tfrac{n-1}2} \, \Gamma(\tfrac{n-2}2)\Big)

    Args:
        differences: ours minus theirs for each seed.

    Raises:
        ValueError: there are fewer than two seeds, or a difference is not finite.

    Example:
        >>> found = effect([-0.2, -0.1, -0.3, -0.1, 0.1])
        >>> round(found.d, 2), round(found.g, 2), found.lower
        (-0.81, -0.65, 0.8)

    Reference:
        Hedges, Distribution theory for Glass's estimator of effect size, J. Educ. Stat. 6 (1981).
    """
    x = _differences(differences)
    n, mean, spread = len(x), float(x.mean()), float(x.std(ddof=1))
    d = mean / spread if spread else math.copysign(math.inf, mean) if mean else 0.0
    half = (n - 1) / 2
    shrink = 0.0 if n == 2 else math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    lower = float(((x < 0) + 0.5 * (x == 0)).mean())
    return Effect(d, d * shrink if math.isfinite(d) else d, spread, lower, n)


def _differences(differences: ArrayLike) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    x = np.asarray(differences, dtype=float).ravel()
    if len(x) < 2:
        raise ValueError(f"differences of at least two seeds are needed, got {len(x)}")
    if not np.isfinite(x).all():
        raise ValueError(f"differences must be finite, got {x[~np.isfinite(x)][0]}: a diverged run has none")
    return x


def _level(level: float) -> None:
    if not 0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5, got {level!r}")


def _target(target: float) -> None:
    if not 0.5 <= target < 1:
        raise ValueError(f"target must be at least 0.5 and below 1, got {target!r}")
