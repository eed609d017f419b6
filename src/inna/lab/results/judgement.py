"""What the records show, in numbers: confidence, comparisons, time to a target, profiles, sensitivity.

Pure functions of `curves.Result`. A diverged run never reaches a target and is in no interval.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..plan import Plan
from . import budget, design, speed
from .curves import Curve, GridPoint, Result

__all__ = [
    "CONFIDENCE",
    "EDGE",
    "TINY",
    "TOLERANCES",
    "Comparison",
    "Interval",
    "Measure",
    "Profile",
    "Sensitivity",
    "Target",
    "compare",
    "epochs_to",
    "family",
    "geometric_interval",
    "interval",
    "profile",
    "seconds_to",
    "sensitivity",
    "spread",
    "targets",
    "tuned",
    "typical",
]

CONFIDENCE = 0.95
"""The level of all intervals."""
TOLERANCES = (0.1, 0.01, 0.001)
"""The taus of the performance profiles."""
EDGE = 0.05
"""Of a range: what lies so near to one of its ends is on the edge."""
GOOD = 2.0
"""A step is good if its loss is at most so many times that of the best step."""
TINY = np.finfo(float).tiny
"""The least loss whose logarithm is taken."""

LOSSES = ("train_loss", "test_loss")
"""The fields whose means are geometric."""

Floats = NDArray[np.float64]
Measure = Callable[[Curve, ArrayLike], Floats]
"""What is compared of a curve at some epochs."""
Verdict = Literal["ahead of", "behind", "shows no difference from", "cannot be compared with"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its t-interval at the level `CONFIDENCE`, NaN below two seeds."""

    mean: float
    low: float
    high: float
    seeds: int


def interval(values: ArrayLike, comparisons: int = 1) -> Interval:
    r"""Student's interval for the mean, one of several that shall all hold at once.

    .. math:: \bar x \pm t_{n-1, 1 - \delta/(2m)} \, s / \sqrt n, \qquad \delta = 1 - \text{CONFIDENCE}

    It takes the seeds for independent draws of a normal distribution. By Bonferroni's inequality all m
    intervals of a family hold at once with probability CONFIDENCE or more, however they depend on each
    other and whichever of them is looked at afterwards.

    Args:
        values: a finite number for each seed.
        comparisons: m, how many intervals shall hold at once; with 1 this one alone.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        Interval(mean=2.0, low=-0.48413..., high=4.48413..., seeds=3)
        >>> interval([1.0, 2.0, 3.0], comparisons=10)
        Interval(mean=2.0, low=-6.13..., high=10.13..., seeds=3)

    Reference:
        Dunn, Multiple comparisons among means, JASA 56 (1961).
    """
    x = np.asarray(values, dtype=float)
    n = len(x)
    if n < 2:
        return Interval(float(x.mean()) if n else math.nan, math.nan, math.nan, n)
    from scipy.special import stdtrit  # not at the top: who has no seeds to judge need not load SciPy

    level = 1 - (1 - CONFIDENCE) / (2 * comparisons)
    half = float(stdtrit(n - 1, level)) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, n)


def geometric_interval(values: ArrayLike, comparisons: int = 1) -> Interval:
    """The same for the logarithm of positive numbers, and back: of their geometric mean, so never below 0."""
    logs = interval(np.log(np.maximum(np.asarray(values, dtype=float), TINY)), comparisons)
    return Interval(math.exp(logs.mean), _exp(logs.low), _exp(logs.high), logs.seeds)


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)


def typical(curve: Curve, field: str) -> float:
    """The mean over the seeds after the last epoch, geometric of losses; NaN if a run diverged."""
    return _mean(curve.series(field)[:, -1], field)


def _mean(values: Floats, field: str) -> float:
    return float(np.exp(np.log(np.maximum(values, TINY)).mean()) if field in LOSSES else values.mean())


@dataclass(frozen=True)
class Comparison:
    """Two curves after an epoch: the paired difference over the seeds that both have.

    The runs of a seed share their initial weights and mini-batches, so they are compared in pairs: as the
    ratio of their losses (geometric mean; below 1 is ahead) or the difference of their test
    accuracies (above 0 is ahead). The verdict is whether the interval excludes 1, or 0.
    """

    field: str
    epoch: int
    difference: Interval
    verdict: Verdict
    overlap: bool
    """Whether the bands from the best run to the worst overlap."""
    effect: design.Effect | None = None
    """Of the differences, of losses of their logarithms; none below two seeds."""
    means: tuple[float, float] = (math.nan, math.nan)
    """Of ours and theirs over the paired seeds, geometric of losses: what they differ by is `difference`."""
    differences: tuple[float, ...] = ()
    """Of each paired seed, of losses of their logarithms; none if they cannot be compared."""


def compare(ours: Curve, theirs: Curve, field: str, comparisons: int = 1) -> Comparison:
    """Compare two curves at the last epoch that both have come to.

    Args:
        ours: a curve.
        theirs: the other.
        field: "train_loss", "test_loss" or "test_accuracy".
        comparisons: how many shall err with probability 1 - `CONFIDENCE` at most, together: see `family`.
    """
    mine, other = ours.series(field), theirs.series(field)
    epoch = min(mine.shape[1], other.shape[1]) - 1
    mine, other = mine[:, epoch], other[:, epoch]
    seeds = sorted(set(ours.counted) & set(theirs.counted))
    a = np.array([mine[ours.counted.index(seed)] for seed in seeds])
    b = np.array([other[theirs.counted.index(seed)] for seed in seeds])
    if not seeds or np.isnan([*mine, *other]).any():
        return Comparison(
            field, epoch, Interval(math.nan, math.nan, math.nan, len(seeds)), "cannot be compared with", False
        )
    if field in LOSSES:
        size = np.log(np.maximum(a, TINY)) - np.log(np.maximum(b, TINY))
        difference = geometric_interval(np.exp(size), comparisons)
        ahead, behind = difference.high < 1, difference.low > 1
    else:
        size = a - b
        difference = interval(size, comparisons)
        ahead, behind = difference.low > 0, difference.high < 0
    overlap = bool(mine.min() <= other.max() and other.min() <= mine.max())
    verdict: Verdict = "ahead of" if ahead else "behind" if behind else "shows no difference from"
    effect = design.effect(size) if len(seeds) > 1 else None
    means = _mean(a, field), _mean(b, field)
    return Comparison(field, epoch, difference, verdict, overlap, effect, means, tuple(size.tolist()))


def family(results: Sequence[Result]) -> int:
    """How many comparisons a report on these problems makes, those that lie in its choices included.

    With candidates every candidate against every peer, and each of its decays, as if all had been run,
    since the best is chosen by the losses that are then compared; without, every optimizer against every
    other, since any may come out lowest. Each in training loss, and in test accuracy or test loss.
    """
    pairs = 0
    for result in results:
        peers = sum(curve.setting.role == "peer" for curve in result.curves)
        candidates = len(result.candidates) * (1 + len(result.decays))
        pairs += candidates * peers if candidates else peers * (peers - 1) // 2
    return max(1, 2 * pairs)


@dataclass(frozen=True)
class Target:
    """A training loss to be reached: a power of ten, or that with which a curve ends."""

    loss: float
    end_of: str | None = None

    @property
    def name(self) -> str:
        """Why this one."""
        return f"{self.loss:g}" if self.end_of is None else f"where {self.end_of} ends"


def targets(result: Result) -> list[Target]:
    """The loss that the worst of the compared curves ends with, and the powers of ten on the way down."""
    finals = {c.setting.label: c.final("train_loss").mean for c in result.compared}
    finals = {label: loss for label, loss in finals.items() if math.isfinite(loss)}
    if not finals:
        return []
    worst = max(finals, key=lambda label: finals[label])
    losses = [curve.series("train_loss") for _, curve in result.named if curve.lr is not None]
    losses = [x for x in losses if np.isfinite(x[:, 0]).any()]  # the others have not begun
    start = max(float(np.nanmax(x[:, 0])) for x in losses)
    lowest = min(float(np.nanmin(x)) for x in losses)
    decades = range(math.floor(math.log10(start)), math.floor(math.log10(max(lowest, TINY))), -1)
    found = [Target(finals[worst], end_of=worst)]
    found += [Target(10.0**decade) for decade in decades if 10.0**decade < start]
    return sorted(found, key=lambda target: -target.loss)


def epochs_to(curve: Curve, goals: ArrayLike) -> Floats:
    """The first epoch with a training loss of at most each goal, infinite if there is none.

    Returns:
        Shape (goals, counted seeds).
    """
    return speed.first_at(curve.series("train_loss"), goals)


def seconds_to(curve: Curve, goals: ArrayLike) -> Floats:
    """The seconds of training up to then; evaluation, waiting and interruptions apart."""
    elapsed = np.cumsum(np.nan_to_num(curve.series("seconds")), axis=1)
    return speed.first_at(curve.series("train_loss"), goals, elapsed)


@dataclass(frozen=True)
class Profile:
    """Performance profiles at one tolerance.

    `ratios` holds, for each optimizer and each instance, its epochs over the fewest that any optimizer took.
    """

    tolerance: float
    ratios: dict[str, Floats]

    def share(self, name: str, ratio: float) -> float:
        """The share of the instances that an optimizer solves within `ratio` times the fewest epochs."""
        return float(np.mean(self.ratios[name] <= ratio))


def profile(results: Sequence[Result], tolerance: float) -> Profile:
    r"""Dolan and Moré's performance profiles with Moré and Wild's test of convergence.

    An instance is a problem with a seed. It counts as solved in the first epoch with
    :math:`J \le J_* + \tau (J_0 - J_*)`, :math:`J_*` the lowest loss that any optimizer reached on it.
    The optimizers are those that have run on every problem; the decays are those of its best candidate.

    Args:
        results: the problems.
        tolerance: tau, between 0 and 1; the smaller, the more is asked.

    Reference:
        Dolan, Moré, Math. Program. 91 (2002); Moré, Wild, SIAM J. Optim. 20 (2009), (2.2).
    """
    problems = [_solvers(result) for result in results]
    names = [name for name in problems[0] if all(name in p for p in problems)] if problems else []
    instances: list[list[float]] = []
    for solvers in problems:
        shared = [set(solvers[name].counted) for name in names]
        for seed in sorted(set.intersection(*shared)) if shared else []:
            losses = {n: solvers[n].series("train_loss")[solvers[n].counted.index(seed)] for n in names}
            start = float(np.nanmax([x[0] for x in losses.values()]))
            lowest = float(np.nanmin(np.concatenate(list(losses.values()))))
            reached = {n: losses[n] <= lowest + tolerance * (start - lowest) for n in names}
            costs = {n: float(r.argmax()) if r.any() else math.inf for n, r in reached.items()}
            if min(costs.values()) > 0:  # otherwise nobody has learned anything
                instances.append([costs[name] for name in names])
    ratios = speed.ratios(np.reshape(instances, (-1, len(names))))
    return Profile(tolerance, dict(zip(names, ratios.T, strict=True)))


def _solvers(result: Result) -> dict[str, Curve]:
    solvers = {curve.setting.label: curve for curve in result.curves}
    solvers |= {f"best candidate, {curve.setting.label}": curve for curve in result.decays}
    return {name: curve for name, curve in solvers.items() if curve.counted}


@dataclass(frozen=True)
class Sensitivity:
    """How much the choice of gamma_0 matters to a setting, after the selection epochs."""

    best: GridPoint
    low: float
    high: float
    """The good steps around the best one reach from `low` to `high`: at most `GOOD` times its mean loss."""
    on_edge: bool
    """Whether the best step is the least or the greatest of a grid."""
    diverged: int
    """At how many steps a run diverged."""

    @property
    def decades(self) -> float:
        """The width of the range of good steps."""
        return math.log10(self.high / self.low)


def sensitivity(curve: Curve) -> Sensitivity | None:
    """The grid of a setting, judged.

    None if no step came through without divergence, if nothing has run, or if a search drew more than steps.
    """
    points = sorted((point for point in curve.grid if point.losses), key=lambda point: point.lr)
    if any(point.values for point in points):
        return None
    alive = [point for point in points if math.isfinite(point.mean)]
    if not alive:
        return None
    best = min(alive, key=lambda point: point.mean)
    good = [point.mean <= GOOD * best.mean for point in points]
    first = last = points.index(best)
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(points) - 1 and good[last + 1]:
        last += 1
    diverged = sum(None in point.losses for point in points)
    on_edge = not curve.setting.space and best in (points[0], points[-1])  # of a space: see `edges`
    return Sensitivity(best, points[first].lr, points[last].lr, on_edge, diverged)


def edges(curve: Curve) -> list[str]:
    """Where the best trial of a search lies in the last twentieth of a range, in words."""
    alive = [point for point in curve.grid if math.isfinite(point.mean) and not point.stopped]
    if not curve.setting.space or not alive:
        return []
    best, found = min(alive, key=lambda point: point.mean), []
    for name, given in curve.setting.space.items():
        value = best.lr if name == "lr" else best.values[name]
        if not given.choices and not given.is_whole:
            scale = math.log if given.log else float
            low, high = scale(given.low), scale(given.high)
            if not EDGE < (scale(value) - low) / (high - low) < 1 - EDGE:
                found.append(f"{name} = {value:g}, of {given.low:g} to {given.high:g}")
    return found


def tuned(plan: Plan, result: Result, curve: Curve) -> Floats | None:
    """The expected loss after the selection epochs of the best of k steps or trials, drawn at random.

    See `budget.expected_best`. What diverged counts with the loss before training, the mean over the seeds if
    others were trained for long.

    Args:
        plan: with the sampler; what TPE draws is not drawn at random, and halving stops trials early.
        result: the problem's.
        curve: one of its curves.

    Returns:
        Shape (steps or trials, seeds), by k = 1, 2, ...; None where there is no choice, where runs are
        missing, or where some diverged and no long run says with what loss.
    """
    if plan.trials and (plan.sampler == "tpe" or plan.halving):
        return None
    if (
        len(curve.grid) < 2
        or curve.is_hopeless
        or any(point.missing or not point.losses for point in curve.grid)
    ):
        return None
    losses = np.array([point.losses for point in curve.grid], dtype=float)  # None: NaN
    starts = np.full(len(plan.seeds), np.nan)
    for _, other in result.named:
        for seed, run in enumerate(other.runs):
            if run:
                starts[seed] = run[0]["train_loss"]
    seeds = losses.shape[1]
    starts = starts[:seeds] if plan.choosing_seeds == plan.seeds else np.full(seeds, starts.mean())
    losses = np.where(np.isnan(losses), starts, losses)
    return None if np.isnan(losses).any() else budget.expected_best(losses)


def spread(result: Result) -> float:
    """The standard deviation over the seeds of the logarithm of the ratio of two losses: the pairs' median.

    NaN where there are no pairs with two seeds.
    """
    curves = [c for c in result.curves if c.counted and not c.diverged]
    found = [compare(a, b, result.lead) for a, b in combinations(curves, 2)]
    sizes = [told.effect.spread for told in found if told.effect is not None]
    return float(np.median(sizes)) if sizes else math.nan
