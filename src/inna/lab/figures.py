"""The paper's Figures 1-4, in its colours and line styles."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import figure1
from .protocol import Curve, Result, decay_label
from .records import write_atomically

__all__ = ["draw_figure1", "draw_figure2", "draw_figure3", "draw_figure4", "save"]

STYLES: dict[str, dict[str, Any]] = {
    "SGD": {"color": "magenta", "linestyle": "-", "marker": "D"},
    "ADAGRAD": {"color": "red", "linestyle": "-", "marker": "o"},
    "ADAM": {"color": "darkorange", "linestyle": "-", "marker": "*"},
    "INNA (0.1, 0.1)": {"color": "navy", "linestyle": "-."},
    "INNA (0.5, 0.1)": {"color": "blue", "linestyle": "--"},
    "INNA (0.5, 0.5)": {"color": "springgreen", "linestyle": "-"},
    "INNA (0.5, 1)": {"color": "green", "linestyle": ":", "marker": "D"},
    "k^-1/2": {"color": "blue", "linestyle": "--"},
    "k^-1/4": {"color": "darkred", "linestyle": "-"},
    "k^-1/8": {"color": "darkviolet", "linestyle": ":"},
    "k^-1/16": {"color": "plum", "linestyle": "-"},
}

SETTINGS: Any = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.25, "svg.hashsalt": "inna"}
"""The salt makes the same figure the same file."""


def draw_figure1() -> Figure:
    """The trajectories on the V-shaped valley, as printed and with the captions' values."""
    with mpl.rc_context(SETTINGS):
        fig = Figure(figsize=(13, 6.6), layout="constrained")
        rows: Any = fig.subfigures(2, 1)
        for row, panels, title, printed in (
            (
                rows[0],
                figure1.PRINTED,
                "As printed: α is 0.3 in (a) and (b). Grey: the printed curves, digitised",
                figure1.printed_curves(),
            ),
            (rows[1], figure1.CAPTIONED, "With the captions' values: α is 0.5 in (a) and (b)", {}),
        ):
            row.suptitle(title)
            *axes, objective = row.subplots(1, 4)
            for curve in printed.values():
                objective.plot(*curve, ".", color="0.75", markersize=6)
            for ax, panel in zip(axes, panels, strict=True):
                points = figure1.trajectory(panel.alpha, panel.beta)
                _valley(ax)
                ax.plot(points[:, 0], points[:, 1], color=panel.color, linewidth=1)
                ax.plot(*figure1.START, "kx", markersize=9, markeredgewidth=2)
                ax.set_title(f"({panel.name}) α = {panel.alpha}, β = {panel.beta}")
                values = np.log10(np.maximum(points[:, 2], 1e-30))
                line = {"color": panel.color, "linestyle": panel.linestyle, "linewidth": 1.2}
                objective.plot(values, label=f"({panel.name})", **line)
            objective.set(xlabel="iteration", ylabel=r"$\log_{10} J$", ylim=(-8, 2), title="(d)")
            objective.legend(loc="lower left")
    return fig


def _valley(ax: Axes) -> None:
    x, y = np.meshgrid(np.linspace(-2.2, 2.2, 221), np.linspace(-0.2, 2.2, 121))
    height = 100 * (y - np.abs(x)) ** 2 + np.abs(1 - x)
    ax.contour(x, y, np.log10(height + 1e-3), levels=12, cmap="Greys_r", linewidths=0.6, alpha=0.6)
    ax.set(xlim=(-2.2, 2.2), ylim=(-0.2, 2.2), xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    ax.grid(False)


def draw_figure2(results: Sequence[Result]) -> Figure:
    """INNA with each (alpha, beta): training loss, and test accuracy below or beside it."""
    return _loss_and_accuracy(results, [result.candidates for result in results])


def draw_figure3(results: Sequence[Result]) -> Figure:
    """The best INNA of Figure 2 against its peers."""
    return _loss_and_accuracy(results, [result.compared for result in results])


def draw_figure4(results: Sequence[Result]) -> Figure:
    """INNA with steps that decay as k^-q, and k^-1/4 against ADAM."""
    with mpl.rc_context(SETTINGS):
        fig, axes = _panels(len(results))
        for result, (above, below) in zip(results, axes, strict=True):
            curves = sorted([result.best, *result.decays], key=lambda c: -c.setting.q)
            for curve in curves:
                _draw(above, curve, "train_loss", style=decay_label(curve.setting.q))
            for curve in result.curves:
                if curve.setting.label == "ADAM":
                    _draw(below, curve, "train_loss")
            for curve in result.decays[:1]:
                _draw(below, curve, "train_loss", style=decay_label(curve.setting.q))
            for ax in (above, below):
                ax.set(xlabel="epoch", ylabel=r"training loss, $\log_{10} J$")
                ax.set_title(f"{_title(result)}: {result.best.setting.label}")
                ax.legend()
    return fig


def save(fig: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG, whole or not at all."""
    paths = []
    for suffix, options in (("png", {"dpi": 110}), ("svg", {"metadata": {"Date": None}})):
        buffer = io.BytesIO()
        with mpl.rc_context(SETTINGS):
            fig.savefig(buffer, format=suffix, **options)
        paths.append(folder / f"{name}.{suffix}")
        write_atomically(paths[-1], buffer.getvalue())
    return paths


def _loss_and_accuracy(results: Sequence[Result], groups: Sequence[Sequence[Curve]]) -> Figure:
    with mpl.rc_context(SETTINGS):
        fig, axes = _panels(len(results))
        for result, curves, (loss, accuracy) in zip(results, groups, axes, strict=True):
            for curve in curves:
                _draw(loss, curve, "train_loss")
                _draw(accuracy, curve, "test_accuracy")
            for ax, ylabel in ((loss, r"training loss, $\log_{10} J$"), (accuracy, "test accuracy")):
                ax.set(xlabel="epoch", ylabel=ylabel, title=_title(result))
                ax.legend()
            _focus(accuracy, [curve.final("test_accuracy").low for curve in curves])
    return fig


def _panels(problems: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A column of two axes for each problem; a single problem's two axes stand side by side."""
    if problems == 1:
        fig = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = fig.subplots(1, 2)
        return fig, [(left, right)]
    fig = Figure(figsize=(4.8 * problems, 7.5), layout="constrained")
    return fig, list(zip(*fig.subplots(2, problems), strict=True))


def _draw(ax: Axes, curve: Curve, field: str, style: str | None = None) -> None:
    """The mean over the seeds, and a band from the best run to the worst."""
    if curve.lr is None:
        return
    values = curve.series(field)
    epochs = np.arange(values.shape[1])
    mean, low, high = values.mean(axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    if field == "train_loss":
        mean, low, high = np.log10(mean), np.log10(low), np.log10(high)
    name = style or curve.setting.label
    legend = re.sub(r"k\^(\S+)", r"$k^{\1}$", name)
    look: dict[str, Any] = {"linewidth": 1.6, "markersize": 5, "markevery": max(1, len(epochs) // 12)}
    (line,) = ax.plot(epochs, mean, label=legend, **look, **STYLES.get(name, {}))
    ax.fill_between(epochs, low, high, color=line.get_color(), alpha=0.13, linewidth=0)


def _focus(ax: Axes, finals: Sequence[float]) -> None:
    """Show the upper part of the accuracy, where the curves end, as the paper's axes do."""
    low = np.nanmin(finals) if not np.all(np.isnan(finals)) else 0
    ax.set_ylim(bottom=max(0.0, np.floor((low - 0.15) * 10) / 10))


def _title(result: Result) -> str:
    problem = result.problem
    images = f", {problem.train:,} images" if problem.train else ""
    return f"{problem.dataset}, {problem.network}{images}"
