"""Section 5.2 of the paper: gamma_0 by grid search on the training loss, then the long runs over seeds."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from .plan import Plan, Problem, Run, Setting
from .records import Record, RecordError, RunFolder, is_last
from .results.curves import Curve, GridPoint, Result, decayed

__all__ = ["Runner", "reproduce"]


class Runner(Protocol):
    """Who executes runs, and gives their records."""

    @property
    def root(self) -> Path:
        """The folder under which each run has its own (`Run.folder`)."""

    def execute(self, runs: list[Run], description: str) -> None:
        """Execute the runs that are not complete yet, and return when all are."""

    def records(self, run: Run) -> list[Record]:
        """The records of a run; none if it has not begun."""


def reproduce(plan: Plan, runner: Runner, figures: Collection[int]) -> list[Result]:
    """Execute what the given figures (of 2, 3, 4) need; what the disk already holds is not run again.

    Example:
        >>> with Workers(Path("results/runs"), jobs=2) as workers:  # doctest: +SKIP
        ...     results = reproduce(load("quick"), workers, figures=[2, 3, 4])
    """
    candidates = [s for s in plan.settings if s.role == "candidate"]
    peers = [s for s in plan.settings if s.role == "peer" and (3 in figures or (4 in figures and s.is_adam))]
    results = []
    for problem in plan.problems:
        curves = _curves(plan, runner, problem, candidates + peers)
        best = min(curves[: len(candidates)], key=_final_loss, default=None)
        decays = [] if best is None else [decayed(best.setting, q) for q in plan.decays]
        variants = _curves(plan, runner, problem, decays) if 4 in figures else []
        results.append(Result(problem, curves, variants, best))
    return results


def _final_loss(curve: Curve) -> float:
    mean = curve.final("train_loss").mean
    return math.inf if math.isnan(mean) else mean


def _curves(plan: Plan, runner: Runner, problem: Problem, settings: list[Setting]) -> list[Curve]:
    grids = _select(plan, runner, problem, settings)
    chosen = [_best(grid) for grid in grids]
    runs = [
        [plan.long_run(problem, setting, point.lr, seed) for seed in plan.seeds] if point else []
        for setting, point in zip(settings, chosen, strict=True)
    ]
    runner.execute([run for group in runs for run in group], f"{problem.name}: {plan.epochs} epochs")
    tried = [
        plan.selection_run(problem, setting, point.lr, seed)
        for setting, grid in zip(settings, grids, strict=True)
        for point in grid
        for seed in plan.seeds
        if plan.selection_epochs > 0
    ]
    _check_one_data(runner.root, tried + [run for group in runs for run in group])
    return [
        Curve(setting, grid, point.lr if point else None, [runner.records(run) for run in group])
        for setting, grid, point, group in zip(settings, grids, chosen, runs, strict=True)
    ]


def _select(plan: Plan, runner: Runner, problem: Problem, settings: list[Setting]) -> list[list[GridPoint]]:
    """Train at each step of each setting's grid, and extend the grids whose best point lies on the edge."""
    steps = [sorted(setting.grid or plan.grid) for setting in settings]
    if plan.selection_epochs == 0:
        return [[GridPoint(lr, []) for lr in grid] for grid in steps]
    for extension in range(plan.max_extensions + 1):
        runs = {
            (i, lr): [plan.selection_run(problem, setting, lr, seed) for seed in plan.seeds]
            for i, setting in enumerate(settings)
            for lr in steps[i]
        }
        runner.execute([run for group in runs.values() for run in group], f"{problem.name}: choosing gamma_0")
        grids = [
            [_grid_point(plan, lr, [runner.records(run) for run in runs[i, lr]]) for lr in steps[i]]
            for i in range(len(settings))
        ]
        wider = [_wider(grid) for grid in grids]
        if extension == plan.max_extensions or wider == steps:
            break
        steps = wider
    return grids


def _grid_point(plan: Plan, lr: float, runs: list[list[Record]]) -> GridPoint:
    """The end of each selection run; such a run evaluates its loss at its end alone."""
    complete = [run[-1] for run in runs if run and is_last(run[-1], plan.selection_epochs)]
    return GridPoint(lr, [record["train_loss"] for record in complete], len(runs) - len(complete))


def _check_one_data(root: Path, runs: list[Run]) -> None:
    """Runs on different data under one name are not to be compared."""
    found: dict[str, Path] = {}
    for left in (RunFolder.of(run, root) for run in runs):
        if left.is_described:
            found.setdefault(left.description()["data"]["sha256"], left.path)
    if len(found) > 1:
        one, other, *_ = found.values()
        raise RecordError(
            f"{one} and {other} hold records of different data of one name: delete those of the older data"
        )


def _best(grid: list[GridPoint]) -> GridPoint | None:
    if any(point.missing for point in grid):
        return None
    if len(grid) == 1 and not grid[0].losses:  # a plan that chooses nothing
        return grid[0]
    point = min(grid, key=lambda p: p.mean)
    return point if math.isfinite(point.mean) else None


def _wider(grid: list[GridPoint]) -> list[float]:
    steps = [point.lr for point in grid]
    if any(point.missing for point in grid):
        return steps
    best = _best(grid)
    if best is None or best.lr == steps[0]:
        return [_neighbour(steps[0], up=False), *steps]
    return [*steps, _neighbour(steps[-1], up=True)] if best.lr == steps[-1] else steps


def _neighbour(step: float, *, up: bool) -> float:
    """The next number of the series ..., 0.5, 1, 2, 5, 10, ...

    >>> _neighbour(1.0, up=True), _neighbour(0.001, up=False)
    (2.0, 0.0005)
    """
    decade = math.floor(math.log10(step))
    series = [
        float(f"{digit}e{exponent}") for exponent in range(decade - 1, decade + 2) for digit in (1, 2, 5)
    ]
    return min(x for x in series if x > step) if up else max(x for x in series if x < step)
