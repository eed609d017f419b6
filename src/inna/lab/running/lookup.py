"""What a plan names, looked up before anything is run: data sets, networks, optimizers, schedules."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .. import data
from ..files import expanded
from ..imports import search
from ..plan import Plan, PlanError, Problem, Run, Setting
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
    problems = [_problem(p, folders, f"problems.{i}", mistakes) for i, p in enumerate(plan.problems)]
    for i, setting in enumerate(plan.settings):
        _check_setting(setting, f"settings.{i}", mistakes)
    mistakes.tell()
    return plan.model_copy(update={"problems": tuple(problems)})


def looked_up_run(run: Run) -> Run:
    """Return a run with the full path of its data, if these and its network are there.

    Raises:
        PlanError: something is not there.
    """
    mistakes = _Mistakes()
    problem = _problem(run.problem, [], "problem", mistakes)
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
    def at(self, place: str) -> Iterator[None]:
        """Note a mistake instead of raising it."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.lines.append(f"{place}: {error}")

    def tell(self) -> None:
        """Raise what has been noted, if anything."""
        if self.lines:
            raise PlanError("\n".join(sorted(set(self.lines))))


def _problem(problem: Problem, folders: list[Path], place: str, mistakes: _Mistakes) -> Problem:
    with mistakes.at(f"{place}.network"):
        networks.resolve(problem.network)
    with mistakes.at(f"{place}.dataset"):
        if problem.dataset not in data.DATASETS:
            paths = [folder / expanded(problem.dataset) for folder in (*folders, Path.cwd())]
            found = next((str(path.resolve()) for path in paths if path.exists()), problem.dataset)
            return problem.model_copy(update={"dataset": data.check_name(found)})
    return problem


def _check_setting(setting: Setting, place: str, mistakes: _Mistakes) -> None:
    try:
        optimizers.resolve(setting.optimizer)
    except ValueError as error:
        mistakes.lines.append(f"{place}.optimizer: {error}")
        return
    with mistakes.at(place):
        optimizers.decay(setting.q, setting.schedule)
        lr = setting.grid[0] if setting.grid else 0.1
        optimizers.build(setting.optimizer, [torch.zeros(2, 2, requires_grad=True)], lr, setting.options)
