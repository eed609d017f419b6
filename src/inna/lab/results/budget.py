"""What does more tuning give? The best of k trials, estimated from the trials that were run."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BestOf", "expected_best", "median_best"]

Floats = NDArray[np.float64]


def expected_best(losses: ArrayLike, *, replacement: bool = False) -> Floats:
    r"""The expected lowest loss of k trials, for k = 1, ..., n, from n trials.

    With the losses in ascending order, :math:`x_{(1)} \le \dots \le x_{(n)}`,

    .. math:: \hat V_k = \sum_{i=1}^n x_{(i)} \binom{n-i}{k-1} \Big/ \binom nk

    is the mean over all sets of k different trials, and without bias for independent trials. Of a grid it is
    exact: k of its points drawn at random. Dodge et al. draw the k with replacement, with the weights
    :math:`((n-i+1)^k - (n-i)^k) / n^k`, which is too high for a lowest loss, most of all near k = n.

    Args:
        losses: shape (trials,), or (trials, ...) for several of them side by side, such as seeds. Lower is
            better. An infinite one is a trial that gave nothing: the result is infinite for small k then.
        replacement: the estimator of Dodge et al.

    Returns:
        The shape of the losses; row k - 1 is the expected best of k.

    Raises:
        ValueError: there is no trial, or a loss is NaN.

    Example:
        >>> expected_best([3.0, 1.0, 2.0])
        array([2.        , 1.33333333, 1.        ])

    Reference:
        Tang et al., Showing Your Work Doesn't Always Work, ACL 2020, (5); Dodge et al., Show Your Work,
        EMNLP 2019, (7).
    """
    x = np.sort(_trials(losses), axis=0)
    n = len(x)
    if replacement:
        weights = [[((n - i) ** k - (n - i - 1) ** k) / n**k for i in range(n)] for k in range(1, n + 1)]
    else:
        weights = [[math.comb(n - i - 1, k - 1) / math.comb(n, k) for i in range(n)] for k in range(1, n + 1)]
    w = np.array(weights).reshape(n, n, *(1,) * (x.ndim - 1))
    terms = np.multiply(w, x, where=w > 0, out=np.zeros((n, *x.shape)))
    return np.asarray(terms.sum(axis=1))


@dataclass(frozen=True)
class BestOf:
    """The median of the lowest loss of k trials, and an interval for it."""

    median: float
    low: float
    high: float
    k: int


def median_best(losses: ArrayLike, k: int, *, level: float = 0.95, least: float = -math.inf) -> BestOf:
    r"""The loss that the best of k independent trials beats as often as not, with an exact interval.

    The best of k has the distribution function :math:`1 - (1 - F)^k`, so its median is the quantile of F at
    :math:`p = 1 - 2^{-1/k}`. As many of n losses lie below it as a binomial number :math:`B(n, p)` says, so
    two of the ordered losses hold it between them at the level, whatever F is. No order of magnitude is
    averaged: diverged trials may be infinite.

    Args:
        losses: of n independent trials, as in random search; a grid's are not.
        k: how many trials are spent, at least 1.
        level: of the interval, at least; between 0 and 1.
        least: the lower end where so few trials have none, such as 0 for losses that are never negative.

    Raises:
        ValueError: there is no trial, a loss is NaN, or k or level is out of range.

    Example:
        >>> median_best([0.5, 0.1, 0.4, 0.2, 0.3, 0.9, 0.7, 0.6], k=1, least=0.0)
        BestOf(median=0.4, low=0.1, high=0.9, k=1)

    Reference:
        David, Nagaraja, Order Statistics (2003), 7.1; for the whole curve Lourie, Cho, He, Show Your Work
        with Confidence, NAACL 2024.
    """
    x = np.sort(_trials(losses))
    if x.ndim != 1:
        raise ValueError(f"losses must have the shape (trials,), got {x.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    from scipy.special import bdtr

    n, p = len(x), 1 - 0.5 ** (1 / k)
    below = bdtr(np.arange(n), n, p)  # P(B <= 0), ..., P(B <= n - 1)
    tail = (1 - level) / 2
    lower = int((below <= tail).sum())  # the lower-th smallest; none if 0
    upper = int((below < 1 - tail).sum())  # the first index with P(B <= index) >= 1 - tail
    ends = float(x[lower - 1]) if lower else least, float(x[upper]) if upper < n else math.inf
    return BestOf(float(x[max(math.ceil(n * p) - 1, 0)]), *ends, k)


def _trials(losses: ArrayLike) -> Floats:
    x = np.asarray(losses, dtype=float)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"losses must hold a trial at least, got {losses!r}")
    if np.isnan(x).any():
        raise ValueError("losses hold NaN: a trial that diverged is infinite, or has the loss it began with")
    return x
