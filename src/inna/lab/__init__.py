"""The laboratory: the paper's experiments, from a plan to a report.

The front door: `load` a plan and `run` it, `compare` optimizers without writing a plan, `report` on what is
on the disk, get all records as a `table`; `train` is one run alone. The command ``inna`` calls the same
functions.

Behind it data flow one way: plan, runs, records, results, report.

- `inna.lab.plan`: what is to be run, as plain data; the presets are TOML files in ``plans/``;
  `inna.lab.comparing`: a plan from a few words; `inna.lab.imports`: how one's own modules are found.
- `inna.lab.data`: what it is run on.
- `inna.lab.running`: how it is run: training, workers, engines.
- `inna.lab.search`: trials drawn from a declared space.
- `inna.lab.records`: what a run leaves on the disk; `inna.lab.tensorboard`: copies for TensorBoard.
- `inna.lab.protocol`: Section 5.2 of the paper: which runs, and what is chosen from them.
- `inna.lab.archive`: the same from what is on the disk, without running anything; `inna.lab.status`: how
  far it is; `inna.lab.export`: all records as one table.
- `inna.lab.results`: what the records show.
- `inna.lab.reporting`: the figures and the report.
- `inna.lab.gallery`: Figure 1 and the pictures of the theory, which need no experiment.
- `inna.lab.files`, `inna.lab.style`: how files are written, and how pictures look.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _moved

if TYPE_CHECKING:
    from pandas import DataFrame

    from .plan import Plan, Run
    from .records import Record
    from .reporting.experiment import Experiment
    from .results.curves import Result
    from .running.workers import OnProgress

__all__ = ["compare", "load", "report", "run", "table", "train"]

for _package in ("filelock", "jinja2", "matplotlib", "plotly", "pydantic", "rich"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"inna.lab needs {_package}: pip install 'inna[lab]'", name=_package)

_moved.forward()

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The steps gamma_0 from which `compare` chooses, if not told otherwise."""


def load(plan: str | Path, *, datasets: Sequence[str] = (), device: str | None = None) -> "Plan":
    """Load a plan, and look up what it names: data sets, networks, optimizers, schedules.

    Args:
        plan: ``"quick"``, ``"laptop"``, ``"paper"``, or the path of a TOML file of the same form. What a file
            names is looked up beside it, then in the working directory.
        datasets: keep only the problems on these data sets; all if empty.
        device: run on this torch device instead of the plan's.

    Raises:
        inna.lab.plan.PlanError: the plan is unknown or not sound, or what it names is not there; a line for
            each mistake.

    Example:
        >>> [setting.label for setting in load("quick").settings][-3:]
        ['SGD', 'ADAGRAD', 'ADAM']
    """
    from .plan import load
    from .running.lookup import looked_up

    return looked_up(load(str(plan), datasets=datasets, device=device))


def run(
    plan: "Plan | str | Path",
    out: str | Path,
    *,
    figures: Collection[int] = (2, 3, 4),
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    tensorboard: bool = False,
    progress: "OnProgress | None" = None,
) -> "Experiment":
    """Carry out a plan: choose each gamma_0, run what is left to be run, draw the figures, write the report.

    It can be stopped or killed at any moment; the same call goes on from there. In a script, call it below
    ``if __name__ == "__main__":``, as all that starts processes.

    Args:
        plan: a plan, or what `load` takes.
        out: the folder for records, figures and report.
        figures: which of the paper's figures 1 to 4; what they do not need is not run.
        data_dir: where data sets lie that are not embedded; the default is $INNA_DATA, or a cache.
        jobs: how many runs at once; all that there is room for, if not given.
        engine: ``local``, this machine's processes, or a kind of cluster: a key of `running.engines.ENGINES`.
        address: of a running cluster; without it one is started on this machine.
        tensorboard: copy the records for TensorBoard as they come.
        progress: called with what is being done, the epochs that are done, and all epochs.

    Returns:
        What came out: `Experiment.table`, `Experiment.figures`, `Experiment.findings`, and all curves.

    Raises:
        ValueError: the plan, the data or an option is not sound.
        RuntimeError: a run failed.

    Example:
        >>> from tempfile import mkdtemp
        >>> [file.name for file in run("quick", mkdtemp(), figures=[1]).files]
        ['figure1.png', 'figure1.svg', 'figure1.csv', 'report.html', 'results.json']
    """
    from . import plan as plans

    if not figures or not set(figures) <= {1, 2, 3, 4}:
        raise ValueError(f"figures must be some of 1, 2, 3, 4, got {figures!r}")
    folder = _folder(out)
    if set(figures) == {1}:
        needed = plan if isinstance(plan, plans.Plan) else plans.load(str(plan))
        return _published(folder, needed, [], figure1=True)
    from . import archive, files, hypotheses, protocol
    from .running.lookup import looked_up
    from .running.workers import Workers

    needed = looked_up(plan) if isinstance(plan, plans.Plan) else load(plan)
    _check_device(needed, engine)
    where = _folder(data_dir) if data_dir is not None else None
    _check_data(needed, where)
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder / ".lock"):  # two commands may share the work
        archive.keep_plan(folder, needed)
        hypotheses.declare(folder, needed)
    cluster: dict[str, Any] = {"jobs": jobs, "engine": engine, "address": address}
    with (
        _mirrored(folder, tensorboard),
        Workers(folder / "runs", where, on_progress=progress, **cluster) as workers,
    ):
        results = protocol.reproduce(needed, workers, figures)
    return _published(folder, needed, results, figure1=1 in figures)


def compare(
    optimizers: Sequence[str],
    *,
    dataset: str | None = None,
    network: str | None = None,
    task: str | None = None,
    out: str | Path,
    grid: str | Sequence[float] = STEPS,
    trials: int = 0,
    sampler: str = "quasi-random",
    validation: float = 0.0,
    epochs: int = 12,
    selection_epochs: int | None = None,
    seeds: int = 5,
    train: int | None = None,
    test: int | None = None,
    batch_size: int = 32,
    init: str = "glorot_normal",
    sampling: str = "epochs",
    threads: int = 1,
    device: str = "cpu",
    **options: Any,
) -> "Experiment":
    """Compare optimizers on one problem, each with the best gamma_0 of its grid.

    The plan is written to ``out/plan.toml``, to be edited and given to `run`.

    Args:
        optimizers: each as ``"NAME, KEY=VALUE, ..."``, such as ``"inna, alpha=0.5, beta=0.1, q=0.25"``: its
            options, and what a setting of a plan has: label, q, schedule, clip_norm, batch_size, or a grid of
            its own (``grid=0.01 0.1``). With `trials` also ranges, ``KEY=LOW..HIGH``, and choices,
            ``KEY=A|B``.
        dataset: a data set's name, or the path of an .npz file or of a folder of images.
        network: ``"lenet5"``, ``"nin"``, ``"small"``, or the import path of a function.
        task: instead of these two, a task and its options, such as ``"gpt, width=64"``.
        out: the folder for the plan, records, figures and report.
        grid: the steps gamma_0 to choose from, as numbers or as ``"0.01 0.1"``.
        trials: how many settings are drawn for each optimizer, instead of its grid, from its ranges and
            from those of `inna.lab.spaces`; lr of an optimizer that is not there from between the ends of
            the grid.
        sampler: how they are drawn: ``"quasi-random"``, ``"random"`` or ``"tpe"``.
        validation: the share of the training data that is held out, and whose loss chooses instead.
        epochs: of the long runs, at least 1.
        selection_epochs: after how many gamma_0 is chosen; a quarter of `epochs`, if not given.
        seeds: how many; each is a run.
        train: only the first so many training images; all if not given.
        test: only the first so many test images; all if not given.
        batch_size: of the mini-batches.
        init: the initial weights.
        sampling: ``"epochs"``, or ``"independent"``: each mini-batch drawn with replacement.
        threads: of each run.
        device: a torch device.
        options: those of `run`: data_dir, jobs, engine, address, tensorboard, progress.

    Raises:
        ValueError: something is not sound, or there is another plan in the folder.

    Example:
        >>> from tempfile import mkdtemp
        >>> problem = {"dataset": "digits", "network": "small", "train": 60, "test": 20}
        >>> few = {"epochs": 1, "seeds": 2, "grid": [0.1, 0.2]}
        >>> found = compare(["inna, q=0.5", "adam, grid=0.01"], **problem, **few, out=mkdtemp(), jobs=1)
        >>> found.table()["setting"].tolist(), found.table()["seeds"].tolist()
        (['inna q=0.5', 'adam'], [2, 2])
    """
    from . import comparing
    from .running.lookup import looked_up

    made = looked_up(
        comparing.plan(
            optimizers,
            dataset=dataset,
            network=network,
            task=task,
            train=train,
            test=test,
            grid=grid,
            trials=trials,
            sampler=sampler,
            validation=validation,
            epochs=epochs,
            selection_epochs=selection_epochs or max(1, epochs // 4),
            seeds=list(range(seeds)),
            batch_size=batch_size,
            init=init,
            sampling=sampling,
            threads=threads,
            device=device,
        )
    )
    _check_device(made, options.get("engine", "local"))
    written = _folder(out) / "plan.toml"
    comparing.keep(written, made)
    return run(written, out, **options)


def train(
    run: "Run",
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    tensorboard: bool = False,
    progress: "OnProgress | None" = None,
) -> "list[Record]":
    """Train one network once in this process, or go on with it, and return its records.

    Args:
        run: what to do; see `inna.lab.plan.Plan.long_run`.
        out: the folder below which its records lie.
        data_dir: where data sets lie that are not embedded.
        tensorboard: copy the records for TensorBoard as they come.
        progress: called with what is being done, the epochs that are done, and all epochs.
    """
    from .records import RunFolder
    from .running.execution import execute_here
    from .running.lookup import check_device, looked_up_run

    run = looked_up_run(run)
    check_device(run.device)
    folder = _folder(out)
    doing = f"{run.problem.caption}, {run.optimizer}"
    with _mirrored(folder, tensorboard):
        execute_here(
            run,
            folder / "runs",
            _folder(data_dir) if data_dir is not None else None,
            on_epoch=lambda epoch: progress(doing, epoch, run.epochs) if progress else None,
        )
    return RunFolder.of(run, folder / "runs").records()


def report(out: str | Path) -> "Experiment":
    """Draw the figures and write the report from what is on the disk, finished or not; nothing is run.

    Args:
        out: the folder that was `out` of `run` or `compare`.

    Raises:
        FileNotFoundError: the folder holds no plan.
        ValueError: a record or the plan is damaged.

    Example:
        >>> report("results/quick").table()  # doctest: +SKIP
    """
    from . import archive

    folder = _folder(out)
    plan = archive.read_plan(folder)
    results, missing = archive.results(folder, plan)
    drawn = (folder / "figure1.svg").exists() and (folder / "figure1.csv").exists()
    return _published(folder, plan, results, missing, figure1=drawn, draw=not drawn)


def table(out: str | Path) -> "DataFrame":
    """All records of all runs below a folder: a row for each run and epoch; see `inna.lab.export`.

    Raises:
        FileNotFoundError: there are no records.

    Example:
        >>> table("results/quick").groupby("setting")["train_loss"].min()  # doctest: +SKIP
    """
    from pandas import DataFrame

    from . import export

    return DataFrame(export.table(_folder(out)))


def _folder(path: str | Path) -> Path:
    from .files import expanded

    return expanded(path)


def _check_device(plan: "Plan", engine: str) -> None:
    """A cluster may have a device that this machine has not."""
    from .running.lookup import check_device

    if engine == "local":
        check_device(plan.device)


def _check_data(plan: "Plan", data_dir: Path | None) -> None:
    """Read the data sets that come from files before any work is spread: bad ones are told at once."""
    from . import data

    for problem in plan.problems:
        if problem.task is None and problem.dataset not in data.EMBEDDED:
            data.load(problem.dataset, data_dir, train=problem.train, test=problem.test)


@contextmanager
def _mirrored(folder: Path, tensorboard: bool) -> Iterator[None]:
    if not tensorboard:
        yield
        return
    from .tensorboard import Mirror

    with Mirror(folder):
        yield


def _published(
    folder: Path,
    plan: "Plan",
    results: "list[Result]",
    missing: "Sequence[Run]" = (),
    *,
    figure1: bool,
    draw: bool = True,
) -> "Experiment":
    """Write the report, with Figure 1 if there is one; one process at a time."""
    from . import files
    from .gallery import figure1 as valley
    from .reporting import page
    from .reporting.experiment import Experiment

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with files.locked(folder / ".lock"):
        if figure1 and draw:
            written += valley.write(folder)
        drawn = {valley.TITLE: folder / "figure1.svg"} if figure1 else {}
        written += page.publish(folder, plan, results, missing, drawn=drawn)
    return Experiment(folder, plan, results, list(missing), written)
