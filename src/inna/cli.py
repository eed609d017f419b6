"""The command line: parses, calls the laboratory, prints."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from . import __version__, hyperparameters

app = typer.Typer(
    name="inna",
    help="INNA, the Inertial Newton Algorithm for deep learning: experiments, and what settings mean.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(width=None if sys.stdout.isatty() else 110, soft_wrap=False)
err = Console(stderr=True)


class Target(StrEnum):
    """What `reproduce` can draw."""

    figure1 = "figure1"
    figure2 = "figure2"
    figure3 = "figure3"
    figure4 = "figure4"
    all = "all"


class Format(StrEnum):
    """What `export` can write."""

    csv = "csv"
    parquet = "parquet"


FolderArgument = Annotated[Path, typer.Argument(help="The folder that was --out.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for records, figures and report.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder with mnist/, cifar-10-batches-bin/, cifar-100-binary/.")
]
DeviceOption = Annotated[str, typer.Option(help="torch device, such as cpu or cuda.")]


@app.command()
def reproduce(
    target: Annotated[Target, typer.Argument(help="Which figure of the paper.")],
    preset: Annotated[str, typer.Option(help="quick (minutes, embedded digits) or paper.")] = "quick",
    out_dir: OutOption = Path("results"),
    data_dir: DataDirOption = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Only this data set of the preset; may be repeated.")
    ] = None,
    device: DeviceOption = "cpu",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; the default is one a processor, or one on a GPU.")
    ] = None,
) -> None:
    """Reproduce the paper's figures: run what they need, draw them, write the report.

    It can be stopped or killed at any moment; the same command goes on from there.
    """
    from .lab import archive, drawing, figure1, plan, protocol, records, report, workers

    loaded = plan.load(preset, datasets=dataset or (), device=_torch_device(device))
    numbers = [1, 2, 3, 4] if target is Target.all else [int(target[-1])]
    out_dir.mkdir(parents=True, exist_ok=True)
    results = []
    if numbers != [1]:
        _check_data(loaded, data_dir)
        archive.keep_plan(out_dir, loaded)
        if jobs is None:
            jobs = workers.processors() if device == "cpu" else 1
        with (
            _at_work() as progress,
            workers.Workers(out_dir / "runs", data_dir, jobs=jobs, progress=progress) as pool,
        ):
            results = protocol.reproduce(loaded, pool, numbers)
    paths = []
    with FileLock(out_dir / ".lock"):
        if 1 in numbers:
            paths = [*drawing.save(figure1.draw(), out_dir, "figure1"), out_dir / "figure1.csv"]
            records.write_atomically(paths[-1], figure1.table().encode())
        drawn = {figure1.TITLE: paths[1]} if paths else {}
        paths += report.publish(out_dir, loaded, results, drawn=drawn)
    _show(loaded, results, paths)


@app.command("report")
def report_(folder: FolderArgument) -> None:
    """Draw the figures and write the report from what is on the disk, finished or not; nothing is run."""
    from .lab import archive, figure1, report

    plan = archive.read_plan(folder)
    results, missing = archive.results(folder, plan)
    svg = folder / "figure1.svg"
    drawn = {figure1.TITLE: svg} if svg.exists() and svg.with_suffix(".csv").exists() else {}
    with FileLock(folder / ".lock"):
        paths = report.publish(folder, plan, results, missing, drawn=drawn)
    for sentence in report.unfinished(missing):
        print(sentence)
    _show(plan, results, paths)


@app.command()
def export(
    folder: FolderArgument,
    format: Annotated[Format, typer.Option(help="csv, or parquet (extra `parquet`).")] = Format.csv,
) -> None:
    """Write all records of all runs of a folder as one table, a row for each run and epoch."""
    from .lab import export

    print(export.write(folder, format.value))


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help="mnist5k, digits, mnist, fashion-mnist, cifar10 or cifar100.")],
    network: Annotated[str, typer.Option(help="nin, lenet5 or small.")],
    optimizer: Annotated[
        str, typer.Option(help="inna, sgd, adam, ... or a class such as torch.optim.AdamW.")
    ] = "inna",
    lr: Annotated[float, typer.Option(help="Initial step gamma_0.")] = 0.1,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="An option of the optimizer, such as beta=0.5.")
    ] = None,
    q: Annotated[float, typer.Option(help="The step decays as (k + 1)^-q.")] = 0.0,
    epochs: Annotated[int, typer.Option(min=0)] = 10,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    init: Annotated[str, typer.Option(help="glorot_normal, glorot_uniform or he_normal.")] = "glorot_normal",
    train_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    test_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    out_dir: OutOption = Path("results"),
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Train one network once, and record every epoch; the same command goes on after an interruption."""
    from .lab import plan, records, workers

    run = plan.validated(
        plan.Run,
        {
            "problem": {
                "dataset": dataset,
                "network": network,
                "train": train_images,
                "test": test_images,
            },
            "optimizer": optimizer,
            "options": dict(_option(text) for text in option or []),
            "lr": lr,
            "q": q,
            "init": init,
            "batch_size": batch_size,
            "epochs": epochs,
            "seed": seed,
            "threads": threads,
            "device": _torch_device(device),
            "evaluate": "every epoch",
        },
    )
    with _at_work() as progress:
        task = progress.add_task(f"{dataset}, {network}, {optimizer}", total=epochs)
        workers.execute_here(
            run,
            out_dir / "runs",
            data_dir,
            on_epoch=lambda epoch: progress.update(task, completed=epoch),
        )
    path = out_dir / "runs" / run.folder / "records.jsonl"
    last = records.read(path)[-1]
    if last["diverged"]:
        print(f"diverged in epoch {last['epoch']}: try a smaller lr than {lr:g}")
    else:
        print(
            f"epoch {last['epoch']}: training loss {last['train_loss']:.4f}, "
            f"test loss {last['test_loss']:.4f}, test accuracy {last['test_accuracy']:.4f}"
        )
    print(path)


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


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def run() -> None:
    """Run the command: 0 all well, 1 a user's mistake or a failing disk, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        sys.exit(_fail(str(error), 1))


def _fail(message: str, status: int) -> int:
    err.print(f"inna: {message}", markup=False, highlight=False, soft_wrap=True)
    return status


@contextmanager
def _at_work() -> Iterator[Progress]:
    """Show progress, on a terminal only; Ctrl-C ends the work, which the same command takes up again."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs, left"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            yield progress
    except KeyboardInterrupt:
        message = "stopped; nothing is lost, the same command goes on from here"
        raise typer.Exit(_fail(message, 130)) from None


def _show(plan: Any, results: Any, paths: list[Path]) -> None:
    from .lab.findings import findings

    for result in results:
        out.print(_table(result, plan.epochs))
        for sentence in findings(plan, result):
            print(f"  {sentence}")
    for path in paths:
        print(path)


def _table(result: Any, epochs: int) -> Table:
    from .lab import report

    table = Table(title=f"{result.problem.dataset}, {result.problem.network}, after {epochs} epochs")
    table.add_column("optimizer", no_wrap=True)
    for heading in ("gamma_0", "training loss", "best to worst", "test accuracy", "worst to best"):
        table.add_column(heading, justify="right")
    for row in report.rows(result):
        loss, accuracy = row["loss"], row["accuracy"]
        table.add_row(
            row["label"] + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
            "none" if row["lr"] is None else f"{row['lr']:g}",
            f"{loss.mean:.4f}",
            f"{loss.low:.4f} to {loss.high:.4f}",
            f"{accuracy.mean:.4f}",
            f"{accuracy.low:.4f} to {accuracy.high:.4f}",
        )
    return table


def _check_data(loaded: Any, data_dir: Path | None) -> None:
    """Read the data sets that come from files before any work is spread: bad ones are told at once."""
    from .lab import data

    for problem in loaded.problems:
        if problem.dataset not in data.EMBEDDED:
            data.load(problem.dataset, data_dir, train=problem.train, test=problem.test)


def _torch_device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not to be had: {str(error).splitlines()[0]}") from None
    return name


def _option(text: str) -> tuple[str, bool | float | str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option is written name=value, got {text!r}")
    if value.lower() in ("true", "false"):
        return key, value.lower() == "true"
    try:
        return key, float(value)
    except ValueError:
        return key, value
