"""What all commands share: the application, the options that recur, what is shown on the terminal."""

import io
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

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


def _on_terminal(stream: Any) -> bool:
    """Whether somebody looks on; not what rich says, which believes the variable FORCE_COLOR."""
    return stream is not None and bool(stream.isatty())


# Labels are the user's words, in which [x] and :x: mean themselves.
out = Console(width=None if _on_terminal(sys.stdout) else 110, soft_wrap=False, markup=False, emoji=False)
err = Console(stderr=True, markup=False, emoji=False)


def at_home(path: Path | None) -> Path | None:
    """A path with the home folder for its ~, which no shell expands in quotes or after an =."""
    if path is None:
        return None
    try:
        return path.expanduser()
    except RuntimeError:  # ~nobody: a folder may be called so
        return path


OutOption = Annotated[
    Path, typer.Option("--out", help="Folder for records, figures and report.", callback=at_home)
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data sets; the default is $INNA_DATA, or a cache of yours.", callback=at_home
    ),
]


def open_streams() -> None:
    """Let a command end well whose output is closed, or in an encoding that has no gamma."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: else the next file would get its number, and what a library prints there
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  (as long as the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(message: str, status: int) -> int:
    err.print(f"inna: {message}", highlight=False, soft_wrap=True)
    return status


class _Stopped(KeyboardInterrupt):
    """Another signal than that of Ctrl-C; its argument is the number."""


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let other signals that end a process do it as Ctrl-C does: workers end too, nothing is left behind."""

    def stop(number: int, _: Any) -> NoReturn:
        raise _Stopped(number)

    names = ("SIGTERM", "SIGHUP", "SIGQUIT")
    ours = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ours = [number for number in ours if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores SIGHUP
    if threading.current_thread() is not threading.main_thread():
        ours = []
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def at_work(count: ProgressColumn | None = None, caption: str = "epochs, left") -> Iterator[Progress]:
    """Show progress, on a terminal only; Ctrl-C ends the work, which the same command takes up again."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        count or MofNCompleteColumn(),
        TextColumn(caption),
        TimeRemainingColumn(),
    )
    try:
        with (
            _ended_in_order(),
            Progress(*columns, console=err, disable=not _on_terminal(sys.stderr)) as progress,
        ):
            yield progress
    except KeyboardInterrupt as stopped:
        number = stopped.args[0] if isinstance(stopped, _Stopped) else signal.SIGINT
        message = "stopped; nothing is lost, the same command goes on from here"
        raise typer.Exit(fail(message, 128 + number)) from None


def show(found: Any) -> None:
    from ..lab.hypotheses import declarations
    from ..lab.results.findings import declared, findings
    from ..lab.results.judgement import family

    comparisons = family(found.results)
    for result in found.results:
        out.print(_table(result, found.plan.epochs))
        for sentence in findings(found.plan, result, comparisons):
            print(f"  {sentence}")
    for sentence in declared(found.plan, found.results, found.missing, declarations(found.folder)):
        print(sentence)
    for path in found.files:
        print(path)


def _table(result: Any, epochs: int) -> Table:
    from ..lab.reporting import page

    table = Table(title=f"{result.problem.caption}, after {epochs} epochs")
    table.add_column("optimizer", no_wrap=True)
    rows = page.rows(result)
    measured = any(row["seeds"] and math.isfinite(row["accuracy"].mean) for row in rows)  # not by every task
    lead, name = ("test_loss", "test loss") if result.lead == "test_loss" else ("loss", "training loss")
    headings = ("gamma_0", name, "lowest to highest", "test accuracy", "lowest to highest")
    for heading in headings if measured else headings[:3]:
        table.add_column(heading, justify="right")
    for row in rows:
        loss, accuracy = row[lead], row["accuracy"]
        if not row["seeds"]:
            step = "none" if row["lr"] is None else f"{row['lr']:g}"
            table.add_row(row["label"], step if row["chosen"] else "open")
            continue
        table.add_row(
            row["label"] + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
            "none" if row["lr"] is None else f"{row['lr']:g}",
            f"{loss.mean:.3g}",
            f"{loss.low:.3g} to {loss.high:.3g}",
            *([f"{accuracy.mean:.4f}", f"{accuracy.low:.4f} to {accuracy.high:.4f}"] if measured else []),
        )
    return table
