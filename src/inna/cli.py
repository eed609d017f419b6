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
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from . import __version__, hyperparameters

app = typer.Typer(
    name="inna",
    help="INNA, the Inertial Newton Algorithm for deep learning: experiments, and what settings mean.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets: download them, see what is there, check it.", no_args_is_help=True)
app.add_typer(data_app, name="data")
out = Console(width=None if sys.stdout.isatty() else 110, soft_wrap=False)
err = Console(stderr=True)


class Target(StrEnum):
    """What `reproduce` can draw."""

    figure1 = "figure1"
    figure2 = "figure2"
    figure3 = "figure3"
    figure4 = "figure4"
    all = "all"
    theory = "theory"


class Engine(StrEnum):
    """Where runs can be executed."""

    local = "local"
    ray = "ray"
    dask = "dask"


class Format(StrEnum):
    """What `export` can write."""

    csv = "csv"
    parquet = "parquet"


FolderArgument = Annotated[Path, typer.Argument(help="The folder that was --out.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for records, figures and report.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder of the data sets; the default is $INNA_DATA, or a cache of yours.")
]
DeviceOption = Annotated[str, typer.Option(help="torch device, such as cpu or cuda.")]

EngineOption = Annotated[
    Engine, typer.Option(help="Where runs are executed: processes of this machine, or a Ray or Dask cluster.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Of a running Ray or Dask cluster; without it one is started here.")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs at once; the default is all that there is room for.")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--dataset", help="Only this data set of the plan; may be repeated.")
]
TensorboardOption = Annotated[
    bool,
    typer.Option("--tensorboard", help="Copy the records for TensorBoard as they come: OUT/tensorboard."),
]


INITS = "glorot_normal, glorot_uniform, he_normal, or own: the network's own weights."
SAMPLING = "epochs: every image once an epoch; independent: each mini-batch drawn with replacement."


@app.command()
def reproduce(
    target: Annotated[
        Target, typer.Argument(help="Which figure of the paper, all four, or pictures of its theory.")
    ],
    preset: Annotated[
        str,
        typer.Option(help="quick (minutes, embedded digits), laptop (an hour) or paper; or a plan's .toml."),
    ] = "quick",
    out_dir: OutOption = Path("results"),
    data_dir: DataDirOption = None,
    dataset: OnlyOption = None,
    device: DeviceOption = "cpu",
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Reproduce the paper's figures: run what they need, draw them, write the report.

    It can be stopped or killed at any moment; the same command goes on from there.
    """
    if target is Target.theory:
        _draw_theory(out_dir)
        return
    from .lab import drawing, figure1, plan, records, report

    loaded = plan.load(preset, datasets=dataset or (), device=_torch_device(device, engine))
    numbers = [1, 2, 3, 4] if target is Target.all else [int(target[-1])]
    out_dir.mkdir(parents=True, exist_ok=True)
    results = []
    if numbers != [1]:
        cluster = {"engine": engine, "address": address, "jobs": jobs}
        results = _carry_out(loaded, numbers, out_dir, data_dir, tensorboard, cluster)
    paths = []
    with FileLock(out_dir / ".lock"):
        if 1 in numbers:
            paths = [*drawing.save(figure1.draw(), out_dir, "figure1"), out_dir / "figure1.csv"]
            records.write_atomically(paths[-1], figure1.table().encode())
        drawn = {figure1.TITLE: paths[1]} if paths else {}
        paths += report.publish(out_dir, loaded, results, drawn=drawn)
    _show(loaded, results, paths)


@app.command("run")
def run_(
    plan_file: Annotated[
        str, typer.Argument(metavar="PLAN", help="A plan's .toml file, or a preset's name.")
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for records and report.  [default: results/PLAN]")
    ] = None,
    data_dir: DataDirOption = None,
    dataset: OnlyOption = None,
    device: Annotated[str | None, typer.Option(help="torch device, instead of the plan's.")] = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Carry out a plan: choose each gamma_0, run what is left to be run, draw the figures, write the report.

    It can be stopped or killed at any moment; the same command goes on from there.
    """
    from .lab import plan

    loaded = plan.load(plan_file, datasets=dataset or (), device=device)
    _torch_device(loaded.device, engine)
    out_dir = out_dir or Path("results") / plan.file_name(loaded.name)
    _run(loaded, out_dir, data_dir, tensorboard, {"engine": engine, "address": address, "jobs": jobs})


@app.command()
def compare(
    optimizer: Annotated[
        list[str],
        typer.Option(
            help="NAME, KEY=VALUE, ...: its options, q, schedule, grid (0.1 0.2) and label; repeat."
        ),
    ],
    dataset: Annotated[str, typer.Option(help="A data set's name, or your own .npz or image folder.")],
    network: Annotated[str, typer.Option(help="nin, lenet5, small, or an import path.")],
    grid: Annotated[str, typer.Option(help="The steps gamma_0 to choose from.")] = (
        "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1"
    ),
    epochs: Annotated[int, typer.Option()] = 12,
    selection_epochs: Annotated[
        int | None, typer.Option(help="gamma_0 is chosen after so many; the default is a quarter.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many; each is a run.")] = 5,
    batch_size: Annotated[int, typer.Option()] = 32,
    init: Annotated[str, typer.Option(help=INITS)] = "glorot_normal",
    sampling: Annotated[str, typer.Option(help=SAMPLING)] = "epochs",
    train_images: Annotated[int | None, typer.Option(help="Only the first so many.")] = None,
    test_images: Annotated[int | None, typer.Option(help="Only the first so many.")] = None,
    threads: Annotated[int, typer.Option(help="Of each run.")] = 1,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the plan, records and report.")] = Path(
        "results/comparison"
    ),
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Compare optimizers on one problem, each with the best gamma_0 of its grid.

    The plan is written to OUT/plan.toml, to be edited and given to `inna run`.
    """
    from .lab import comparing, plan

    loaded = comparing.plan(
        optimizer,
        dataset=dataset,
        network=network,
        train=train_images,
        test=test_images,
        grid=grid,
        epochs=epochs,
        selection_epochs=selection_epochs or max(1, epochs // 4),
        seeds=list(range(seeds)),
        batch_size=batch_size,
        init=init,
        sampling=sampling,
        threads=threads,
        device=_torch_device(device, engine),
    )
    comparing.keep(out_dir / "plan.toml", loaded)
    loaded = plan.load(str(out_dir / "plan.toml"))
    _run(loaded, out_dir, data_dir, tensorboard, {"engine": engine, "address": address, "jobs": jobs})


@app.command()
def status(folder: FolderArgument) -> None:
    """Say what is done of a plan, what some process is at, what diverged, and how long the rest will take."""
    from .lab.status import status

    found = status(folder)
    table = Table(title=str(folder))
    table.add_column("problem")
    table.add_column("optimizer")
    for heading in ("choosing gamma_0, runs", "gamma_0", "epochs", "diverged", "at work"):
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
    dataset: Annotated[
        str,
        typer.Option(
            help="mnist5k, digits, mnist, fashion-mnist, cifar10, cifar100, or your own .npz or image folder."
        ),
    ],
    network: Annotated[str, typer.Option(help="nin, lenet5, small, or an import path.")],
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
    init: Annotated[str, typer.Option(help=INITS)] = "glorot_normal",
    train_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    test_images: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    sampling: Annotated[str, typer.Option(help=SAMPLING)] = "epochs",
    schedule: Annotated[
        str | None, typer.Option(help="Instead of q: the import path of a function of k.")
    ] = None,
    out_dir: OutOption = Path("results"),
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
    tensorboard: TensorboardOption = False,
) -> None:
    """Train one network once, and record every epoch; the same command goes on after an interruption."""
    from .lab import execution, imports, plan, records

    imports.search(Path())
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
            "schedule": schedule,
            "sampling": sampling,
            "init": init,
            "batch_size": batch_size,
            "epochs": epochs,
            "seed": seed,
            "threads": threads,
            "device": _torch_device(device),
            "evaluate": "every epoch",
        },
    )
    with _mirrored(out_dir, tensorboard), _at_work() as progress:
        task = progress.add_task(f"{dataset}, {network}, {optimizer}", total=epochs)
        execution.execute_here(
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
def explorer(out_dir: OutOption = Path("results")) -> None:
    """Write a page with which Figure 1 can be played: sliders for alpha, beta, the step and the start."""
    from .lab import explorer

    out_dir.mkdir(parents=True, exist_ok=True)
    print(explorer.write(out_dir))


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


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="mnist, fashion-mnist, cifar10, cifar100.")],
    data_dir: DataDirOption = None,
) -> None:
    """Download data sets from their official sources; the same command goes on after an interruption."""
    from .lab import fetch, sources

    wanted = {name: _official(name) for name in names}
    failed = False
    with _at_work(DownloadColumn(), "left") as progress:
        for name, source in wanted.items():
            task = progress.add_task(name, total=None)

            def tell(doing: str, done: int, total: int, task: TaskID = task, name: str = name) -> None:
                progress.update(task, description=f"{name}: {doing}", completed=done, total=total or None)

            try:
                folder = fetch.fetch(source, sources.home(data_dir), on_progress=tell)
            except (sources.DataError, OSError) as error:
                failed = True
                _fail(f"{name}: {error}", 1)
            else:
                print(f"{name}: {folder}")
    if failed:
        raise typer.Exit(1)


@data_app.command("list")
def data_list(data_dir: DataDirOption = None) -> None:
    """List the data sets: what they hold, and whether the files that are there are the official ones."""
    from .lab import data, sources

    where = sources.home(data_dir)
    table = Table("name", "images", "classes", "pixels", "download", "folder", "files")
    for name, entry in data.DATASETS.items():
        channels, height, width = entry.shape
        row = [
            name,
            f"{entry.train:,} + {entry.test:,}",
            f"{entry.classes}",
            f"{height} x {width}" + (f" x {channels}" if channels > 1 else ""),
        ]
        if source := sources.OFFICIAL.get(name):
            size = sum(file.size for file in source.downloads)
            folder = source.find(where)
            row += [f"{size / 1e6:.0f} MB", str(folder.relative_to(where)) if folder else "-"]
            row += [_summary(source.states(where))]
        else:
            row += ["-", "-", "in a package"]
        table.add_row(*row)
    print(f"data sets in {where}")
    out.print(table)


@data_app.command("verify")
def data_verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which data sets; the default is all that are there.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Compare every file with the official one by its SHA-256; exit with 1 if one differs or is missing."""
    from .lab import sources

    where = sources.home(data_dir)
    here = [name for name, source in sources.OFFICIAL.items() if source.find(where)]
    if not (names or here):
        raise ValueError(f"found no data set in {where}: get one with `inna data fetch`, or use --data-dir")
    meaning = {
        sources.State.official: "the official file",
        sources.State.differs: "NOT the official file: damaged, or another copy",
        sources.State.unpacked: "not checked: unpacked, checksums are published for the .gz only",
        sources.State.missing: "MISSING",
    }
    states = set()
    for name in names or here:
        source = _official(name)
        for file, state in source.states(where).items():
            print(f"{source.find(where) or where / source.folder}/{file.name}: {meaning[state]}")
            states.add(state)
    if states & {sources.State.differs, sources.State.missing}:
        raise typer.Exit(1)


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
def _at_work(count: ProgressColumn | None = None, caption: str = "epochs, left") -> Iterator[Progress]:
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
        raise typer.Exit(_fail(message, 130)) from None


def _draw_theory(out_dir: Path) -> None:
    from .lab import drawing, theory

    out_dir.mkdir(parents=True, exist_ok=True)
    for name, draw in theory.PICTURES.items():
        for path in drawing.save(draw(), out_dir, name):
            print(path)


def _run(plan: Any, out_dir: Path, data_dir: Path | None, tensorboard: bool, cluster: dict[str, Any]) -> None:
    """Carry out a whole plan and write its report."""
    from .lab import report

    results = _carry_out(plan, [2, 3, 4], out_dir, data_dir, tensorboard, cluster)
    with FileLock(out_dir / ".lock"):
        paths = report.publish(out_dir, plan, results)
    _show(plan, results, paths)


def _carry_out(
    plan: Any,
    figures: list[int],
    out_dir: Path,
    data_dir: Path | None,
    tensorboard: bool,
    cluster: dict[str, Any],
) -> Any:
    """Execute what the figures need of a plan."""
    from .lab import archive, protocol, workers

    _check_data(plan, data_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    archive.keep_plan(out_dir, plan)
    with (
        _mirrored(out_dir, tensorboard),
        _at_work() as progress,
        workers.Workers(out_dir / "runs", data_dir, progress=progress, **cluster) as pool,
    ):
        return protocol.reproduce(plan, pool, figures)


@contextmanager
def _mirrored(out_dir: Path, tensorboard: bool) -> Iterator[None]:
    if not tensorboard:
        yield
        return
    from .lab.tensorboard import Mirror

    with Mirror(out_dir):
        yield


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

    table = Table(title=f"{result.problem.title}, {result.problem.network}, after {epochs} epochs")
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


def _official(name: str) -> Any:
    from .lab import sources

    if name not in sources.OFFICIAL:
        raise ValueError(f"no source for the data set {name!r}: choose from {', '.join(sources.OFFICIAL)}")
    return sources.OFFICIAL[name]


def _summary(states: dict[Any, Any]) -> str:
    """One word or two for all files of a data set."""
    found = set(states.values())
    if "missing" in found:
        return "not here" if len(found) == 1 else "incomplete"
    return ", ".join("not official" if state == "differs" else state for state in sorted(found))


def _torch_device(name: str, engine: Engine = Engine.local) -> str:
    """The name of a device, which a cluster may have even if this machine has not."""
    if engine is not Engine.local:
        return name

    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not to be had: {str(error).splitlines()[0]}") from None
    return name


def _option(text: str) -> tuple[str, Any]:
    from .lab.comparing import value

    key, equals, number = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option is written name=value, got {text!r}")
    return key, value(number)
