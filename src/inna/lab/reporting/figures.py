"""What each figure shows, as plain data: `drawing` makes a picture file of it, `interactive` a plot.

In the paper's colours and line styles; the others get colours that the colour-blind can tell.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray

from ..plan import Plan
from ..results import judgement, paper
from ..results.curves import Curve, Result, decay_label

__all__ = ["Line", "Look", "Panel", "Picture", "pictures"]

Floats = NDArray[np.float64]
Scale = Literal["linear", "log"]
Named = tuple[str, Curve]
Kind = Literal["curve", "printed", "steps", "chosen", "diverged"]


@dataclass(frozen=True)
class Look:
    """How an optimizer is drawn, in every figure: a colour of CSS, a line and a marker of Matplotlib."""

    color: str
    linestyle: Literal["-", "--", "-.", ":"] = "-"
    marker: Literal["", "D", "o", "*"] = ""


@dataclass(frozen=True)
class Line:
    """A curve with its band, or marks on one; the label names the optimizer that they belong to."""

    label: str
    look: Look
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    kind: Kind = "curve"


@dataclass(frozen=True)
class Panel:
    """A pair of axes."""

    title: str
    xlabel: str
    ylabel: str
    lines: list[Line]
    xscale: Scale = "linear"
    yscale: Scale = "linear"
    xlim: tuple[float, float] | None = None
    ylim: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Picture:
    """A figure: columns of panels, and what is to be said about it."""

    name: str
    title: str
    caption: str
    columns: list[list[Panel]] = field(default_factory=list)


PAPER = {
    "SGD": Look("magenta", "-", "D"),
    "ADAGRAD": Look("red", "-", "o"),
    "ADAM": Look("darkorange", "-", "*"),
    "INNA (0.1, 0.1)": Look("navy", "-."),
    "INNA (0.5, 0.1)": Look("blue", "--"),
    "INNA (0.5, 0.5)": Look("springgreen", "-"),
    "INNA (0.5, 1)": Look("green", ":", "D"),
    "k^-1/2": Look("blue", "--"),
    "k^-1/4": Look("darkred", "-"),
    "k^-1/8": Look("darkviolet", ":"),
    "k^-1/16": Look("plum", "-"),
}
OTHERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's colours, for settings that the paper does not know."""
DASHES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")

LOSS, ACCURACY = "training loss J", "test accuracy"
BANDS = "Curves are means over the seeds, bands reach from the best to the worst run."


def pictures(plan: Plan, results: Sequence[Result]) -> list[Picture]:
    """The figures of a plan: the paper's 2-4 as far as it has them, and what the records tell beyond them.

    Args:
        plan: what was run.
        results: what came out, finished or not.
    """
    looks = _looks(results)
    known = [r for r in results if any(curve.grid and curve.grid[0].losses for _, curve in r.named)]
    steps = [r for r in known if any(judgement.sensitivity(curve) is not None for _, curve in r.named)]
    begun = [r for r in results if any(curve.counted for _, curve in r.named)]
    drawn = []
    if any(result.candidates for result in begun):
        drawn.append(_figure2(plan, [r for r in begun if r.candidates], looks))
    if any(len(result.compared) > 1 or not result.best for result in begun):
        drawn.append(_figure3(plan, begun, looks))
    if any(result.decays for result in begun):
        drawn.append(_figure4(plan, [r for r in begun if r.decays], looks))
    if steps:
        drawn.append(_sensitivity(plan, steps, looks))
    tuned = [r for r in known if any(judgement.tuned(plan, r, c) is not None for c in r.curves)]
    if tuned:
        drawn.append(_budget(plan, tuned, looks))
    if begun:
        drawn.append(_time_to_target(begun, looks))
        drawn += _profiles(begun, looks)
    return drawn


def _figure2(plan: Plan, results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    title = "Figure 2: the candidates, each with its own γ₀"
    columns = [_loss_and_accuracy(plan, result, result.candidates, looks) for result in results]
    return Picture("figure2", title, BANDS + _overlaid(plan, results), columns)


def _figure3(plan: Plan, results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    best = any(result.best for result in results)
    title = "Figure 3: the best candidate against its peers" if best else "The optimizers compared"
    columns = [_loss_and_accuracy(plan, result, result.compared, looks) for result in results]
    return Picture("figure3", title, BANDS + _overlaid(plan, results), columns)


def _figure4(plan: Plan, results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    columns = []
    for result in results:
        assert result.best is not None
        own = decay_label(result.best.setting.q)
        decays = [_Shown(own, result.best, own)]
        decays += [_Shown(curve.setting.label, curve, curve.setting.label) for curve in result.decays]
        decays.sort(key=lambda shown: -shown.curve.setting.q)
        against = [_shown(curve) for curve in result.curves if curve.setting.is_adam]
        against += [shown for shown in decays if shown.curve is result.against_adam]
        title = f"{_title(result)}: {result.best.setting.label}"
        columns.append([_panel(plan, result, title, row, "train_loss", looks) for row in (decays, against)])
    title = "Figure 4: the best candidate with slower decays of the step, and against ADAM"
    return Picture("figure4", title, BANDS + _overlaid(plan, results), columns)


def _sensitivity(plan: Plan, results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    columns = []
    for result in results:
        candidates = [(c.setting.label, c) for c in result.candidates]
        others = [(name, c) for name, c in result.named if c not in result.candidates]
        groups = [("candidates", candidates), ("the others", others)]
        columns.append(
            [
                _grids(plan, f"{_title(result)}: {what}", group, looks)
                for what, group in groups
                if any(point.losses for _, curve in group for point in curve.grid)
            ]
        )
    caption = (
        f"The mean {_criterion(plan)} at every γ₀ that was tried; bands "
        "reach from the best to the worst seed. Large: the γ₀ that was chosen. ✕, at the top: a run diverged."
    )
    title = "Sensitivity to γ₀, and to what distinguishes the settings"
    return Picture("sensitivity", title, caption, columns)


def _budget(plan: Plan, results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    columns = []
    for result in results:
        lines = []
        for name, curve in result.named:
            best = judgement.tuned(plan, result, curve)
            if best is not None:
                means = [judgement.geometric_interval(losses) for losses in best]
                k = np.arange(1.0, len(means) + 1)
                mean, low, high = (
                    np.array([getattr(m, end) for m in means]) for end in ("mean", "low", "high")
                )
                lines.append(Line(name, looks[name], k, mean, low, high))
        drawn = "settings drawn from the space" if plan.trials else "steps γ₀ drawn from the grid"
        columns.append([Panel(_title(result), f"trials: {drawn}", _criterion(plan), lines, yscale="log")])
    caption = (
        "The expected loss of the best of so many trials, drawn at random from those that were made: the "
        "geometric mean over the seeds with its 95 % interval. One that diverged counts with the loss "
        "before training. An optimizer that is easy to tune comes down early."
    )
    return Picture("budget", "Loss against the tuning budget", caption, columns)


def _time_to_target(results: Sequence[Result], looks: Mapping[str, Look]) -> Picture:
    columns = []
    for result in results:
        begun = [(name, curve) for name, curve in result.named if curve.counted]
        shown = [(n, c) for n, c in begun if c not in result.candidates or c is result.best] or begun
        columns.append(
            [
                _to_target(_title(result), "epochs to the target", shown, judgement.epochs_to, looks),
                _to_target(_title(result), "seconds to the target", shown, judgement.seconds_to, looks),
            ]
        )
    caption = (
        "The median over the seeds, bands from the fastest to the slowest; a curve ends where half of the "
        "seeds never came. Seconds are those of training alone, on the machines that did it."
    )
    return Picture("time_to_target", "Time to a training loss", caption, columns)


def _profiles(results: Sequence[Result], looks: Mapping[str, Look]) -> list[Picture]:
    profiles = [judgement.profile(results, tolerance) for tolerance in judgement.TOLERANCES]
    instances = max((len(r) for p in profiles for r in p.ratios.values()), default=0)
    if not instances:
        return []
    finite = [r for p in profiles for ratios in p.ratios.values() for r in ratios if math.isfinite(r)]
    right = 1.1 * max([2.0, *finite])
    columns = []
    for profile in profiles:
        lines = []
        for name, ratios in profile.ratios.items():
            x = np.array(sorted({1.0, *(r for r in ratios if math.isfinite(r)), right}))
            y = np.array([profile.share(name, ratio) for ratio in x])
            lines.append(Line(name, looks[name], x, y, kind="steps"))
        title = f"τ = {profile.tolerance:g}"
        columns.append(
            [
                Panel(
                    title,
                    "epochs, as a multiple of the fewest",
                    "share of problems and seeds",
                    lines,
                    xscale="log",
                    xlim=(1.0, right),
                    ylim=(-0.03, 1.03),
                )
            ]
        )
    caption = (
        f"Dolan and Moré's profiles over {instances} instances, each a problem with a seed: the share of "
        "them in which an optimizer has gone all the way from the initial loss to the lowest that any "
        "reached, but for a part τ, within so many times the epochs of the fastest."
    )
    if len(results) == 1:
        caption += " With one problem they tell about its seeds, not about problems."
    return [Picture("profiles", "Performance profiles", caption, columns)]


def _loss_and_accuracy(
    plan: Plan, result: Result, curves: Sequence[Curve], looks: Mapping[str, Look]
) -> list[Panel]:
    shown = [_shown(curve) for curve in curves]
    return [_panel(plan, result, _title(result), shown, f, looks) for f in result.drawn]


class _Shown(NamedTuple):
    """A curve in a panel: what it is called there, and which printed curve it repeats, if any."""

    name: str
    curve: Curve
    printed: str | None


def _shown(curve: Curve) -> _Shown:
    return _Shown(curve.setting.label, curve, paper.label(curve.setting))


def _panel(
    plan: Plan,
    result: Result,
    title: str,
    shown: Sequence[_Shown],
    what: str,
    looks: Mapping[str, Look],
) -> Panel:
    """Curves over the epochs; for the paper's problems with the printed ones on them."""
    begun = [one for one in shown if one.curve.counted]
    ours, theirs = [], []
    for name, curve, known in begun:
        values = curve.series(what)
        ours.append(_spread(name, looks[name], np.arange(values.shape[1], dtype=float), values))
        if paper.repeats(plan, result.problem):
            printed = paper.printed(result.problem, what, known) if known else None
            if printed is not None:
                kept = printed.epoch < values.shape[1]
                x, y = printed.epoch[kept].astype(float), printed.mean[kept]
                band = printed.low[kept], printed.high[kept]
                theirs.append(Line(name, _darker(looks[name]), x, y, *band, kind="printed"))
    lines = ours + theirs
    if what in judgement.LOSSES:
        return Panel(title, "epoch", LOSS if what == "train_loss" else "test loss", lines, yscale="log")
    finals = [one.curve.final(what).low for one in begun]
    finals = [x for x in finals if math.isfinite(x)]
    low = _bottom(min(finals, default=0.0))
    return Panel(title, "epoch", ACCURACY, lines, ylim=(low, None))


def _grids(plan: Plan, title: str, named: Sequence[Named], looks: Mapping[str, Look]) -> Panel:
    lines, marks = [], []
    for name, curve in named:
        points = [point for point in curve.grid if point.losses and not point.stopped]
        points.sort(key=lambda point: point.lr)
        alive = [[x for x in point.losses if x is not None] for point in points]
        if not points:
            continue
        rows = np.full((max(map(len, alive)) or 1, len(points)), np.nan)
        for column, losses in enumerate(alive):
            rows[: len(losses), column] = losses
        steps = np.array([point.lr for point in points])
        lines.append(_spread(name, looks[name], steps, rows, skip_nan=True))
        if curve.lr is not None:
            at = steps == curve.lr
            marks.append(Line(name, looks[name], steps[at], lines[-1].y[at], kind="chosen"))
        lost = np.array([None in point.losses for point in points])
        if lost.any():
            marks.append(Line(name, looks[name], steps[lost], np.full(lost.sum(), np.nan), kind="diverged"))
    top = max(
        (
            float(np.nanmax(line.high))
            for line in lines
            if line.high is not None and np.isfinite(line.high).any()
        ),
        default=1.0,
    )
    for row, mark in enumerate(m for m in marks if m.kind == "diverged"):
        mark.y[:] = top * 1.5 * 1.25**row  # a row for each optimizer, above all losses
    return Panel(title, "initial step γ₀", _criterion(plan), lines + marks, "log", "log")


def _criterion(plan: Plan) -> str:
    return f"{'validation loss' if plan.validation else LOSS} after {plan.selection_epochs} epochs"


def _to_target(
    title: str,
    ylabel: str,
    named: Sequence[Named],
    measure: judgement.Measure,
    looks: Mapping[str, Look],
) -> Panel:
    losses = [curve.series("train_loss") for _, curve in named]
    start, lowest = max(float(np.nanmax(x[:, 0])) for x in losses), min(float(np.nanmin(x)) for x in losses)
    goals = np.geomspace(start, max(lowest, judgement.TINY), 120)
    lines = []
    for name, curve in named:
        needed = measure(curve, goals)
        median = np.median(needed, axis=1)
        there = np.isfinite(median)
        slowest = np.where(np.isfinite(needed), needed, -np.inf).max(axis=1)
        lines.append(
            Line(name, looks[name], goals[there], median[there], needed.min(axis=1)[there], slowest[there])
        )
    return Panel(
        title, "target: training loss J", ylabel, lines, xscale="log", xlim=(start, float(goals[-1]))
    )


def _spread(label: str, look: Look, x: Floats, rows: Floats, *, skip_nan: bool = False) -> Line:
    """Mean, least and greatest over the rows; without `skip_nan` a mean ends where a run diverged."""
    some = np.isfinite(rows).any(axis=0)
    mean, low, high = (np.full(len(x), np.nan) for _ in range(3))
    mean[some] = np.nanmean(rows[:, some], axis=0) if skip_nan else rows[:, some].mean(axis=0)
    low[some], high[some] = np.nanmin(rows[:, some], axis=0), np.nanmax(rows[:, some], axis=0)
    return Line(label, look, x, mean, low, high)


def _looks(results: Sequence[Result]) -> dict[str, Look]:
    """A look for every name in the figures, the same in all of them."""
    names = list(dict.fromkeys(curve.setting.label for result in results for _, curve in result.named))
    unknown = [name for name in names if name not in PAPER]
    looks = PAPER | {
        name: Look(OTHERS[i % len(OTHERS)], DASHES[i // len(OTHERS) % len(DASHES)])
        for i, name in enumerate(unknown)
    }
    for result in results:
        for name, curve in result.named[len(result.curves) :]:
            looks[name] = looks[f"best candidate, {curve.setting.label}"] = looks[curve.setting.label]
        if result.best is not None:
            looks.setdefault(decay_label(result.best.setting.q), looks[result.best.setting.label])
    return looks


def _darker(look: Look) -> Look:
    """To be seen on the colour itself."""
    red, green, blue = to_rgb(look.color)
    return Look(to_hex((red / 2, green / 2, blue / 2)))


def _bottom(accuracy: float) -> float:
    """Where an axis begins that shows how curves come to their ends, the worst of them at this accuracy."""
    return max(0.0, math.floor(10 * (accuracy - 0.15)) / 10, math.floor(100 * (8 * accuracy - 7)) / 100)


def _overlaid(plan: Plan, results: Sequence[Result]) -> str:
    papers = any(paper.repeats(plan, result.problem) for result in results)
    return " Thin and dark: the paper's printed curves and bands, as far as ours have come." if papers else ""


def _title(result: Result) -> str:
    problem = result.problem
    images = f", {problem.train:,} images" if problem.train else ""
    return f"{problem.caption}{images}"
