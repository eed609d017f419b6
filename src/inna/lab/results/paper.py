"""The printed curves of the paper's Figures 2-4, and how far ours are from them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan import Plan, Problem, Setting
from .curves import Curve, Result, decay_label

__all__ = ["EPOCHS", "Distance", "Printed", "distances", "label", "printed", "repeats"]

EPOCHS = (1, 2, 3, 5, 10, 15, 50, 100, 150, 200)
"""Where the distance to the printed curves is told."""

DIGITISATION = {"train_loss": 0.003, "test_accuracy": 0.002}
"""How well the printed curves are known, in log10 J and as a fraction: by so much their bands are widened."""

PEERS = {("sgd", 0.5): "SGD", ("adam", 0.0): "ADAM", ("adagrad", 0.0): "ADAGRAD"}
CANDIDATES = {(0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.5, 1.0)}


@dataclass(frozen=True)
class Printed:
    """A printed curve: the mean, the least and the greatest of five runs; arrays over the epochs.

    The mean of an accuracy begins where it enters the printed axis.
    """

    epoch: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def after(self, epoch: int) -> tuple[float, float, float] | None:
        """Mean, least and greatest after an epoch; None where the curve has no point."""
        at = np.flatnonzero(self.epoch == epoch)
        return (self.mean[at[0]], self.low[at[0]], self.high[at[0]]) if at.size else None


@dataclass(frozen=True)
class Distance:
    """Our mean minus the printed one, in log10 J or as a fraction of the test images, after some epochs."""

    label: str
    field: str
    epoch: int
    difference: float
    inside: bool
    """Whether our mean lies between the worst and the best of the paper's five runs."""
    beyond: float
    """How far it lies outside of them; 0 inside."""


def repeats(plan: Plan, problem: Problem) -> bool:
    """Whether a problem is one of the paper's, run by its protocol; seeds and epochs may be fewer.

    The steps gamma_0 may also be given instead of chosen.

    Example:
        >>> from inna.lab import plan
        >>> [repeats(p, p.problems[0]) for p in (plan.load("paper"), plan.load("quick"))]
        [True, False]
    """
    return (
        problem.dataset in _curves()
        and problem.network == "nin"
        and problem.train in (None, 50_000)
        and problem.test in (None, 10_000)
        and (plan.batch_size, plan.sampling) == (32, "epochs")
        and plan.selection_epochs in (0, 15)
        and plan.trains_plainly
    )


def label(setting: Setting) -> str | None:
    """The printed curve that is a setting's: told by what it is, not by its name."""
    name = setting.optimizer.rpartition(".")[2].lower()
    if name == "inna" and setting.options.keys() <= {"alpha", "beta", "initial_speed"} and setting.q == 0.5:
        alpha, beta = setting.options.get("alpha", 0.5), setting.options.get("beta", 0.1)
        return f"INNA ({alpha:g}, {beta:g})" if (alpha, beta) in CANDIDATES else None
    return PEERS.get((name, setting.q)) if setting.options.keys() <= {"eps"} else None


def printed(problem: Problem, field: str, name: str) -> Printed | None:
    """A printed curve.

    Args:
        problem: on one of the paper's data sets.
        field: "train_loss", as J, or "test_accuracy", as a fraction.
        name: as the paper's legends have it: "INNA (0.1, 0.1)", "SGD", "k^-1/4".

    Example:
        >>> from inna.lab import plan
        >>> curve = printed(plan.load("paper").problems[0], "train_loss", "ADAM")
        >>> len(curve.mean), round(float(curve.mean[-1]), 5)
        (201, 0.00156)
    """
    found = _curves()[problem.dataset].get("log10_train_loss" if field == "train_loss" else field, {})
    if name not in found:
        return None
    curve = found[name]
    first = curve["from"]
    arrays = [np.array(curve["mean"]), np.array(curve["low"])[first:], np.array(curve["high"])[first:]]
    if field == "train_loss":
        arrays = [10**values for values in arrays]
    return Printed(np.arange(first, first + len(arrays[0])), *arrays)


def distances(plan: Plan, result: Result) -> list[Distance]:
    """How far our means are from the printed ones, at those of `EPOCHS` that ours have come to."""
    if not repeats(plan, result.problem):
        return []
    decays = set(map(id, result.decays))
    named = [
        (ours, curve, decay_label(curve.setting.q) if id(curve) in decays else label(curve.setting))
        for ours, curve in result.named
    ]
    return [
        distance
        for ours, curve, name in named
        if name is not None
        for field in ("train_loss", "test_accuracy")
        for distance in _distances(result.problem, curve, field, name, ours)
    ]


def _distances(problem: Problem, curve: Curve, field: str, name: str, ours: str) -> list[Distance]:
    theirs = printed(problem, field, name)
    if theirs is None or curve.lr is None:
        return []
    scale = np.log10 if field == "train_loss" else np.asarray
    means = curve.series(field).mean(axis=0)
    known = DIGITISATION[field]
    found = []
    for epoch in EPOCHS:
        point = theirs.after(epoch)
        if point and epoch < len(means) and np.isfinite(means[epoch]):
            mean, low, high = map(scale, point)
            value = scale(means[epoch])
            beyond = max(0.0, float(low - value), float(value - high))
            found.append(Distance(ours, field, epoch, float(value - mean), beyond <= known, beyond))
    return found


@cache
def _curves() -> Any:
    """Data set -> field -> name -> {from, mean, low, high}."""
    return json.loads((Path(__file__).parent / "figures234.json").read_bytes())["curves"]
