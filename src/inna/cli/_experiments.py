"""The commands that run experiments: reproduce, run, compare, train."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TaskID

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
    str, typer.Option(help="Where runs are executed: local, this machine's processes, or a kind of cluster.")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Of a running cluster; without it one is started on this machine.")
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
    from .. import lab
    from ..lab import plan

    numbers = [1, 2, 3, 4] if target is Reproducible.all else [int(target[-1])]
    loaded = plan.load(preset, datasets=dataset or (), device=device)
    cluster: dict[str, Any] = {"engine": engine, "address": address, "jobs": jobs}
    with progressing() as progress:
        found = lab.run(
            loaded,
            out_dir,
            figures=numbers,
            data_dir=data_dir,
            tensorboard=tensorboard,
            progress=progress,
            **cluster,
        )
    show(found)


@app.command("run")
def run_plan(
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
    from .. import lab
    from ..lab import plan

    loaded = plan.load(plan_file, datasets=dataset or (), device=device)
    out_dir = out_dir or Path("results") / plan.file_name(loaded.name)
    cluster: dict[str, Any] = {"engine": engine, "address": address, "jobs": jobs}
    with progressing() as progress:
        found = lab.run(
            loaded, out_dir, data_dir=data_dir, tensorboard=tensorboard, progress=progress, **cluster
        )
    show(found)


@app.command("compare")
def compare_optimizers(
    optimizer: Annotated[
        list[str],
        typer.Option(
            help="NAME, KEY=VALUE, ...: its options, q, schedule, grid (0.1 0.2) and label; repeat. "
            "With --trials also KEY=LOW..HIGH and KEY=A|B."
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="A data set's name, or your own .npz or image folder.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="nin, lenet5, small, or an import path.")] = None,
    task: Annotated[
        str | None, typer.Option(help="Instead of these: NAME, KEY=VALUE, ..., such as 'gpt, width=64'.")
    ] = None,
    trials: Annotated[
        int, typer.Option(min=0, help="So many settings drawn for each optimizer, instead of the grid.")
    ] = 0,
    sampler: Annotated[str, typer.Option(help="Of these: quasi-random, random or tpe.")] = "quasi-random",
    validation: Annotated[
        float, typer.Option(help="A share of the training data held out, whose loss chooses, such as 0.1.")
    ] = 0.0,
    grid: Annotated[
        str, typer.Option(help="The steps gamma_0 to choose from; with --trials, from between.")
    ] = ("0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1"),
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
    from .. import lab

    with progressing() as progress:
        found = lab.compare(
            optimizer,
            dataset=dataset,
            network=network,
            task=task,
            out=out_dir,
            grid=grid,
            trials=trials,
            sampler=sampler,
            validation=validation,
            epochs=epochs,
            selection_epochs=selection_epochs,
            seeds=seeds,
            train=train_images,
            test=test_images,
            batch_size=batch_size,
            init=init,
            sampling=sampling,
            threads=threads,
            device=device,
            data_dir=data_dir,
            engine=engine,
            address=address,
            jobs=jobs,
            tensorboard=tensorboard,
            progress=progress,
        )
    show(found)


@app.command("train")
def train_once(
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
    from .. import lab
    from ..lab import imports, plan
    from ..lab.records import RunFolder

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
            "device": device,
            "evaluate": plan.Evaluation.every_epoch,
        },
    )
    with progressing() as progress:
        last = lab.train(run, out_dir, data_dir=data_dir, tensorboard=tensorboard, progress=progress)[-1]
    if last["diverged"]:
        print(f"diverged in epoch {last['epoch']}: try a smaller lr than {lr:g}")
    else:
        print(
            f"epoch {last['epoch']}: training loss {last['train_loss']:.4f}, "
            f"test loss {last['test_loss']:.4f}, test accuracy {last['test_accuracy']:.4f}"
        )
    print(RunFolder.of(run, out_dir / "runs").log)


def _draw_theory(out_dir: Path) -> None:
    from ..lab import style
    from ..lab.gallery import theory

    out_dir.mkdir(parents=True, exist_ok=True)
    for name, draw in theory.PICTURES.items():
        for path in style.save(draw(), out_dir, name):
            print(path)


@contextmanager
def progressing() -> Iterator[Callable[[str, int, int], None] | None]:
    """Show the progress of what the laboratory does, a bar for each thing; nothing where it is not seen."""
    with at_work() as shown:
        bars: dict[str, TaskID] = {}

        def tell(doing: str, done: int, total: int) -> None:
            if doing not in bars:
                bars[doing] = shown.add_task(doing, total=total)
            shown.update(bars[doing], completed=done, total=total)

        yield None if shown.disable else tell


def _option(text: str) -> tuple[str, Any]:
    from ..lab.comparing import value

    key, equals, number = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option is written name=value, got {text!r}")
    return key, value(number)
