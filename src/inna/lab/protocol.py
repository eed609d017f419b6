"""Section 5.2 of the paper: gamma_0 by grid search on the training loss, then the long runs over seeds.

Or all that a setting leaves open, by trials drawn from its space.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from . import search
from .plan import Lead, Plan, Problem, Run, Setting
from .records import Record, RecordError, RunFolder, is_last
from .results.curves import Curve, GridPoint, Result, decayed

__all__ = ["Runner", "reproduce", "short_runs"]


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
        standing = _chosen_loss if plan.validation else _final_loss
        best = min(curves[: len(candidates)], key=standing, default=None)
        decays = [] if best is None else [decayed(best.setting, q) for q in plan.decays]
        variants = _curves(plan, runner, problem, decays) if 4 in figures else []
        results.append(Result(problem, curves, variants, best, _lead(plan, curves)))
    return results


def _lead(plan: Plan, curves: list[Curve]) -> Lead:
    """A task may have no test loss."""
    records = [record for curve in curves for run in curve.runs for record in run]
    return plan.lead if any(record[plan.lead] is not None for record in records) else "train_loss"


def _final_loss(curve: Curve) -> float:
    mean = curve.final("train_loss").mean
    return math.inf if math.isnan(mean) else mean


def _chosen_loss(curve: Curve) -> float:
    best = _best(curve.grid)
    return math.inf if best is None else best.mean


def _curves(plan: Plan, runner: Runner, problem: Problem, settings: list[Setting]) -> list[Curve]:
    choose = _search if plan.trials else _select
    grids = choose(plan, runner, problem, settings)
    chosen = [_best(grid) for grid in grids]
    ends = [s.at(point.values) if point else s for s, point in zip(settings, chosen, strict=True)]
    runs = [
        [plan.long_run(problem, setting, point.lr, seed) for seed in plan.seeds] if point else []
        for setting, point in zip(ends, chosen, strict=True)
    ]
    runner.execute([run for group in runs for run in group], f"{problem.name}: {plan.epochs} epochs")
    tried = [
        run
        for setting, grid in zip(settings, grids, strict=True)
        for point in grid
        for run in short_runs(plan, problem, setting, point)
    ]
    _check_one_data(runner.root, tried + [run for group in runs for run in group])
    return [
        Curve(setting, grid, point.lr if point else None, [runner.records(run) for run in group])
        for setting, grid, point, group in zip(ends, grids, chosen, runs, strict=True)
    ]


def short_runs(plan: Plan, problem: Problem, setting: Setting, point: GridPoint) -> list[Run]:
    """The runs that say what a step, or a trial, comes to."""
    if plan.selection_epochs == 0:
        return []
    tried = setting.at(point.values)
    return [plan.selection_run(problem, tried, point.lr, seed, point.stopped) for seed in plan.choosing_seeds]


def _select(plan: Plan, runner: Runner, problem: Problem, settings: list[Setting]) -> list[list[GridPoint]]:
    """Train at each step of each setting's grid, and extend the grids whose best point lies on the edge."""
    steps = [sorted(setting.grid or plan.grid) for setting in settings]
    if plan.selection_epochs == 0:
        return [[GridPoint(lr, []) for lr in grid] for grid in steps]
    for extension in range(plan.max_extensions + 1):
        points = [[GridPoint(lr, []) for lr in grid] for grid in steps]
        grids = _tried(plan, runner, problem, settings, points, "choosing gamma_0")
        wider = [_wider(grid) for grid in grids]
        if extension == plan.max_extensions or wider == steps:
            break
        steps = wider
    return grids


def _search(plan: Plan, runner: Runner, problem: Problem, settings: list[Setting]) -> list[list[GridPoint]]:
    """Train at each trial of each setting, round after round."""
    searches = [search.start(plan, setting.space) for setting in settings]
    grids: list[list[GridPoint]] = [[] for _ in settings]
    while True:
        asked = [
            [] if any(point.missing for point in grid) else [_trial(values) for values in one.ask()]
            for one, grid in zip(searches, grids, strict=True)
        ]
        if not any(asked):
            return grids
        found = _halved(plan, runner, problem, settings, asked)
        for one, grid, points in zip(searches, grids, found, strict=True):
            if points and not any(point.missing for point in points):
                one.tell([point.mean for point in points])
            grid += points


def _halved(
    plan: Plan, runner: Runner, problem: Problem, settings: list[Setting], trials: list[list[GridPoint]]
) -> list[list[GridPoint]]:
    """What the trials of each setting came to; with halving most of them after fewer epochs."""
    found: list[list[GridPoint]] = [[] for _ in settings]
    numbers = [number for _, number in plan.rungs[1:]] + [0]
    for (epochs, _), number in zip(plan.rungs, numbers, strict=True):
        stopped = epochs if number else 0
        left = [[replace(point, losses=[], stopped=stopped) for point in points] for points in trials]
        tried = _tried(plan, runner, problem, settings, left, f"{plan.trials} trials each")
        trials = [_going_on(points, number) for points in tried]
        for all_of_it, points, on in zip(found, tried, trials, strict=True):
            all_of_it += [point for point in points if not any(point is other for other in on)]
    return found


def _going_on(points: list[GridPoint], number: int) -> list[GridPoint]:
    """The best of them; none while one is missing."""
    if any(point.missing for point in points):
        return []
    return sorted(points, key=lambda point: point.mean)[:number]


def _trial(values: dict[str, Any]) -> GridPoint:
    return GridPoint(values["lr"], [], values={name: v for name, v in values.items() if name != "lr"})


def _tried(
    plan: Plan,
    runner: Runner,
    problem: Problem,
    settings: list[Setting],
    points: list[list[GridPoint]],
    doing: str,
) -> list[list[GridPoint]]:
    """The points of each setting with what they came to."""
    runs = [
        [short_runs(plan, problem, setting, point) for point in some]
        for setting, some in zip(settings, points, strict=True)
    ]
    every = {run.folder: run for some in runs for group in some for run in group}  # trials may be alike
    runner.execute(list(every.values()), f"{problem.name}: {doing}")
    return [
        [_with_losses(plan, *pair, runner) for pair in zip(some, groups, strict=True)]
        for some, groups in zip(points, runs, strict=True)
    ]


def _with_losses(plan: Plan, point: GridPoint, runs: list[Run], runner: Runner) -> GridPoint:
    """The end of each selection run; such a run evaluates its loss at its end alone."""
    records = [runner.records(run) for run in runs]
    epochs = point.stopped or plan.selection_epochs
    complete = [run[-1] for run in records if run and is_last(run[-1], epochs)]
    field = "validation_loss" if plan.validation else "train_loss"  # there is none after divergence
    losses = [record.get(field) for record in complete]
    return replace(point, losses=losses, missing=len(runs) - len(complete))


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
    point = min((p for p in grid if not p.stopped), key=lambda p: p.mean)
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
