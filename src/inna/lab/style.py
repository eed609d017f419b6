"""How all pictures look, and how one becomes a file."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .files import write_atomically

__all__ = ["BLUE", "GREEN", "ORANGE", "PINK", "RED", "SETTINGS", "SKY", "save"]

BLUE, ORANGE, GREEN, RED, SKY, PINK = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7"
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

SETTINGS: Any = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.25, "svg.hashsalt": "inna"}
"""The salt makes the same figure the same file."""


def save(fig: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG, whole or not at all."""
    png, svg = io.BytesIO(), io.BytesIO()
    with mpl.rc_context(SETTINGS):  # the canvases themselves: savefig draws twice for each
        fig.set_dpi(110)
        agg: Any = FigureCanvasAgg(fig)
        agg.print_png(png)
        fig.set_layout_engine("none")  # laid out once, for both
        fig.set_dpi(72)
        vector: Any = FigureCanvasSVG(fig)
        vector.print_svg(svg, metadata={"Date": None})
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path, content in zip(paths, (png, svg), strict=True):
        write_atomically(path, content.getvalue())
    return paths
