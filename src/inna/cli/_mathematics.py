"""The commands about the mathematics: explain, explorer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import hyperparameters
from ._terminal import OutOption, app


@app.command()
def explain(
    lr: Annotated[float, typer.Option(help="Step size gamma; with --from, the lr of that optimizer.")] = 0.1,
    alpha: Annotated[float, typer.Option(help="Viscous damping.")] = 0.5,
    beta: Annotated[float, typer.Option(help="Newtonian damping.")] = 0.1,
    curvature: Annotated[
        float | None, typer.Option(help="The largest eigenvalue of the Hessian, if known.")
    ] = None,
    step: Annotated[float | None, typer.Option(help="Long-run step, instead of lr, alpha and beta.")] = None,
    memory: Annotated[float | None, typer.Option(help="Memory in steps, with --step.")] = None,
    direct: Annotated[
        float | None, typer.Option(help="Share of the newest gradient, with --step or --from adamw.")
    ] = None,
    origin: Annotated[
        Literal["adamw", "sgd"] | None,
        typer.Option("--from", help="Translate the setting of this optimizer."),
    ] = None,
    momentum: Annotated[float, typer.Option(help="SGD's.")] = 0.9,
    nesterov: Annotated[bool, typer.Option("--nesterov", help="SGD's.")] = False,
    betas: Annotated[tuple[float, float], typer.Option(help="AdamW's.")] = (0.9, 0.999),
    weight_decay: Annotated[float, typer.Option(help="SGD's or AdamW's.")] = 0.0,
) -> None:
    """Say what a setting means: step, memory, direct share, and with a curvature how stable it is."""
    settings: Mapping[str, Any] = {"lr": lr, "alpha": alpha, "beta": beta}
    if origin is not None:
        if origin == "adamw":
            name = "INNAprop"
            settings = hyperparameters.from_adamw(lr, betas, weight_decay, direct=direct)
        else:
            name, settings = "INNA", hyperparameters.from_sgd(lr, momentum, nesterov, 0.0, weight_decay)
    elif step is not None:
        if memory is None or direct is None:
            raise ValueError("--step needs --memory and --direct")
        name, settings = "INNA", hyperparameters.from_memory(step, memory, direct)
    if origin is not None or step is not None:
        print(f"{name}({', '.join(f'{key}={value:g}' for key, value in settings.items())})")
    print(hyperparameters.describe(settings["lr"], settings["alpha"], settings["beta"], curvature))


@app.command("explorer")
def write_explorer(out_dir: OutOption = Path("results")) -> None:
    """Write a page with which Figure 1 can be played: sliders for alpha, beta, the step and the start."""
    from ..lab.gallery import explorer

    out_dir.mkdir(parents=True, exist_ok=True)
    print(explorer.write(out_dir))
