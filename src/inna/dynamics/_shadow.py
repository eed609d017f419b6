"""How far a stochastic run strays from the system's own solution: what the proof of Theorem 3.1 rests on."""

import numpy as np
from numpy.typing import NDArray

from ._checks import non_negative, positive
from ._system import DIN, Trajectory

__all__ = ["shadow_distance"]

Array = NDArray[np.float64]


def shadow_distance(path: Trajectory, system: DIN, time: float, window: float, *, lr: float = 1e-3) -> float:
    r"""The largest distance of a run from the solution of (11) that starts on it, over a window of time.

    .. math:: \sup_{t \le s \le t + T} |(\theta, \psi)(s) - (\bar\theta, \bar\psi)(s)|, \qquad
              (\bar\theta, \bar\psi)(t) = (\theta, \psi)(t)

    With admissible steps and bounded martingale noise, (13), it tends to 0 as t grows, whatever T: the run is
    an asymptotic pseudo-trajectory. The time of iterate k is the sum of the steps before it.

    Args:
        path: the run, one trajectory (no batch), beta > 0.
        system: the system without noise, alpha and beta constant; its gradient is an element of DJ.
        time: t; the window starts at the first point of the path from there on.
        window: T > 0; the path must reach t + T.
        lr: step with which the solution is integrated, small against those of the run.

    Raises:
        ValueError: the path ends before t + T, is a batch, or alpha or beta varies.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> noisy = DIN(lambda x: x + rng.uniform(-1, 1, x.shape))
        >>> path = noisy.euler([1.0], 0.5, 20_000, schedule=lambda k: (k + 1) ** -0.5)
        >>> early, late = (shadow_distance(path, DIN(lambda x: x), t, 2) for t in (1, 100))
        >>> late < early / 2
        True

    Reference: Castera et al. (2021), (13); Benaïm, Hofbauer, Sorin, *Stochastic approximations and
    differential inclusions*, SIAM J. Control Optim. 44 (2005).
    """
    non_negative(time=time)
    positive(window=window, lr=lr)
    if callable(system.alpha) or callable(system.beta):
        raise ValueError("the system must have a constant alpha and beta: its solutions start at time 0")
    if path.theta.ndim != 2:
        raise ValueError(
            f"the path must be one trajectory, not a batch, got theta of shape {path.theta.shape}"
        )
    if path.t[-1] < time + window:
        raise ValueError(f"the path must reach time {time + window}, it ends at {path.t[-1]}")
    first = np.searchsorted(path.t, time)
    last = np.searchsorted(path.t, path.t[first] + window, side="right")
    own = slice(first, last)
    ideal = system.euler(path.theta[first], lr, int(np.ceil(window / lr)), psi=path.psi[first])
    gaps = [
        np.interp(path.t[own] - path.t[first], ideal.t, solution) - run
        for run, solution in zip(
            _columns(path.theta[own], path.psi[own]), _columns(ideal.theta, ideal.psi), strict=True
        )
    ]
    return float(np.linalg.norm(gaps, axis=0).max())


def _columns(theta: Array, psi: Array) -> Array:
    return np.concatenate([theta, psi], axis=-1).T
