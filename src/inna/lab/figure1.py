r"""Figure 1 of the paper: INNA on :math:`J = 100 (\theta_2 - |\theta_1|)^2 + |1 - \theta_1|`.

The captions say (a) alpha .5, beta .01, (b) .5, .1, (c) 1.3, .1. The printed curves are those of alpha .3 in
(a) and (b), and start with speed .1 instead of Section 5.2's 1. Both versions are drawn.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..reference import initial_psi, inna_step

__all__ = ["CAPTIONED", "PRINTED", "Panel", "objective", "printed_curves", "trajectory"]

LR = 1e-4
STEPS = 88_000
START = (-1.0, 1.5)
INITIAL_SPEED = 0.1


@dataclass(frozen=True)
class Panel:
    """A trajectory of Figure 1, in the paper's colour."""

    name: str
    alpha: float
    beta: float
    color: str
    linestyle: str


PRINTED = (
    Panel("a", 0.3, 0.01, "tab:orange", "-"),
    Panel("b", 0.3, 0.1, "tab:blue", "--"),
    Panel("c", 1.3, 0.1, "tab:red", "-"),
)
CAPTIONED = (
    Panel("a", 0.5, 0.01, "tab:orange", "-"),
    Panel("b", 0.5, 0.1, "tab:blue", "--"),
    Panel("c", 1.3, 0.1, "tab:red", "-"),
)


def objective(x: float, y: float) -> tuple[float, float, float]:
    """J and a (sub)gradient of it: J, dJ/dx, dJ/dy; the sign of 0 is 0.

    Example:
        >>> objective(-1.0, 1.5)
        (27.0, 99.0, 100.0)
    """
    sign = (x > 0) - (x < 0)
    gap = y - abs(x)
    return 100 * gap * gap + abs(1 - x), -200 * gap * sign + (x > 1) - (x < 1), 200 * gap


def trajectory(
    alpha: float,
    beta: float,
    *,
    start: tuple[float, float] = START,
    initial_speed: float = INITIAL_SPEED,
    lr: float = LR,
    steps: int = STEPS,
) -> NDArray[np.float64]:
    """The paper's recursion (12) on Figure 1's function.

    Args:
        alpha: viscous damping, >= 0.
        beta: Newtonian damping, > 0.
        start: theta_0.
        initial_speed: s of the start.
        lr: constant step gamma.
        steps: number of updates.

    Returns:
        theta_1, theta_2 and J before the first and after each update, shape (steps + 1, 3).

    Example:
        >>> trajectory(0.5, 0.1, steps=10_000)[-1].round(6)
        array([-0.996356,  0.998856,  1.996981])
    """
    x, y = start
    value, gx, gy = objective(x, y)
    px = initial_psi(x, gx, alpha=alpha, beta=beta, initial_speed=initial_speed)
    py = initial_psi(y, gy, alpha=alpha, beta=beta, initial_speed=initial_speed)
    points = [(x, y, value)]
    for _ in range(steps):
        x, px = inna_step(x, px, gx, lr=lr, alpha=alpha, beta=beta)
        y, py = inna_step(y, py, gy, lr=lr, alpha=alpha, beta=beta)
        value, gx, gy = objective(x, y)
        points.append((x, y, value))
    return np.array(points)


def printed_curves() -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The printed curves of panel (d), digitised: panel -> iterations and log10 J, good to about 0.003.

    Example:
        >>> sorted(printed_curves())
        ['a', 'b', 'c']
    """
    curves = json.loads((Path(__file__).parent / "printed" / "figure1.json").read_text())["curves"]
    return {
        name: (np.array(curve["iteration"]), np.array(curve["log10_objective"]))
        for name, curve in curves.items()
    }
