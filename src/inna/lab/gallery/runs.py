"""Pictures of runs: the inclusion through its kinks; Theorem 3.1, saddles and damping that varies in time."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...dynamics import DIN, saddle_escapes, stochastic_limits
from ...nonsmooth import FiniteSum, ReluNetwork
from ...schedules import constant, power
from ..style import BLUE, GREEN, ORANGE, RED, SETTINGS

__all__ = ["draw_inclusion", "draw_limits"]

Array = NDArray[np.float64]


def draw_inclusion() -> Figure:
    """Solutions of the inclusion (11): on ``|x|``, a selection that stays on its kink; on Figure 1's J."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 4.4), layout="constrained")
        left, middle, right = fig.subplots(1, 3)
        _on_the_absolute_value(left, middle)
        _in_the_valley(right)
    return fig


def _on_the_absolute_value(left: Axes, middle: Axes) -> None:
    din = DIN.of(FiniteSum([lambda x: abs(x[0])]), 0.5, 0.1)
    path = din.solve_inclusion([1.0], np.linspace(0, 7, 1401))
    left.plot(path.t, path.theta[:, 0], color=BLUE, label="θ")
    left.plot(path.t, -path.u[:, 0] / 0.1, color=ORANGE, linewidth=1, label="−u/β")
    left.plot(path.t, path.v[:, 0], color="k", label="v in DJ(θ)")
    for i, t in enumerate(path.switches):
        left.axvline(t, color="0.7", linewidth=0.8, linestyle=":", label="" if i else "θ meets the kink")
    left.set(
        xlabel="time t", ylabel="θ, v, −u/β", ylim=(-2.6, 2.6), title="|θ|: at rest on the kink, v = −u/β"
    )
    left.legend(loc="lower right", fontsize=9)
    middle.plot(path.t, path.energy(), color="k", label="the inclusion, solved")
    for lr, color in ((1e-2, RED), (1e-3, ORANGE)):
        euler = din.euler([1.0], lr, round(7 / lr), every=max(1, round(0.005 / lr)))
        middle.plot(euler.t, euler.energy(), color=color, linewidth=0.8, label=f"INNA, γ = {lr:g}")
    middle.set(xlabel="time t", ylabel="energy E", yscale="log", ylim=(1e-16, 20), title="|θ|: the energy")
    middle.legend(loc="lower left", fontsize=9)


def _in_the_valley(ax: Axes) -> None:
    din = DIN.of(FiniteSum([lambda p: 100 * (p[1] - abs(p[0])) ** 2 + abs(1 - p[0])]), 0.3, 0.1)
    path = din.solve_inclusion([-1.0, 1.5], np.linspace(0, 12, 2401), initial_speed=0.1)
    x, y = np.meshgrid(np.linspace(-2.2, 2.2, 221), np.linspace(-0.2, 2.2, 121))
    height = 100 * (y - np.abs(x)) ** 2 + np.abs(1 - x)
    ax.contour(x, y, height, levels=[0.1, 0.5, 1, 2, 4, 10, 30, 70, 130, 200], colors="0.8", linewidths=0.7)
    ax.plot(*path.theta.T, color=BLUE, label="the solution from (−1, 1.5)")
    met = np.array([path.theta[np.searchsorted(path.t, t) - 1] for t in path.switches])
    ax.plot(*met.T, "o", color=ORANGE, markersize=5, label="it crosses a kink")
    ax.plot(1, 1, "k*", markersize=11, label="minimum")
    ax.plot(-1, 1.5, "kx")
    ax.set(
        xlabel="θ₁", ylabel="θ₂", xlim=(-2.2, 2.2), ylim=(-0.2, 2.2), title="Figure 1's J, α = 0.3, β = 0.1"
    )
    ax.legend(loc="upper center", fontsize=9)
    ax.grid(False)


def draw_limits() -> Figure:
    """Theorem 3.1 on a ReLU network, strict saddles left, and damping that varies in time."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 4.4), layout="constrained")
        left, middle, right = fig.subplots(1, 3)
        _theorem_3_1(left)
        _saddles(middle)
        _damping_in_time(right)
    return fig


def _theorem_3_1(ax: Axes) -> None:
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=(20, 2)), np.ones(20)]
    J = ReluNetwork(x, np.abs(x[:, 0]) + 0.5 * rng.normal(size=20), hidden=4)
    starts = rng.normal(size=(3, J.size)) / 2
    schedules = (
        ("(k+1)$^{-1/2}$, admissible", power(1 / 2), 0.1, BLUE, "o-"),
        ("constant, not", constant(), 0.05, RED, "s--"),
        ("(k+1)$^{-2}$, not", power(2), 0.05, ORANGE, "^:"),
    )
    for name, schedule, lr, color, style in schedules:
        found = stochastic_limits(
            J,
            lambda p, n: J.gradient(p, [n]),
            20,
            starts,
            lr=lr,
            schedule=schedule,
            steps=(100, 300, 1000, 3000, 10_000),
        )
        ax.plot(found.steps, found.near.mean(1), style, color=color, label=name)
    ax.set(xscale="log", yscale="log", xlabel="steps k", ylabel="distance of 0 from D near θ$_k$")
    ax.set_title("Theorem 3.1: a ReLU network of 16 weights")
    ax.legend(title="steps", loc="lower left", fontsize=9)


def _saddles(ax: Axes) -> None:
    def gradient(p: Array) -> Array:
        return np.stack([p[..., 0] ** 3 - p[..., 0], p[..., 1]], -1)

    found = saddle_escapes(gradient, [0.0, 0.0], [-1.0, 1.0], spread=1e-6, lr=0.01, steps=4000)
    ax.plot(found.t, found.distance, color=BLUE, alpha=0.15, linewidth=0.8)
    ax.plot([], [], color=BLUE, label=f"{found.distance.shape[1]} runs: {found.share:.0%} leave")
    typical = np.median(found.distance, axis=1)
    growing = (typical > 1e-5) & (typical < 0.1)
    t = found.t[growing]
    line = typical[growing][0] * np.exp(found.rate * (t - t[0]))
    ax.plot(t, line, "k--", label=f"predicted rate {found.rate:.3f}")
    ax.set(yscale="log", xlabel="time t", ylabel="distance from the saddle", title="A strict saddle is left")
    ax.legend(loc="lower right", fontsize=9)


def _damping_in_time(ax: Axes) -> None:
    t = np.geomspace(1, 3000, 500)
    for alpha, name, color in ((0.5, "α = 0.5", BLUE), (lambda s: 3.1 / (1 + s), "α = 3.1/(1 + t)", GREEN)):
        din = DIN(lambda p: 6 * p**5, alpha, 0.1, lambda p: (p**6).sum(-1))
        path = din.solve([1.0], [0.0, *t], rtol=1e-9, initial_speed=0.1)
        height = np.maximum.accumulate(path.objective[:0:-1])[::-1]
        ax.plot(t, height, color=color, label=name)
    ax.plot(t, 10 * t**-2.0, "k:", label="1/t², proved for α/t, convex J")
    ax.set(xscale="log", yscale="log", xlabel="time t", ylabel="largest J from t on")
    ax.set_title("J = θ⁶: damping that vanishes")
    ax.legend(loc="lower left", fontsize=9)
