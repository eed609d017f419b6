"""How far a folder of experiments has come, and how long the rest will take."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from . import archive, protocol
from .archive import Archive
from .plan import SETTINGS_OWN, Plan, Run
from .records import Record, RunFolder
from .results.curves import Curve, Result

__all__ = ["CurveStatus", "Status", "status"]


@dataclass(frozen=True)
class CurveStatus:
    """A curve of the plan, all seeds together; how much is done, of how much."""

    problem: str
    label: str
    gamma_0: float | None
    selection: tuple[int, int]
    """Runs that serve to choose gamma_0; there will be more if the grid grows."""
    epochs: tuple[int, int]
    """Epochs of the long runs; the epochs after a divergence count as done."""
    diverged: int
    at_work: int
    """Runs that some process is at."""


@dataclass(frozen=True)
class Status:
    """All lines, how many runs are under way, and the seconds that are left: NaN while nothing is known."""

    lines: list[CurveStatus]
    at_work: int
    left: float

    @property
    def summary(self) -> str:
        """The same in a sentence."""
        if all(done == wanted for line in self.lines for done, wanted in (line.selection, line.epochs)):
            return "Everything is done."
        runs = {0: "no run is", 1: "1 run is"}.get(self.at_work, f"{self.at_work} runs are")
        if math.isnan(self.left):
            return f"{runs.capitalize()} under way; nothing can be said yet about the time that is left."
        minutes = self.left / 60
        time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{max(minutes, 1):.0f} minutes"
        pace = "at their pace" if self.at_work else "with one run at a time"
        return f"{runs.capitalize()} under way; about {time} are left {pace}, more if a grid grows."


def status(folder: Path) -> Status:
    """Look at the records of a plan, and change nothing.

    What is left takes as long as the same number of epochs took before, on the same problem, divided by the
    number of runs that are under way (by one if there is none).

    Raises:
        FileNotFoundError: the folder holds no plan.
        records.RecordError: a record is damaged.
    """
    plan = archive.read_plan(folder)
    read = Archive(folder / "runs")
    results = protocol.reproduce(plan, read, (2, 3, 4))
    at_work = [run for run in read.missing if RunFolder.of(run, read.root).is_held]
    lines, left = [], 0.0
    for result in results:
        short, long = _pace(read, plan, result)
        for label, curve in result.named:
            line = _curve_status(plan, result, label, curve, at_work)
            lines.append(line)
            for pace, (done, wanted) in (
                (short * plan.selection_epochs, line.selection),
                (long, line.epochs),
            ):
                left += pace * (wanted - done) if wanted > done else 0
    return Status(lines, len(at_work), left / max(1, len(at_work)))


def _curve_status(plan: Plan, result: Result, label: str, curve: Curve, at_work: list[Run]) -> CurveStatus:
    setting = curve.setting
    tried = sum(len(point.losses) for point in curve.grid)
    wanted = tried + sum(point.missing for point in curve.grid)
    wanted += len(plan.choosing_seeds) * max(0, plan.trials - len(curve.grid))
    done = sum(plan.epochs if run[-1]["diverged"] else run[-1]["epoch"] for run in curve.runs if run)
    fields = ("problem", "optimizer", "options", "q", "schedule", *SETTINGS_OWN)
    tries = [setting, *(setting.at(point.values) for point in curve.grid)]
    alike = [[getattr(plan.long_run(result.problem, one, 1.0, 0), f) for f in fields] for one in tries]
    return CurveStatus(
        result.problem.name,
        label,
        curve.lr,
        (tried, wanted),
        (done, 0 if curve.is_hopeless and wanted == tried else len(plan.seeds) * plan.epochs),
        curve.diverged,
        sum([getattr(run, f) for f in fields] in alike for run in at_work),
    )


def _pace(read: Archive, plan: Plan, result: Result) -> tuple[float, float]:
    """Seconds an epoch, evaluation included, of the selection runs and of the long runs."""
    short = [
        read.records(run)
        for _, curve in result.named
        for point in curve.grid
        for run in protocol.short_runs(plan, result.problem, curve.setting, point)
    ]
    long = [run for _, curve in result.named for run in curve.runs]
    found = [_mean(seconds for run in runs for seconds in _seconds(run)) for runs in (short, long)]
    known = [pace for pace in found if not math.isnan(pace)]
    first, second = (pace if not math.isnan(pace) else max(known, default=math.nan) for pace in found)
    return first, second


def _seconds(run: list[Record]) -> Iterator[float]:
    """Of each epoch that one process did from its beginning; times are those of whole seconds."""
    for before, after in pairwise(run):
        if before["process"] == after["process"]:
            gone = datetime.fromisoformat(after["time"]) - datetime.fromisoformat(before["time"])
            yield max(gone.total_seconds(), 0.0)


def _mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
