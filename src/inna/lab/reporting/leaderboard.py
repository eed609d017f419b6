"""Who stands where: a row for each optimizer on each problem, and over all problems."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..results import judgement
from ..results.curves import Result

__all__ = ["Overall", "Standing", "overall", "standings"]

LEVEL: judgement.Verdict = "shows no difference from"


@dataclass(frozen=True)
class Standing:
    """An optimizer on a problem. The means are NaN where a run diverged."""

    problem: str
    label: str
    loss: float
    """The geometric mean of the training losses after the last epoch."""
    ratio: float
    """Of the losses that rank, training or test losses, to those of the lowest, in pairs by seed."""
    beside: str
    """What the comparison with the lowest says."""
    level: bool
    """Whether it is the lowest, or shows no difference from it."""
    test_loss: float
    accuracy: float
    epochs: float
    """The median of the epochs to the loss that the worst ends with; infinite where too few seeds came."""
    seconds: float
    """Of training, for an epoch: the median."""
    trials: int
    """How many steps gamma_0 were tried."""
    seeds: int


@dataclass(frozen=True)
class Overall:
    """An optimizer over the problems that all optimizers of the table have run."""

    label: str
    ratio: float
    """The geometric mean over the problems of the ratio to the lowest; infinite where a run diverged."""
    lowest: int
    """On how many problems it is the lowest."""
    level: int
    """On how many problems it is the lowest, or shows no difference from it."""
    problems: int


def standings(results: Sequence[Result]) -> list[Standing]:
    """The optimizers of each problem, the lowest loss of `Result.lead` first.

    A verdict counts all comparisons of the report, the choice of the lowest included: `judgement.family`.
    """
    comparisons = judgement.family(results)
    found = []
    for result in results:
        named = {name: curve for name, curve in result.named if curve.counted}
        losses = {name: judgement.typical(curve, result.lead) for name, curve in named.items()}
        order = sorted(named, key=lambda name: (math.isnan(losses[name]), losses[name]))
        worst = [target.loss for target in judgement.targets(result) if target.end_of is not None]
        for name in order:
            curve, first = named[name], order[0]
            told = judgement.compare(curve, named[first], result.lead, comparisons)
            beside = "lowest" if name == first else f"{told.verdict} the lowest"
            taken = curve.series("seconds")[:, 1:]
            found.append(
                Standing(
                    result.problem.name,
                    name,
                    judgement.typical(curve, "train_loss"),
                    told.difference.mean,
                    beside if math.isfinite(losses[name]) else "diverged",
                    math.isfinite(losses[name]) and (name == first or told.verdict == LEVEL),
                    judgement.typical(curve, "test_loss"),
                    judgement.typical(curve, "test_accuracy"),
                    float(np.median(judgement.epochs_to(curve, worst))) if worst else math.inf,
                    float(np.nanmedian(taken)) if np.isfinite(taken).any() else math.nan,
                    len(curve.grid),
                    len(curve.counted),
                )
            )
    return found


def overall(found: Sequence[Standing]) -> list[Overall]:
    """The optimizers that have run on every problem, the least ratio first."""
    problems = list(dict.fromkeys(one.problem for one in found))
    rows = []
    for label in dict.fromkeys(one.label for one in found):
        mine = [one for one in found if one.label == label]
        if len(mine) == len(problems):
            ratios = [one.ratio if math.isfinite(one.ratio) else math.inf for one in mine]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            lowest = sum(one.beside == "lowest" for one in mine)
            level = sum(one.level for one in mine)
            rows.append(Overall(label, mean, lowest, level, len(problems)))
    return sorted(rows, key=lambda row: row.ratio)
