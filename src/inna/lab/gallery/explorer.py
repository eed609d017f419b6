"""Figure 1 with handles: one page with sliders that redraw its trajectories and energies at once."""

from pathlib import Path

import jinja2
from matplotlib.colors import to_hex

from ... import __version__
from ..files import write_atomically
from . import figure1

__all__ = ["page", "write"]


def page() -> str:
    """The page, which needs nothing else: it computes the recursion (12) itself, in float64.

    Example:
        >>> "<canvas" in page() and "http" not in page().replace("http-equiv", "")
        True
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    x, y = figure1.START
    common = {"lr": figure1.LR, "x": x, "y": y, "speed": figure1.INITIAL_SPEED}
    figures = {
        name: [{"alpha": panel.alpha, "beta": panel.beta, **common} for panel in panels]
        for name, panels in (("printed", figure1.PRINTED), ("captions", figure1.CAPTIONED))
    }
    panels = [
        {"name": panel.name, "color": to_hex(panel.color), "dashed": panel.linestyle == "--"}
        for panel in figure1.PRINTED
    ]
    return environment.get_template("explorer.html.j2").render(
        panels=panels, figures=figures, steps=figure1.STEPS, version=__version__
    )


def write(folder: Path) -> Path:
    """Write explorer.html into a folder and return its path."""
    path = folder / "explorer.html"
    write_atomically(path, page().encode())
    return path
