"""The commands that run experiments: reproduce, run, compare, train."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ._terminal import DataDirOption, OutOption, app, at_home, at_work, show


class Reproducible(StrEnum):
    """What `reproduce` can draw."""

    figure1 = "figure1"
    figure2 = "figure2"
    figure3 = "figure3"
    figure4 = "figure4"
    all = "all"
    theory = "theory"


DeviceOption = Annotated[str, typer.Option(help="torch device, such as cpu or cuda.")]

EngineOption = Annotated[
    str, typer.Option(help="Where runs are executed: processes of this machine, or a Ray or Dask cluster.")
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
        Reproducible, typer.Argument(help="Which figure of the paper, all four, or pictures of its theory.")
    ],
    preset: Annotated[
        str,
        typer.Option(help="quick (minutes, embedded digits), laptop (an hour) or paper; or a plan's .toml."),
    ] = "quick",
    out_dir: OutOption = Path("results"),
    data_dir: DataDirOption = None,
    dataset: OnlyOption = None,
    device: DeviceOption = "cpu",
    engine: EngineOption = "local",
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Reproduce the paper's figures: run what they need, draw them, write the report.

    It can be stopped or killed at any moment; the same command goes on from there.
    """
    if target is Reproducible.theory:
        _draw_theory(out_dir)
        return
    from ..lab import files, plan, style
    from ..lab.gallery import figure1
    from ..lab.reporting import page

    device = device if target is Reproducible.figure1 else _torch_device(device, engine)
    loaded = plan.load(preset, datasets=dataset or (), device=device)
    numbers = [1, 2, 3, 4] if target is Reproducible.all else [int(target[-1])]
    out_dir.mkdir(parents=True, exist_ok=True)
    results = []
    if numbers != [1]:
        from ..lab.running.lookup import looked_up

        loaded = looked_up(loaded)
        cluster = {"engine": engine, "address": address, "jobs": jobs}
        results = _carry_out(loaded, numbers, out_dir, data_dir, tensorboard, cluster)
    paths = []
    with files.locked(out_dir / ".lock"):
        if 1 in numbers:
            paths = [*style.save(figure1.draw(), out_dir, "figure1"), out_dir / "figure1.csv"]
            files.write_atomically(paths[-1], figure1.trajectories_csv().encode())
        drawn = {figure1.TITLE: paths[1]} if paths else {}
        paths += page.publish(out_dir, loaded, results, drawn=drawn)
    show(loaded, results, paths)


@app.command("run")
def run_(
    plan_file: Annotated[
        str, typer.Argument(metavar="PLAN", help="A plan's .toml file, or a preset's name.")
    ],
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for records and report.  [default: results/PLAN]", callback=at_home
        ),
    ] = None,
    data_dir: DataDirOption = None,
    dataset: OnlyOption = None,
    device: Annotated[str | None, typer.Option(help="torch device, instead of the plan's.")] = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Carry out a plan: choose each gamma_0, run what is left to be run, draw the figures, write the report.

    It can be stopped or killed at any moment; the same command goes on from there.
    """
    from ..lab import plan
    from ..lab.running.lookup import looked_up

    loaded = plan.load(plan_file, datasets=dataset or (), device=device)
    loaded = looked_up(loaded)
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
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for the plan, records and report.", callback=at_home)
    ] = Path("results/comparison"),
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
    engine: EngineOption = "local",
    address: AddressOption = None,
    jobs: JobsOption = None,
    tensorboard: TensorboardOption = False,
) -> None:
    """Compare optimizers on one problem, each with the best gamma_0 of its grid.

    The plan is written to OUT/plan.toml, to be edited and given to `inna run`.
    """
    from ..lab import comparing, plan
    from ..lab.running.lookup import looked_up

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
    loaded = looked_up(loaded)
    comparing.keep(out_dir / "plan.toml", loaded)
    loaded = plan.load(str(out_dir / "plan.toml"))
    _run(loaded, out_dir, data_dir, tensorboard, {"engine": engine, "address": address, "jobs": jobs})


@app.command()
def train(
    dataset: Annotated[
        str,
        typer.Option(help="A name that `inna data list` shows, or your own .npz file or folder of images."),
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
    from ..lab import imports, plan, records
    from ..lab.running import execution
    from ..lab.running.lookup import looked_up_run

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
            "evaluate": plan.Evaluation.every_epoch,
        },
    )
    run = looked_up_run(run)
    with _mirrored(out_dir, tensorboard), at_work() as progress:
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


def _draw_theory(out_dir: Path) -> None:
    from ..lab import style
    from ..lab.gallery import theory

    out_dir.mkdir(parents=True, exist_ok=True)
    for name, draw in theory.PICTURES.items():
        for path in style.save(draw(), out_dir, name):
            print(path)


def _run(plan: Any, out_dir: Path, data_dir: Path | None, tensorboard: bool, cluster: dict[str, Any]) -> None:
    """Carry out a whole plan and write its report."""
    from ..lab import files
    from ..lab.reporting import page

    results = _carry_out(plan, [2, 3, 4], out_dir, data_dir, tensorboard, cluster)
    with files.locked(out_dir / ".lock"):
        paths = page.publish(out_dir, plan, results)
    show(plan, results, paths)


def _carry_out(
    plan: Any,
    figures: list[int],
    out_dir: Path,
    data_dir: Path | None,
    tensorboard: bool,
    cluster: dict[str, Any],
) -> Any:
    """Execute what the figures need of a plan."""
    from ..lab import archive, protocol
    from ..lab.running import workers

    _check_data(plan, data_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    archive.keep_plan(out_dir, plan)
    with (
        _mirrored(out_dir, tensorboard),
        at_work() as progress,
        workers.Workers(out_dir / "runs", data_dir, progress=progress, **cluster) as pool,
    ):
        return protocol.reproduce(plan, pool, figures)


@contextmanager
def _mirrored(out_dir: Path, tensorboard: bool) -> Iterator[None]:
    if not tensorboard:
        yield
        return
    from ..lab.tensorboard import Mirror

    with Mirror(out_dir):
        yield


def _check_data(loaded: Any, data_dir: Path | None) -> None:
    """Read the data sets that come from files before any work is spread: bad ones are told at once."""
    from ..lab import data

    for problem in loaded.problems:
        if problem.dataset not in data.EMBEDDED:
            data.load(problem.dataset, data_dir, train=problem.train, test=problem.test)


def _torch_device(name: str, engine: str = "local") -> str:
    """The name of a device, which a cluster may have even if this machine has not."""
    if engine != "local":
        return name

    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not to be had: {str(error).splitlines()[0]}") from None
    return name


def _option(text: str) -> tuple[str, Any]:
    from ..lab.comparing import value

    key, equals, number = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option is written name=value, got {text!r}")
    return key, value(number)
