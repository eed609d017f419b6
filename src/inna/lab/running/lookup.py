"""What a plan names, looked up before anything is run: data sets, networks, optimizers, schedules."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .. import data
from ..files import expanded
from ..imports import search
from ..plan import Plan, PlanError, Problem, Run, Setting
from ..search import at
from ..tasks import Task, make, try_task
from ..tasks.task import same
from . import networks, optimizers

__all__ = ["check_device", "looked_up", "looked_up_run"]


def looked_up(plan: Plan) -> Plan:
    """Return a plan with the full paths of its data, if all that it names is there.

    Modules are looked up in the plan's folders, which are searched from now on.

    Raises:
        PlanError: something is not there, or refuses its options: a line for each mistake, with its place.
    """
    mistakes = _Mistakes()
    for folder in plan.modules:
        with mistakes.at("modules"):
            if not Path(folder).is_dir():
                raise ValueError(f"there is no folder {folder!r}")
            search(folder)
    with mistakes.at("init"):
        networks.check_initialiser(plan.init)
    folders = [Path(folder) for folder in plan.modules]
    problems = [
        _problem(p, folders, f"problems.{i}", mistakes, plan.validation) for i, p in enumerate(plan.problems)
    ]
    for i, setting in enumerate(plan.settings):
        _check_setting(setting, f"settings.{i}", mistakes)
    mistakes.tell()
    settings = [plan.resolved(setting) for setting in plan.settings]
    for i, problem in enumerate(problems):
        _try(problem, settings, plan.init, f"problems.{i}.network", mistakes)
    mistakes.tell()
    return plan.model_copy(update={"problems": tuple(problems)})


def looked_up_run(run: Run) -> Run:
    """Return a run with the full path of its data, if these and its network are there.

    Raises:
        PlanError: something is not there.
    """
    mistakes = _Mistakes()
    problem = _problem(run.problem, [], "problem", mistakes, run.validation)
    mistakes.tell()
    setting = Setting(
        label=run.optimizer,
        optimizer=run.optimizer,
        options=run.options,
        grid=(run.lr,),
        weight_decay_on=run.weight_decay_on,
    )
    _try(problem, [setting], run.init, "problem.network", mistakes)
    mistakes.tell()
    return run.model_copy(update={"problem": problem})


def check_device(name: str) -> None:
    """Raise a ValueError if this machine has no such torch device."""
    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.empty(0, device=device)
        elif (device.index or 0) >= torch.cuda.device_count():  # makes no context here
            raise RuntimeError(f"torch sees {torch.cuda.device_count()} CUDA devices")
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} is not to be had: {str(error).splitlines()[0]}") from None


class _Mistakes:
    """Collects what is wrong, and where, to tell it all at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def at(self, place: str, tried: str = "") -> Iterator[None]:
        """Note a mistake instead of raising it, with what was tried."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.lines.append(f"{place}: {error}{tried}")
        except SystemExit as error:  # of a user's network
            self.lines.append(f"{place}: SystemExit: {error}{tried}")

    def tell(self) -> None:
        """Raise what has been noted, if anything."""
        if self.lines:
            raise PlanError("\n".join(sorted(set(self.lines))))


def _problem(
    problem: Problem, folders: list[Path], place: str, mistakes: _Mistakes, validation: float
) -> Problem:
    if problem.task is not None:
        return _task_problem(problem, folders, place, mistakes, validation)
    with mistakes.at(f"{place}.network"):
        networks.resolve(problem.network)
    with mistakes.at(f"{place}.dataset"):
        if problem.dataset not in data.DATASETS:
            paths = [folder / expanded(problem.dataset) for folder in (*folders, Path.cwd())]
            found = next((str(path.resolve()) for path in paths if path.exists()), problem.dataset)
            return problem.model_copy(update={"dataset": data.check_name(found)})
    return problem


def _task_problem(
    problem: Problem, folders: list[Path], place: str, mistakes: _Mistakes, validation: float
) -> Problem:
    """A task whose options that are files are named in full; it is tried on its first mini-batch."""
    found: dict[str, Any] = {}
    for key, value in problem.options.items():
        files = [folder / value for folder in (*folders, Path.cwd())] if isinstance(value, str) else []
        found[key] = next((str(path.resolve()) for path in files if path.is_file()), value)
    with mistakes.at(f"{place}.task"), torch.random.fork_rng(devices=[]):
        task = make(problem.title, found)
        if validation:
            _try_validation(problem.title, task, task.hold_out(validation))
        else:
            try_task(problem.title, task)
    return problem.model_copy(update={"options": found})


def _try_validation(name: str, task: Task, held: Task) -> None:
    """What is held out must be neither trained on nor the test data."""
    if not isinstance(held, Task) or held is task:
        raise ValueError(
            f"hold_out of {name} must give a changed copy of the task, got {type(held).__name__}"
        )
    try_task(name, held)
    try:
        ours, tests = (next(iter(held.held(split))) for split in ("validation", "test"))
    except (Exception, SystemExit) as error:  # whatever the user's class does
        raise ValueError(f"held('validation') of {name} fails: {type(error).__name__}: {error}") from None
    if same(ours, tests):
        raise ValueError(f"held('validation') of {name} gives the test data: give what hold_out took away")


def _check_setting(setting: Setting, place: str, mistakes: _Mistakes) -> None:
    with mistakes.at(f"{place}.optimizer"):
        optimizers.resolve(setting.optimizer)
    with mistakes.at(place):
        optimizers.decay(setting.q, setting.schedule)


def _try(problem: Problem, settings: Sequence[Setting], init: str, place: str, mistakes: _Mistakes) -> None:
    """Try every setting on the network's own parameters, before anything is run."""
    with mistakes.at(place):
        if problem.task is not None:
            net = make(problem.task, problem.options).network()
        else:
            try:
                shape, classes = _shape(problem)
            except data.DataError:  # told where the data are needed
                return
            net = networks.build(problem.network, shape, classes, init=init, seed=0)
        for i, setting in enumerate(settings):
            tried = f" (tried {setting.label!r} on {problem.name})"
            with mistakes.at(f"settings.{i}", tried), torch.random.fork_rng(devices=[]):
                values = at(setting.space, [0.5] * len(setting.space))
                lr = values.pop("lr", setting.grid[0] if setting.grid else 0.1)
                options, on = setting.at(values).options, setting.weight_decay_on or "all"
                optimizers.check_resumes(setting.optimizer, copy.deepcopy(net), lr, options, on)


def _shape(problem: Problem) -> tuple[networks.Shape, int]:
    """An image's shape and the number of classes; a data set that has a name need not be there."""
    if problem.dataset in data.DATASETS:
        known = data.DATASETS[problem.dataset]
        return known.shape, known.classes
    loaded = data.load(problem.dataset, train=problem.train, test=problem.test)
    return loaded.x_train.shape[1:], loaded.classes
