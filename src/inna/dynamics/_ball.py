"""The projection on a ball, which keeps the iterates bounded as Theorem 3.1 asks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import finite

__all__ = ["Ball"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ball:
    r"""A ball on which `DIN.euler` projects theta after every step, leaving psi alone.

    .. math:: \theta^+ = P(\theta), \qquad u^+ = u + (\alpha - \tfrac1\beta)(\theta^+ - \theta)

    It is the system (5) on J plus the indicator of the ball: the energy still falls and limits are critical
    for J on the ball. With u left alone the energy rises and theta leaves the wall late; with psi projected
    too the limit can be a wrong point.

    Args:
        radius: > 0.
        centre: a point, or a number for all its coordinates.

    Raises:
        ValueError: the radius is not positive and finite, or the centre not finite.

    Example:
        >>> theta = np.array([3.0, 4.0])
        >>> Ball(1.0).project(theta), theta
        (array([-2.4, -3.2]), array([0.6, 0.8]))

    Reference: Castera et al. (2021), Section 3.2, on the boundedness assumption.
    """

    radius: float
    centre: Any = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.radius < np.inf:
            raise ValueError(f"radius must be positive and finite, got {self.radius}")
        finite("centre", self.centre)

    def project(self, theta: Array) -> Array:
        """Move theta to the nearest point of the ball, in place; what was added to it."""
        offset = theta - self.centre
        norm = np.linalg.norm(offset, axis=-1, keepdims=True)
        correction: Array = offset * (self.radius / np.maximum(norm, self.radius) - 1)
        theta += correction
        return correction
