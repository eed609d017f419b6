"""What a system may be given: points, times, steps. What it may not ends here, in one clear ValueError."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["finite", "increasing", "non_negative", "phase", "point", "positive"]

Array = NDArray[np.float64]


def increasing(times: ArrayLike) -> Array:
    """Times at which a trajectory is wanted: at least two, increasing from 0."""
    t = np.asarray(times, float)
    if t.ndim != 1 or t.size < 2 or t[0] != 0 or not np.isfinite(t).all() or not (np.diff(t) > 0).all():
        raise ValueError(
            f"times must be at least two finite numbers that increase from 0, got {_short(times)}"
        )
    return t


def point(theta: ArrayLike) -> Array:
    """A start, shape (d,)."""
    x = finite("theta", theta)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"theta must have shape (d,), got {x.shape}")
    return x


def phase(psi: ArrayLike | None, shape: tuple[int, ...], theta: tuple[int, ...]) -> Array | None:
    """A psi of one start for all, or of one for each, None as it is."""
    if psi is None:
        return None
    array = finite("psi", psi)
    if array.shape not in (shape, theta):
        raise ValueError(f"psi must have theta's shape {theta}, got {array.shape}")
    return array


def finite(name: str, value: ArrayLike) -> Array:
    """Numbers without NaN and infinity."""
    array = np.asarray(value, float)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {_short(value)}")
    return array


def positive(**values: Any) -> None:
    """Numbers, or arrays of them, that are finite and above 0."""
    _bounded("positive", np.greater, values)


def non_negative(**values: Any) -> None:
    """Numbers, or arrays of them, that are finite and not below 0."""
    _bounded("non-negative", np.greater_equal, values)


def _bounded(kind: str, above: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        array = np.asarray(value, float)
        if not (np.isfinite(array) & above(array, 0)).all():
            raise ValueError(f"{name} must be finite and {kind}, got {_short(value)}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
