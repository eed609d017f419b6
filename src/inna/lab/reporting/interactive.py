"""How a panel becomes a plot of the report: plain data for plotly.js, and the numbers as CSV."""

import csv
import html
import io
import math
import re
from functools import cache
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from .figures import Line, Panel

__all__ = ["javascript", "panel_csv", "plot"]

DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
SYMBOLS = {"D": "diamond", "o": "circle", "*": "star"}
MARKED = 14
"""At most so many of a curve's points are marked."""


@cache
def javascript() -> str:
    """The source of plotly.js, which asks nobody for anything."""
    from plotly.offline import get_plotlyjs  # not at the top: a report without experiments has no plots

    return str(get_plotlyjs())


def plot(panel: Panel) -> dict[str, Any]:
    """The traces and the layout of a panel, as JSON knows them."""
    return {
        "data": [trace for line in panel.lines for trace in _traces(line)],
        "layout": {
            "margin": {"l": 55, "r": 12, "t": 12, "b": 45},
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "hovermode": "closest",
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
            "xaxis": _axis(
                panel.xlabel, panel.xscale, panel.xlim or (None, None), [line.x for line in panel.lines]
            ),
            "yaxis": _axis(panel.ylabel, panel.yscale, panel.ylim, [line.y for line in panel.lines]),
        },
    }


def panel_csv(panel: Panel) -> str:
    """The numbers of a panel, as CSV: a row for each point."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["curve", "kind", panel.xlabel, panel.ylabel, "lowest", "highest"])
    for line in panel.lines:
        nothing = np.full(len(line.x), np.nan)
        y = nothing if line.kind == "diverged" else line.y  # drawn at the top, and no number
        low = nothing if line.low is None else line.low
        high = nothing if line.high is None else line.high
        for numbers in zip(*map(_rounded, (line.x, y, low, high)), strict=True):
            writer.writerow([line.label, line.kind, *numbers])
    return file.getvalue()


def _traces(line: Line) -> list[dict[str, Any]]:
    name, color = _text(line.label), to_hex(line.look.color)
    trace: dict[str, Any] = {"type": "scatter", "name": name, "legendgroup": name}
    trace |= {"x": _rounded(line.x), "y": _rounded(line.y)}
    hover = "<b>%{fullData.name}</b><br>%{xaxis.title.text} %{x}<br>%{y:.4g}"
    if line.low is not None and line.high is not None:
        trace["customdata"] = list(zip(_rounded(line.low), _rounded(line.high), strict=True))
        hover += " (%{customdata[0]:.4g} to %{customdata[1]:.4g})"
    trace["hovertemplate"] = hover + "<extra></extra>"
    if line.kind in ("chosen", "diverged"):
        symbol = "x" if line.kind == "diverged" else "circle"
        mark = {"color": color, "symbol": symbol, "size": 11, "line": {"color": "black", "width": 1}}
        words = "chosen" if line.kind == "chosen" else "a run diverged"
        words = f"<b>%{{fullData.name}}</b><br>{words} at %{{x}}<extra></extra>"
        return [trace | {"mode": "markers", "marker": mark, "showlegend": False, "hovertemplate": words}]
    if line.kind == "printed":
        thin = {"color": color, "width": 1}
        trace |= {"name": f"{name}, printed", "mode": "lines", "line": thin, "showlegend": False}
        return [*_band(line, name, color), trace]
    trace["mode"] = "lines+markers" if line.look.marker and line.kind == "curve" else "lines"
    trace["line"] = {"color": color, "width": 2, "dash": DASHES[line.look.linestyle]}
    trace["line"]["shape"] = "hv" if line.kind == "steps" else "linear"
    trace["marker"] = {"symbol": SYMBOLS.get(line.look.marker, "circle"), "size": 7, "maxdisplayed": MARKED}
    return [*_band(line, name, color), trace]


def _band(line: Line, name: str, color: str) -> list[dict[str, Any]]:
    if line.low is None or line.high is None:
        return []
    there = np.isfinite(line.low)
    x, low, high = line.x[there], line.low[there], line.high[there]
    return [
        {
            "type": "scatter",
            "name": f"{name}, band",
            "legendgroup": name,
            "showlegend": False,
            "hoverinfo": "skip",
            "mode": "none",
            "fill": "toself",
            "fillcolor": f"{color}22",
            "x": _rounded(np.concatenate([x, x[::-1]])),
            "y": _rounded(np.concatenate([high, low[::-1]])),
        }
    ]


def _axis(
    label: str, scale: str, limits: tuple[float | None, float | None], shown: list[NDArray[np.float64]]
) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": _text(label), "standoff": 8},
        "type": scale,
        "gridcolor": "#e6e6e6",
    }
    axis |= {"minorloglabels": "complete", "zeroline": False, "automargin": True}
    if scale == "log":
        numbers = np.concatenate([*shown, [np.nan]])
        many = np.nanmax(numbers) > 100 * np.nanmin(numbers)  # else powers of ten would be too few
        axis |= {"dtick": 1, "exponentformat": "power"} if many else {"dtick": "D2"}
    low, high = limits
    if low is not None and high is not None:
        axis["range"] = [math.log10(low), math.log10(high)] if scale == "log" else [low, high]
    elif low:
        axis["autorangeoptions"] = {"minallowed": low}
    return axis


def _rounded(numbers: NDArray[np.float64]) -> list[float | None]:
    """Five digits, and None for what is no number."""
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in numbers]


def _text(text: str) -> str:
    """Show a text as it is: plotly.js understands some HTML."""
    return re.sub(r"k\^-(1/\w+)", r"k<sup>-\1</sup>", html.escape(text))
