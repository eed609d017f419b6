"""Whether an Euler path of the non-smooth system can be believed: halve the step until nothing changes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._system import DIN, Trajectory

__all__ = ["Refinement", "refine"]


@dataclass(frozen=True)
class Refinement:
    """The finest path, its step, and the largest difference from each path to the next finer one."""

    trajectory: Trajectory
    lr: float
    differences: tuple[float, ...]

    @property
    def order(self) -> float:
        """The measured order of convergence in the step, from the last two differences."""
        if len(self.differences) < 2:
            return float("nan")
        return float(np.log2(self.differences[-2] / self.differences[-1]))


def refine(
    system: DIN,
    theta: ArrayLike,
    duration: float,
    *,
    tolerance: float = 1e-3,
    points: int = 100,
    max_steps: int = 2**18,
    psi: NDArray[np.float64] | None = None,
    initial_speed: float = 1.0,
) -> Refinement:
    """Follow the system by `DIN.euler`, halving the step until theta and u no longer change.

    Args:
        system: the system; J may be non-smooth.
        theta: theta_0, shape (..., d).
        duration: length of time, > 0.
        tolerance: largest difference allowed, at the kept times, between the last path and that of the double
            step, > 0.
        points: number of equal intervals at whose ends the paths are compared and kept.
        max_steps: largest number of Euler steps tried.
        psi: psi_0; None for the start of Section 5.2.
        initial_speed: s of that start.

    Raises:
        ValueError: duration or tolerance is not positive.
        RuntimeError: the tolerance is not reached. It may never be where the solution is not
            unique, as that of a non-smooth system need not be.

    Example:
        >>> path = refine(DIN(np.sign, alpha=0.5, beta=0.1), [1.0], 5.0, tolerance=1e-3)
        >>> bool(path.differences[-1] <= 1e-3)
        True

    Reference: Castera et al. (2021), (8).
    """
    if not (0 < duration < np.inf and 0 < tolerance < np.inf):
        raise ValueError(
            f"duration and tolerance must be positive, got duration {duration}, tolerance {tolerance}"
        )
    steps, coarse, differences = points, None, []
    while steps <= max_steps:
        lr = duration / steps
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step may explode
            fine = system.euler(theta, lr, steps, psi=psi, initial_speed=initial_speed, every=steps // points)
            if coarse is not None:
                gap = np.maximum(np.abs(fine.theta - coarse.theta), np.abs(fine.u - coarse.u)).max()
                differences.append(float(gap))
                if gap <= tolerance:
                    return Refinement(fine, lr, tuple(differences))
        steps, coarse = 2 * steps, fine
    last = f"{differences[-1]:.3g}" if differences else "not compared"
    raise RuntimeError(
        f"the last two Euler paths differ by {last}, more than {tolerance:g}, after {steps // 2} steps: "
        "raise max_steps or tolerance, or the solution is not unique"
    )
