"""Pictures of the theory: what Sections 2 to 4 of the paper prove, drawn from `inna.dynamics`."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ...dynamics import (
    DIN,
    energy,
    energy_rate,
    lambda_range,
    linear_rate,
    on_quadratic,
    power_law,
)
from ...nonsmooth import FiniteSum
from ...reference import psi_from_momentum
from ..style import BLUE, GREEN, ORANGE, PINK, RED, SETTINGS, SKY
from .runs import draw_inclusion, draw_limits

__all__ = [
    "PICTURES",
    "draw_d_criticality",
    "draw_energies",
    "draw_inclusion",
    "draw_limits",
    "draw_phase_portraits",
    "draw_rates",
    "draw_regimes",
]

Array = NDArray[np.float64]


def draw_phase_portraits() -> Figure:
    """The double well in phase space, for alpha beta below, at and above 1.

    The plane is that of (theta, -u), the paper's (theta, psi) sheared: there all points of rest have u = 0.
    """
    half = float(np.sqrt(0.5))  # beta^2 = 1/2 makes the wells' curvature, 2, that of the Jordan block
    regimes = (
        ((0.3, 0.3), None, "αβ < 1: it may spiral"),
        ((2 * half, half), None, "αβ = 1: the wells are Jordan blocks"),
        ((2.5, 1.0), 2.5 - 1, "αβ > 1: a gradient system"),
    )
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 5), layout="constrained")
        for ax, ((alpha, beta), lam, title) in zip(fig.subplots(1, 3), regimes, strict=True):
            _phase_portrait(ax, alpha, beta, lam)
            ax.set_title(f"{title}\nα = {alpha:.3g}, β = {beta:.3g}")
        handles = ax.plot([], [], color=RED, marker="o", markersize=4, label="ends in the left well")
        handles += ax.plot([], [], color=BLUE, marker="o", markersize=4, label="ends in the right well")
        handles += ax.plot([], [], "ks", label="minimum, at rest")
        handles += ax.plot([], [], "ks", markerfacecolor="w", label="saddle, at rest")
        handles += ax.plot([], [], color="0.75", label="levels of E; right: of the potential Φ")
        fig.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9)
    return fig


def _phase_portrait(ax: Axes, alpha: float, beta: float, lam: float | None) -> None:
    well = DIN(lambda p: p**3 - p, alpha, beta, lambda p: ((p**2 - 1) ** 2 / 4).sum(-1))
    assert well.objective is not None
    x, u = np.meshgrid(np.linspace(-2, 2, 161), np.linspace(-2, 2, 161))
    level = energy(well.objective(x[..., None]), u[..., None], alpha, beta, lam)
    ax.contour(
        x, -u, level, levels=level.max() * np.linspace(0, 1, 16)[1:] ** 2, colors="0.8", linewidths=0.8
    )
    for start, momentum in [(-1.8, 1.2), (-1.8, -1.2), (-0.2, -1.8), (0.2, 1.8), (1.8, 1.2), (1.8, -1.2)]:
        psi = np.array([psi_from_momentum(start, momentum, alpha=alpha, beta=beta)])
        path = well.solve([start], np.linspace(0, 40, 4001), psi=psi)
        points = np.concatenate([path.theta, -path.u], axis=1)
        color = BLUE if path.theta[-1, 0] > 0 else RED
        ax.plot(*points.T, color=color, linewidth=1.3)
        ax.plot(*points[0], "o", color=color, markersize=4)
        length = np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()
        for share in (0.15, 0.5):
            at = int(np.searchsorted(length, share * min(length[-1], 5)))
            arrow = {"arrowstyle": "-|>", "color": color}
            ax.annotate("", xy=points[at + 1], xytext=points[at], arrowprops=arrow)
    ax.plot([-1, 1], [0, 0], "ks", zorder=5)
    ax.plot(0, 0, "ks", markerfacecolor="w", zorder=5)
    ax.set(xlim=(-2, 2), ylim=(-2, 2), xlabel="θ", ylabel="ψ′ = −u")
    ax.grid(False)


def draw_energies() -> Figure:
    """E_min, E_max and E along a trajectory, and their measured slopes on the corrected and printed (20)."""
    alpha, beta, h = 0.5, 0.1, 1e-3
    path = _rosenbrock(alpha, beta).solve([-0.5, 0.8], np.arange(0, 8 + h, h))
    low, high = lambda_range(alpha, beta)
    v = path.system.gradient(path.theta)
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 4.2), layout="constrained")
        left, *others = fig.subplots(1, 3)
        left.plot(path.t, path.energy(), color="k", linewidth=2, label=r"$E = E_{min} + E_{max}$")
        left.plot(path.t, path.energy(high), color=BLUE, label=r"$E_{max}$")
        left.plot(path.t, path.energy(low), color=ORANGE, linestyle="--", label=r"$E_{min}$")
        left.plot(path.t, path.objective, color=GREEN, linestyle=":", label="J, which rises at times")
        left.set(xlabel="time t", ylabel="energy", title="The energies fall", yscale="log", ylim=(3e-3, 60))
        left.legend(loc="upper right", fontsize=9)
        for ax, lam, other, name in zip(others, (low, high), (high, low), ("min", "max"), strict=True):
            printed = energy_rate(path.velocity, v, alpha, beta, other)
            ax.plot(path.t, printed, color=RED, linestyle="--", label="(20) as printed")
            ax.plot(path.t, energy_rate(path.velocity, v, alpha, beta, lam), color=BLUE, label="corrected")
            every = slice(None, None, 60)
            slope = np.gradient(path.energy(lam), h)[every]
            ax.plot(path.t[every], slope, "k.", markersize=6, label="measured along the trajectory")
            ax.set(xlabel="time t", ylabel=rf"$dE_{{{name}}}/dt$", xlim=(0, 3))
            ax.set(title=rf"$E_{{{name}}}$: the signs of (20) are swapped")
            ax.legend(loc="lower right", fontsize=9)
    return fig


def _rosenbrock(alpha: float, beta: float) -> DIN:
    def gradient(p: Array) -> Array:
        x, y = p[..., 0], p[..., 1]
        return np.stack([2 * (x - 1) - 20 * x * (y - x * x), 10 * (y - x * x)], -1)

    return DIN(gradient, alpha, beta, lambda p: (1 - p[..., 0]) ** 2 + 5 * (p[..., 1] - p[..., 0] ** 2) ** 2)


def draw_rates() -> Figure:
    """Measured decay against the predictions of Theorem 4.3 and its Kurdyka-Lojasiewicz exponents."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 4.2), layout="constrained")
        left, middle, right = fig.subplots(1, 3)
        _linear_rates(left)
        _power_laws(middle)
        _sharp_minima(right)
    return fig


def _linear_rates(ax: Axes) -> None:
    t, curvatures = np.linspace(0, 36, 3601), np.array([1.0, 10.0])
    for (alpha, beta), color in [((0.5, 0.1), BLUE), ((1.0, 0.5), ORANGE), ((0.2, 2.0), GREEN)]:
        x, _ = on_quadratic(curvatures, alpha, beta, 1.0, t[:, None])
        objective = (curvatures * x**2 / 2).sum(-1)
        decay = np.exp(linear_rate(curvatures, alpha, beta) * t)
        touching = (objective / decay)[500:2000].max()
        ax.plot(t, objective, color=color, label=f"α = {alpha}, β = {beta}")
        ax.plot(t, touching * decay, "k--", linewidth=1)
    ax.plot([], [], "k--", linewidth=1, label="predicted")
    ax.set(yscale="log", ylim=(1e-12, 1e4), xlabel="time t", ylabel="objective J")
    ax.set_title("Strongly convex: linear")
    ax.legend(loc="upper right", fontsize=9)


def _power_laws(ax: Axes) -> None:
    t = np.concatenate([[0.0], np.geomspace(0.1, 1e5, 400)])
    for c, color in [(3, BLUE), (4, ORANGE), (6, GREEN)]:
        path = _power(c, 0.5, 0.1).solve([1.0], t, rtol=1e-9, atol=1e-15)
        exponent, limit = power_law(c, 0.5)
        ax.plot(t[1:], path.objective[1:], color=color, label=f"J = |θ|$^{c}$")
        late = t > 30
        ax.plot(t[late], limit * t[late] ** -exponent, "k--", linewidth=1)
    ax.plot(t[1:], 1 / t[1:], ":", color="0.4", label="1/t, what is proved")
    ax.plot([], [], "k--", linewidth=1, label="predicted, on top")
    ax.set(xscale="log", yscale="log", ylim=(1e-25, 300), xlabel="time t", ylabel="objective J")
    ax.set_title("|θ|$^c$, c > 2: powers of t")
    ax.legend(loc="lower left", fontsize=9)


def _sharp_minima(ax: Axes) -> None:
    t, beta = np.linspace(0, 30, 601), 2.0
    for c, color in [(1.8, BLUE), (1.5, ORANGE), (1.2, GREEN)]:
        path = _power(c, 0.5, beta).solve([1.0], t, method="Radau", rtol=1e-8, atol=1e-60)
        ax.plot(t, path.energy(), color=color, label=f"J = |θ|$^{{{c}}}$")
    ax.plot(t, 30 * np.exp(-2 * t / beta), "k--", linewidth=1, label="predicted: exp(−2t/β)")
    ax.set(yscale="log", ylim=(1e-18, 100), xlabel="time t", ylabel="energy E")
    ax.set_title("|θ|$^c$, 1 < c < 2: no faster as c → 1")
    ax.legend(loc="lower left", fontsize=9)


def _power(c: float, alpha: float, beta: float) -> DIN:
    return DIN(
        lambda p: c * np.abs(p) ** (c - 1) * np.sign(p), alpha, beta, lambda p: (np.abs(p) ** c).sum(-1)
    )


REGIMES = ("unstable", "a mode changes sign at every step", "overdamped", "oscillates (underdamped)")


def regimes(curvature: float, lr: float, alpha: Array, beta: Array) -> tuple[Array, Array]:
    """The regime (an index of REGIMES) and the larger modulus of INNA's two multipliers on a curvature."""
    s = alpha + beta * curvature
    root = np.sqrt((s * s - 4 * curvature).astype(complex))
    plus, minus = 1 + lr * (-s + root) / 2, 1 + lr * (-s - root) / 2
    radius = np.maximum(np.abs(plus), np.abs(minus))
    regime = np.select([radius >= 1, s * s < 4 * curvature, minus.real < 0], [0, 3, 1], default=2)
    return regime.astype(float), radius


STEPS = {10: "solid", 30: "dashed", 100: "dotted"}
"""Steps to a tenth of J - J* -> the style of the line along which so many are needed."""


def draw_regimes(curvatures: tuple[float, ...] = (1.0, 100.0), lr: float = 0.05) -> Figure:
    """Regimes and stability over (alpha, beta) at a step and one curvature a panel."""
    colors = ListedColormap(["0.35", "#f7ee9c", "#cfe8f7", "#f6d9a8"])
    alpha, beta = np.meshgrid(np.geomspace(0.01, 30, 500), np.geomspace(0.001, 30, 500))
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 5.4), layout="constrained")
        for ax, curvature in zip(np.atleast_1d(fig.subplots(1, len(curvatures))), curvatures, strict=True):
            ax.set(xscale="log", yscale="log", xlim=(0.01, 30), ylim=(0.001, 30), xlabel="α", ylabel="β")
            regime, radius = regimes(curvature, lr, alpha, beta)
            ax.pcolormesh(
                alpha, beta, regime, cmap=colors, vmin=-0.5, vmax=3.5, shading="nearest", rasterized=True
            )
            for steps, style in STEPS.items():
                level = float(10 ** (-1 / (2 * steps)))
                ax.contour(alpha, beta, radius, levels=[level], colors="k", linewidths=0.9, linestyles=style)
            ax.plot(alpha[0], 1 / alpha[0], color=PINK, linestyle="--", linewidth=1.6)
            ax.plot(0.5, 0.1, "k*", markersize=12)
            ax.set_title(f"curvature L = {curvature:g}, step γ = {lr:g}")
            ax.grid(False)
        handles: list[Any] = [
            Patch(facecolor=colors(i), edgecolor="0.5", label=n) for i, n in enumerate(REGIMES)
        ]
        handles += ax.plot([], [], color=PINK, linestyle="--", label="αβ = 1: above it a gradient system")
        handles += ax.plot([], [], "k*", linestyle="", label="the default (0.5, 0.1)")
        for steps, style in STEPS.items():
            label = f"{steps} steps to a tenth of J − J*"
            handles += ax.plot([], [], color="k", linestyle=style, linewidth=0.9, label=label)
        fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)
    return fig


def draw_d_criticality() -> Figure:
    """A point that is D-critical and not Clarke-critical, and INNA on it."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 4.2), layout="constrained")
        left, middle, right = fig.subplots(1, 3)
        _spurious_point(left)
        _subdifferentials(middle)
        _staying_and_leaving(right)
    return fig


Terms = tuple[Callable[[Any], Any], ...]


def _relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


FIT: Terms = (lambda x: (_relu(x) - 1) ** 2 / 2, lambda x: (_relu(-x) + 1) ** 2 / 2)
"""A ReLU weight theta fitted to (1, 1) and (-1, -1): half the squares of relu(theta x) - y."""


def _fit_gradient(x: Array) -> Array:
    """What automatic differentiation computes of FIT: relu'(0) = 0."""
    return np.asarray((_relu(x) - 1) * (x > 0) - (_relu(-x) + 1) * (x < 0))


def _spurious_point(ax: Axes) -> None:
    x = np.linspace(-1.5, 2.5, 401)
    first, second = (term(x) for term in FIT)
    ax.plot(x, first, "--", color=BLUE, label="J₁")
    ax.plot(x, second, "-.", color=ORANGE, label="J₂")
    ax.plot(x, first + second, "k", label="J = J₁ + J₂")
    for at, style, label in ((0, "o", "D-critical, not Clarke-critical"), (1, "s", "minimum")):
        height = sum(term(at) for term in FIT)
        ax.plot(at, height, style, color=GREEN if at else RED, markersize=8, label=label)
    ax.set(xlabel="θ", ylabel="objective", ylim=(-0.2, 4))
    ax.set_title("One ReLU weight, data (1, 1) and (−1, −1)")
    ax.legend(loc="upper center", fontsize=9)


def _subdifferentials(ax: Axes) -> None:
    examples: dict[str, Terms] = {
        "|x| − |x|": (np.abs, lambda x: -np.abs(x)),
        "relu(x) − relu(−x)": (_relu, lambda x: -_relu(-x)),
        "½(relu(x) − 1)² + ½(relu(−x) + 1)²": FIT,
    }
    for row, (name, terms) in enumerate(examples.items()):
        J = FiniteSum(terms)
        ax.plot(J.D(0.0).bounds(), [row, row], color=SKY, linewidth=9, solid_capstyle="butt")
        ax.plot(J.clarke(0.0).bounds(), [row, row], "D", color=RED, markersize=7)
        ax.text(0, row + 0.2, name, ha="center", fontsize=9, backgroundcolor="w")
    ax.axvline(0, color="k", linewidth=1)
    ax.plot([], [], color=SKY, linewidth=9, label="D at 0: the sum of the terms' sets")
    ax.plot([], [], "D", color=RED, label="Clarke's subdifferential of the sum at 0")
    ax.set(xlabel="(sub)gradients at 0", yticks=[], ylim=(-0.5, 3.6))
    ax.set_title("D at 0 contains 0; Clarke's set need not")
    ax.legend(loc="upper center", fontsize=9)


def _staying_and_leaving(ax: Axes) -> None:
    starts = np.array([[0.0], [1e-6], [-1e-6]])
    path = DIN(_fit_gradient, 0.5, 0.1).euler(starts, 0.01, 3000, every=10)
    for i, (color, style) in enumerate(((RED, "-"), (BLUE, "-"), (ORANGE, "--"))):
        ax.plot(path.t, path.theta[:, i, 0], style, color=color, label=f"θ₀ = {starts[i, 0]:g}")
    ax.set(xlabel="time t", ylabel="θ", title="INNA stays on it, and leaves it when perturbed")
    ax.legend(loc="center right", fontsize=9)


PICTURES: dict[str, Callable[[], Figure]] = {
    "theory_phases": draw_phase_portraits,
    "theory_energies": draw_energies,
    "theory_rates": draw_rates,
    "theory_regimes": draw_regimes,
    "theory_criticality": draw_d_criticality,
    "theory_inclusion": draw_inclusion,
    "theory_limits": draw_limits,
}
"""File name -> what draws it."""
