"""What all commands share: the application, the options that recur, what is shown on the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

app = typer.Typer(
    name="inna",
    help="INNA, the Inertial Newton Algorithm for deep learning: experiments, and what settings mean.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(width=None if sys.stdout.isatty() else 110, soft_wrap=False)
err = Console(stderr=True)

OutOption = Annotated[Path, typer.Option("--out", help="Folder for records, figures and report.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder of the data sets; the default is $INNA_DATA, or a cache of yours.")
]


def fail(message: str, status: int) -> int:
    err.print(f"inna: {message}", markup=False, highlight=False, soft_wrap=True)
    return status


@contextmanager
def at_work(count: ProgressColumn | None = None, caption: str = "epochs, left") -> Iterator[Progress]:
    """Show progress, on a terminal only; Ctrl-C ends the work, which the same command takes up again."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        count or MofNCompleteColumn(),
        TextColumn(caption),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            yield progress
    except KeyboardInterrupt:
        message = "stopped; nothing is lost, the same command goes on from here"
        raise typer.Exit(fail(message, 130)) from None


def show(plan: Any, results: Any, paths: list[Path]) -> None:
    from ..lab.findings import findings

    for result in results:
        out.print(_table(result, plan.epochs))
        for sentence in findings(plan, result):
            print(f"  {sentence}")
    for path in paths:
        print(path)


def _table(result: Any, epochs: int) -> Table:
    from ..lab.reporting import page

    table = Table(title=f"{result.problem.title}, {result.problem.network}, after {epochs} epochs")
    table.add_column("optimizer", no_wrap=True)
    for heading in ("gamma_0", "training loss", "best to worst", "test accuracy", "worst to best"):
        table.add_column(heading, justify="right")
    for row in page.rows(result):
        loss, accuracy = row["loss"], row["accuracy"]
        if not row["seeds"]:
            step = "none" if row["lr"] is None else f"{row['lr']:g}"
            table.add_row(row["label"], step if row["chosen"] else "open")
            continue
        table.add_row(
            row["label"] + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
            "none" if row["lr"] is None else f"{row['lr']:g}",
            f"{loss.mean:.3g}",
            f"{loss.low:.3g} to {loss.high:.3g}",
            f"{accuracy.mean:.4f}",
            f"{accuracy.low:.4f} to {accuracy.high:.4f}",
        )
    return table
