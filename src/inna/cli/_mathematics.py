"""The commands about the mathematics: explain, explorer."""

from pathlib import Path
from typing import Annotated

import typer

from .. import hyperparameters
from ._terminal import OutOption, app


@app.command()
def explain(
    lr: Annotated[float, typer.Option(help="Step size gamma.")] = 0.1,
    alpha: Annotated[float, typer.Option(help="Viscous damping.")] = 0.5,
    beta: Annotated[float, typer.Option(help="Newtonian damping.")] = 0.1,
    curvature: Annotated[
        float | None, typer.Option(help="The largest eigenvalue of the Hessian, if known.")
    ] = None,
) -> None:
    """Say what a setting of lr, alpha and beta means, and with a curvature how stable it is."""
    print(hyperparameters.describe(lr, alpha, beta, curvature))


@app.command()
def explorer(out_dir: OutOption = Path("results")) -> None:
    """Write a page with which Figure 1 can be played: sliders for alpha, beta, the step and the start."""
    from ..lab import explorer

    out_dir.mkdir(parents=True, exist_ok=True)
    print(explorer.write(out_dir))
