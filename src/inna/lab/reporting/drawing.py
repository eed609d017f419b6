"""How a figure is drawn: in Matplotlib, with the style of all pictures."""

import re
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ..style import SETTINGS
from .figures import Line, Panel, Picture

__all__ = ["draw"]

WIDEST = 4
"""Columns of a figure, at most."""
KINDS: dict[str, dict[str, Any]] = {
    "curve": {"linewidth": 1.6, "markersize": 5},
    "printed": {"linewidth": 0.9, "linestyle": "-", "marker": "", "zorder": 3},
    "steps": {"linewidth": 1.6, "marker": "", "drawstyle": "steps-post"},
    "chosen": {"linestyle": "", "marker": "o", "markersize": 9, "markeredgecolor": "black"},
    "diverged": {"linestyle": "", "marker": "x", "markersize": 6, "markeredgewidth": 1.8},
}


def draw(picture: Picture) -> Figure:
    """Draw a figure: a column of axes for each of its columns; a single column lies on its side.

    Columns after the fourth go below the first.

    Example:
        >>> empty = [Panel("title", "epoch", label, []) for label in ("loss", "accuracy")]
        >>> [ax.get_ylabel() for ax in draw(Picture("figure", "", "", [empty])).axes]
        ['loss', 'accuracy']
    """
    with mpl.rc_context(SETTINGS):
        columns = [[panel] for panel in picture.columns[0]] if len(picture.columns) == 1 else picture.columns
        if len(columns) > WIDEST:  # what is left goes below
            columns = [[p for column in columns[i::WIDEST] for p in column] for i in range(WIDEST)]
        height = max(len(column) for column in columns)
        width = (5.5 if len(columns) < 3 else 4.8) * len(columns)
        fig = Figure(figsize=(width, 0.6 + 3.8 * height), layout="constrained")
        axes = fig.subplots(height, len(columns), squeeze=False)
        for place, column in zip(axes.T, columns, strict=True):
            for ax, panel in zip(place, column, strict=False):
                _panel(ax, panel)
            for ax in place[len(column) :]:
                ax.remove()
        shown = {h.get_label(): h for ax in fig.axes for h in ax.get_legend_handles_labels()[0]}
        if any(line.kind == "printed" for c in columns for panel in c for line in panel.lines):
            shown["printed"] = Line2D(
                [], [], color="black", label="thin and dark: printed", **KINDS["printed"]
            )
        if shown:
            fig.legend(handles=[*shown.values()], loc="outside lower center", ncols=max(1, int(width / 2)))
    return fig


def _panel(ax: Axes, panel: Panel) -> None:
    for line in panel.lines:
        _draw_line(ax, line)
    ax.set(title=_text(panel.title), xlabel=_text(panel.xlabel), ylabel=_text(panel.ylabel))
    ax.set(xscale=panel.xscale, yscale=panel.yscale, ylim=panel.ylim)
    if panel.xlim is not None:
        ax.set_xlim(panel.xlim)
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if axis.get_scale() == "log" and 0.01 < low / high < 100:  # powers of ten would be too few
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())


def _draw_line(ax: Axes, line: Line) -> None:
    look = {"linestyle": line.look.linestyle, "marker": line.look.marker, **KINDS[line.kind]}
    listed = line.kind in ("curve", "steps")
    (drawn,) = ax.plot(
        line.x,
        line.y,
        color=line.look.color,
        label=_text(line.label) if listed else "_" + line.kind,
        markevery=max(1, len(line.x) // 12),
        **look,
    )
    if line.low is not None and line.high is not None:
        band = np.isfinite(line.low)
        ax.fill_between(
            line.x[band], line.low[band], line.high[band], color=drawn.get_color(), alpha=0.13, linewidth=0
        )


def _text(text: str) -> str:
    """Dollars are no mathematics, except for a decay's; legends leave out what starts with an underscore."""
    text = re.sub(r"k\^-(1/\w+|q\b)", r"$k^{-\1}$", text.replace("$", r"\$"))
    return re.sub("^_", r"$\\_$", text)
