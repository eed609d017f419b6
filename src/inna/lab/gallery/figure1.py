r"""Figure 1 of the paper: INNA on :math:`J = 100 (\theta_2 - |\theta_1|)^2 + |1 - \theta_1|`.

The captions say (a) alpha .5, beta .01, (b) .5, .1, (c) 1.3, .1. The printed curves are those of alpha .3 in
(a) and (b), and start with speed .1 instead of Section 5.2's 1. Both versions are drawn.
"""

import csv
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...reference import initial_psi, inna_step
from ..files import write_atomically
from ..style import SETTINGS, save

__all__ = [
    "CAPTIONED",
    "PRINTED",
    "TITLE",
    "Case",
    "draw",
    "objective",
    "printed_curves",
    "trajectories_csv",
    "trajectory",
    "write",
]

LR = 1e-4
STEPS = 88_000
START = (-1.0, 1.5)
TITLE = "Figure 1: INNA on a non-smooth, ill-conditioned valley"
"""What stands above the figure."""
INITIAL_SPEED = 0.1


@dataclass(frozen=True)
class Case:
    """A trajectory of Figure 1, in the paper's colour."""

    name: str
    alpha: float
    beta: float
    color: str
    linestyle: str


PRINTED = (
    Case("a", 0.3, 0.01, "tab:orange", "-"),
    Case("b", 0.3, 0.1, "tab:blue", "--"),
    Case("c", 1.3, 0.1, "tab:red", "-"),
)
"""The settings of the printed curves."""
CAPTIONED = (
    Case("a", 0.5, 0.01, "tab:orange", "-"),
    Case("b", 0.5, 0.1, "tab:blue", "--"),
    Case("c", 1.3, 0.1, "tab:red", "-"),
)
"""The settings that the captions name."""


def objective(x: float, y: float) -> tuple[float, float, float]:
    """J and a (sub)gradient of it: J, dJ/dx, dJ/dy; the sign of 0 is 0.

    Example:
        >>> objective(-1.0, 1.5)
        (27.0, 99.0, 100.0)
    """
    sign = (x > 0) - (x < 0)
    gap = y - abs(x)
    return 100 * gap * gap + abs(1 - x), -200 * gap * sign + (x > 1) - (x < 1), 200 * gap


@cache
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
    curves = json.loads((Path(__file__).parent / "figure1.json").read_bytes())["curves"]
    return {
        name: (np.array(curve["iteration"]), np.array(curve["log10_objective"]))
        for name, curve in curves.items()
    }


def draw() -> Figure:
    """The trajectories on the V-shaped valley, as printed and with the captions' values."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 6.6), layout="constrained")
        rows: Any = fig.subfigures(2, 1)
        for row, panels, title, printed in (
            (
                rows[0],
                PRINTED,
                "As printed: α is 0.3 in (a) and (b). Grey: the printed curves, digitised",
                printed_curves(),
            ),
            (rows[1], CAPTIONED, "With the captions' values: α is 0.5 in (a) and (b)", {}),
        ):
            row.suptitle(title)
            *axes, last = row.subplots(1, 4)
            for curve in printed.values():
                last.plot(*curve, ".", color="0.75", markersize=6)
            for ax, panel in zip(axes, panels, strict=True):
                points = trajectory(panel.alpha, panel.beta)
                _valley(ax)
                ax.plot(points[:, 0], points[:, 1], color=panel.color, linewidth=1)
                ax.plot(*START, "kx", markersize=9, markeredgewidth=2)
                ax.set_title(f"({panel.name}) α = {panel.alpha}, β = {panel.beta}")
                values = np.log10(np.maximum(points[:, 2], 1e-30))
                line = {"color": panel.color, "linestyle": panel.linestyle, "linewidth": 1.2}
                last.plot(values, label=f"({panel.name})", **line)
            last.set(xlabel="iteration", ylabel=r"$\log_{10} J$", ylim=(-8, 2), title="(d)")
            last.legend(loc="lower left")
    return fig


def write(folder: Path) -> list[Path]:
    """Write the figure, and what it shows, into a folder: figure1.png, .svg and .csv."""
    numbers = folder / "figure1.csv"
    paths = [*save(draw(), folder, "figure1"), numbers]
    write_atomically(numbers, trajectories_csv().encode())
    return paths


def trajectories_csv() -> str:
    """What the figure shows, as CSV: every 40th iteration of each trajectory."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["panel", "alpha", "beta", "iteration", "theta_1", "theta_2", "J"])
    for panel in dict.fromkeys(PRINTED + CAPTIONED):
        for iteration, point in enumerate(trajectory(panel.alpha, panel.beta)[::40].tolist()):
            writer.writerow(
                [panel.name, panel.alpha, panel.beta, 40 * iteration, *(f"{x:.6g}" for x in point)]
            )
    return file.getvalue()


def _valley(ax: Axes) -> None:
    x, y = np.meshgrid(np.linspace(-2.2, 2.2, 221), np.linspace(-0.2, 2.2, 121))
    height = 100 * (y - np.abs(x)) ** 2 + np.abs(1 - x)
    ax.contour(x, y, np.log10(height + 1e-3), levels=12, cmap="Greys_r", linewidths=0.6, alpha=0.6)
    ax.set(xlim=(-2.2, 2.2), ylim=(-0.2, 2.2), xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    ax.grid(False)
