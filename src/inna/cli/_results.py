"""The commands that look at what experiments have left: status, report, export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ._terminal import app, at_home, out, show


class Format(StrEnum):
    """What `export` can write."""

    csv = "csv"
    parquet = "parquet"


FolderArgument = Annotated[Path, typer.Argument(help="The folder that was --out.", callback=at_home)]


@app.command("status")
def show_status(folder: FolderArgument) -> None:
    """Say what is done of a plan, what some process is at, what diverged, and how long the rest will take."""
    from ..lab.status import status

    found = status(folder)
    table = Table(title=str(folder))
    table.add_column("problem")
    table.add_column("optimizer")
    for heading in ("choosing, runs", "gamma_0", "epochs", "diverged", "at work"):
        table.add_column(heading, justify="right")
    for line in found.lines:
        table.add_row(
            line.problem,
            line.label,
            "{} of {}".format(*line.selection),
            "" if line.gamma_0 is None else f"{line.gamma_0:g}",
            "{} of {}".format(*line.epochs),
            str(line.diverged or ""),
            str(line.at_work or ""),
        )
    out.print(table)
    print(found.summary)


@app.command("report")
def write_report(folder: FolderArgument) -> None:
    """Draw the figures and write the report from what is on the disk, finished or not; nothing is run."""
    from .. import lab
    from ..lab.results.findings import unfinished

    found = lab.report(folder)
    for sentence in unfinished(found.missing):
        print(sentence)
    show(found)


@app.command("export")
def write_export(
    folder: FolderArgument,
    format: Annotated[Format, typer.Option(help="csv, or parquet (extra `parquet`).")] = Format.csv,
) -> None:
    """Write all records of all runs of a folder as one table, a row for each run and epoch."""
    from ..lab import export

    print(export.write(folder, format.value))
