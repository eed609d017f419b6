"""What came out of a plan, as plain data: grid points, curves over the epochs, and a problem's result."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan import Lead, Problem, Setting

__all__ = ["Curve", "GridPoint", "Result", "Summary", "decay_label", "decayed"]


@dataclass(frozen=True)
class GridPoint:
    """A candidate for gamma_0 and the losses it led to, one for each seed; None: diverged."""

    lr: float
    losses: list[float | None]
    missing: int = 0
    """Seeds whose run is not complete: none when a plan has come to its end."""
    values: dict[str, Any] = field(default_factory=dict)
    """What a search has drawn besides lr."""
    stopped: int = 0
    """After how many epochs halving gave it up; 0: it came to the end of the selection epochs."""

    @property
    def mean(self) -> float:
        """The mean over the seeds; infinite, so never chosen, if a run diverged; NaN if none is complete."""
        if None in self.losses:
            return math.inf
        return float(np.mean([x for x in self.losses if x is not None])) if self.losses else math.nan


@dataclass(frozen=True)
class Summary:
    """A quantity over the seeds: NaN as the mean if a run diverged; extremes over those that did not."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A setting with its chosen gamma_0 and the records of its long runs, a list for each seed."""

    setting: Setting
    grid: list[GridPoint]
    lr: float | None
    runs: list[list[dict[str, Any]]]

    @property
    def counted(self) -> list[int]:
        """The seeds that count, by position: of an unfinished plan, those that came furthest or diverged."""
        longest = max((len(run) for run in self.runs), default=0)
        return [i for i, run in enumerate(self.runs) if run and (len(run) == longest or run[-1]["diverged"])]

    def series(self, field: str) -> NDArray[np.float64]:
        """A field's values, shape (counted seeds, epochs + 1), NaN from where a run diverged."""
        runs = [self.runs[i] for i in self.counted]
        epochs = max((len(run) for run in runs), default=1)
        values = np.full((max(len(runs), 1), epochs), np.nan)
        for row, run in zip(values, runs, strict=False):
            for record in run:
                if record[field] is not None:
                    row[record["epoch"]] = record[field]
        return values

    def final(self, field: str) -> Summary:
        """The mean, the least and the greatest value after the last epoch."""
        last = self.series(field)[:, -1]
        alive = last[~np.isnan(last)]
        low, high = (alive.min(), alive.max()) if alive.size else (np.nan, np.nan)
        return Summary(float(last.mean()), float(low), float(high))

    @property
    def is_hopeless(self) -> bool:
        """Whether everything that was tried diverged, so that there is nothing to be trained for long."""
        return bool(self.grid) and all(p.mean == math.inf and not p.missing for p in self.grid)

    @property
    def diverged(self) -> int:
        """How many of the long runs diverged."""
        return sum(run[-1]["diverged"] for run in self.runs if run)


@dataclass(frozen=True)
class Result:
    """All curves of a problem: Figure 2's and 3's, the other decays of Figure 4, and Figure 3's INNA."""

    problem: Problem
    curves: list[Curve]
    decays: list[Curve]
    best: Curve | None
    """The candidate with the smallest final mean training loss, or with the smallest validation loss where
    that chooses; None in a plan without candidates."""
    lead: Lead = "train_loss"
    """The loss that ranks the optimizers."""

    @property
    def drawn(self) -> list[str]:
        """What is drawn over the epochs: training loss, and test accuracy, or test loss without any."""
        measured = [
            field
            for field in ("test_accuracy", "test_loss")
            if self.problem.task is None or any(np.isfinite(c.series(field)).any() for _, c in self.named)
        ]
        return ["train_loss", *measured[:1]]

    @property
    def fields(self) -> list[str]:
        """What optimizers are compared in: the loss that ranks them first, then what else is drawn."""
        if self.lead == "train_loss":
            return self.drawn
        return [self.lead, "test_accuracy" if "test_accuracy" in self.drawn else "train_loss"]

    @property
    def candidates(self) -> list[Curve]:
        """Figure 2."""
        return [curve for curve in self.curves if curve.setting.role == "candidate"]

    @property
    def compared(self) -> list[Curve]:
        """Figure 3: the peers and the best candidate."""
        peers = [curve for curve in self.curves if curve.setting.role == "peer"]
        return [*peers, self.best] if self.best else peers

    @property
    def against_adam(self) -> Curve | None:
        """Figure 4's second row: the decay with the greatest q, the paper's k^-1/4."""
        return max(self.decays, key=lambda curve: curve.setting.q, default=None)

    @property
    def named(self) -> list[tuple[str, Curve]]:
        """Every curve with a name of its own: a decay is named with its INNA."""
        best = self.best.setting.label if self.best else ""
        named = [(curve.setting.label, curve) for curve in self.curves]
        return named + [(f"{best}, {curve.setting.label}", curve) for curve in self.decays]


def decay_label(q: float) -> str:
    """How Figure 4 names a decay: k^-1/4 for q = 0.25."""
    return f"k^-1/{1 / q:g}" if q else "constant"


def decayed(best: Setting, q: float) -> Setting:
    """A setting with another decay, as Figure 4 has it."""
    space = {name: given for name, given in best.space.items() if name != "q"}
    change = {"label": decay_label(q), "q": q, "schedule": None, "role": "peer", "space": space}
    return best.model_copy(update=change)
