"""The command line: parses, calls the laboratory, prints."""

import sys
from typing import Annotated

import typer

from .. import __version__
from . import _datasets, _experiments, _mathematics, _results  # noqa: F401  (each adds its commands)
from ._terminal import app, fail, open_streams

__all__ = ["app", "run"]


def run() -> None:
    """Run the command: 0 all well, 1 a user's mistake or a failing disk, 2 wrong usage, 128 + n: signal n."""
    open_streams()
    try:
        app()
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        sys.exit(fail(str(error), 1))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
