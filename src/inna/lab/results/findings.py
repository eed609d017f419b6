"""What the records show, in sentences; every number and every verdict in them is computed."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..plan import Evaluation, Hypothesis, Plan, Run
from . import design, judgement, paper
from .curves import Curve, Result

__all__ = ["declared", "findings", "unfinished"]

RATIO = 0.9
"""Of two losses: how many seeds it takes to see it is said."""
HALF = 0.5
"""Of two losses: where not even this is seen, the seeds are few."""
FIELDS = {"train_loss": "training loss", "test_accuracy": "test accuracy", "test_loss": "test loss"}


def findings(plan: Plan, result: Result, comparisons: int | None = None) -> list[str]:
    """What the records of a problem show.

    Args:
        plan: what was run.
        result: what came out for one problem.
        comparisons: how many the whole report makes (`judgement.family`); those of this problem by default.
    """
    finals = {
        field: {name: mean for name, c in result.named if math.isfinite(mean := judgement.typical(c, field))}
        for field in FIELDS
    }
    ranked = finals[result.lead]
    if not ranked:
        begun = any(curve.counted for _, curve in result.named)
        return ["Every run diverged." if begun else "No long run has begun."]
    lowest = min(ranked, key=lambda name: ranked[name])
    accuracies = finals["test_accuracy"]
    highest = max(accuracies, key=lambda name: accuracies[name], default=None)
    return [
        f"The lowest {FIELDS[result.lead]} (geometric mean over the seeds) is that of {lowest}: "
        f"{ranked[lowest]:.4g}.",
        *(
            [f"The highest mean test accuracy is that of {highest}: {accuracies[highest]:.4f}."]
            if highest
            else []
        ),
        *_hopeless(plan, result),
        *_comparisons(plan, result, lowest, comparisons or judgement.family([result])),
        *_time(result),
        *_sensitivity(plan, result),
        *_search(result),
        *_budget(plan, result),
        *_power(plan, result, comparisons or judgement.family([result])),
        *_printed(plan, result),
    ]


def declared(
    plan: Plan,
    results: Sequence[Result],
    missing: Sequence[Run] = (),
    declarations: Mapping[Hypothesis, int] | None = None,
) -> list[str]:
    """What came of the plan's hypotheses, a sentence for each on each problem.

    Student's one-sided test over the paired seeds, corrected by Holm over all of them. Where one of ours
    diverged, or a pair of seeds is missing, nothing is found.

    Args:
        plan: what was run.
        results: what came out.
        missing: the runs that are not complete.
        declarations: what was ever declared, and after how many long runs (`inna.lab.hypotheses`).
    """
    made = declarations or {}
    said = [
        f"Declared once, and withdrawn since: {_claim(told)}." for told in made if told not in plan.hypotheses
    ]
    if plan.hypotheses and missing:
        return [*said, "The hypotheses of the plan are tested when it is at its end."]
    tests = []
    for result in results:
        for told in plan.hypotheses:
            after = made.get(told, 0)
            when = (
                f"Declared when {after} long run{'s were' if after > 1 else ' was'} done"
                if after
                else "Declared"
            )
            claim = f"{when}: {_claim(told)} on {result.problem.name}"
            if any(np.isfinite(curve.series(told.field)).any() for _, curve in result.named):
                tests.append((claim, *_tested(plan, told, result)))
            else:
                said.append(f"{claim}: not tested, as nothing there has a {FIELDS[told.field]}.")
    corrected = design.holm([p for _, _, p in tests])
    return said + [
        f"{claim}: {'found' if p < plan.level else 'not found'} ({what}; one-sided p = {alone:.2g}, "
        + (f"after Holm's correction over {len(tests)} tests {p:.2g}, " if len(tests) > 1 else "")
        + f"level {plan.level:g})."
        for (claim, what, alone), p in zip(tests, corrected, strict=True)
    ]


def _claim(told: Hypothesis) -> str:
    return f"{told.ahead} is ahead of {told.of} in {FIELDS[told.field]}"


def _tested(plan: Plan, told: Hypothesis, result: Result) -> tuple[str, float]:
    """What was measured, and the p-value."""
    named = dict(result.named)
    size = np.array(judgement.compare(named[told.ahead], named[told.of], told.field).differences)
    if len(size) < 2:
        return "a run diverged, or there are fewer than two seeds", 1.0
    loss = told.field in judgement.LOSSES
    p = design.one_sided(size if loss else -size, level=plan.level).p
    mean = float(size.mean())
    what = f"ratio {math.exp(mean):.3g}" if loss else f"difference {mean:+.4f}"
    return f"{what} over {len(size)} paired seeds", p


def unfinished(missing: Sequence[Run]) -> list[str]:
    """What is missing for the plan to be at its end, a sentence for each problem."""
    said = []
    for problem in dict.fromkeys(run.problem for run in missing):
        runs = [run for run in missing if run.problem == problem]
        choosing = sum(run.evaluate is not Evaluation.every_epoch for run in runs)
        parts = [f"{choosing} that choose γ₀"] if choosing else []
        parts += [f"{len(runs) - choosing} of all epochs"] if len(runs) > choosing else []
        optimizers = dict.fromkeys(run.optimizer.rpartition(".")[2] for run in runs)
        said.append(
            f"{problem.name} is not at its end. Runs that are not complete: {' and '.join(parts)} "
            f"({', '.join(optimizers)}); what depends on them is left out."
        )
    return said


def _hopeless(plan: Plan, result: Result) -> list[str]:
    lost = [name for name, curve in result.named if curve.is_hopeless]
    what = "trial" if plan.trials else "step γ₀"
    return [f"Every {what} of {name} diverged: it was not trained for long." for name in lost]


def _comparisons(plan: Plan, result: Result, lowest: str, comparisons: int) -> list[str]:
    """The best candidate against its peers, and its k^-1/4 against ADAM; or the lowest loss against all."""
    named = dict(result.named)
    best = result.best.setting.label if result.best else lowest
    peers = [c.setting.label for c in result.curves if c.setting.role == "peer" and c.setting.label != best]
    pairs = [(best, peer) for peer in peers]
    if result.against_adam is not None:
        slower = f"{best}, {result.against_adam.setting.label}"
        adams = [c.setting.label for c in result.curves if c.setting.is_adam]
        pairs += [(slower, adam) for adam in adams if adam in peers]
    said = [
        _compare(a, b, judgement.compare(named[a], named[b], field, comparisons), named, comparisons)
        for field in result.fields
        for a, b in pairs
        if all(named[x].counted or named[x].diverged for x in (a, b))  # the others have not begun
    ]
    chosen_from = sum(bool(curve.counted) for curve in result.candidates)
    if chosen_from > 1 and peers and not plan.validation:
        said.append(
            f"{best} was chosen among {chosen_from} candidates by these same training losses, "
            "which favours it; the intervals count the comparisons of all of them."
        )
    return said


def _compare(
    ours: str, theirs: str, told: judgement.Comparison, named: Mapping[str, Curve], comparisons: int
) -> str:
    subject = f"{ours} {'is ' if told.verdict in ('ahead of', 'behind') else ''}{told.verdict} {theirs}"
    if told.verdict == "cannot be compared with":
        lost = [f"{named[name].diverged} of {name}" for name in (ours, theirs) if named[name].diverged]
        why = f"of the runs diverged: {', '.join(lost)}" if lost else "there are no runs to compare"
        return f"{subject} in {FIELDS[told.field]}: {why}."
    d = told.difference
    loss = told.field in judgement.LOSSES
    digits, mean, what = (".3g", "geometric means ", "ratio") if loss else (".4f", "means ", "difference")
    a, b = told.means
    seeds = f"{d.seeds} paired seed{'s' if d.seeds > 1 else ''}"
    within = "no interval"
    if not math.isnan(d.low):
        within = f"{d.low:{digits}} to {d.high:{digits}}"
        within += f", one of {comparisons} intervals that hold together at 95 %"
    return (
        f"{subject} in {FIELDS[told.field]} after {told.epoch} epochs: "
        f"{mean}{a:{digits}} against {b:{digits}}, {what} {d.mean:{digits}} ({within}; {seeds}); "
        f"the bands from lowest to highest run {'overlap' if told.overlap else 'do not overlap'}."
    )


def _time(result: Result) -> list[str]:
    said = []
    curves = [(name, c) for name, c in result.named if c.counted]
    for target in judgement.targets(result):
        if target.end_of is None:
            continue
        reached = {name: judgement.epochs_to(c, [target.loss])[0] for name, c in curves}
        medians = {name: float(np.median(epochs)) for name, epochs in reached.items()}
        order = sorted(medians, key=lambda name: medians[name])
        if not any(map(math.isfinite, medians.values())):
            continue
        ranks = [f"{name} {medians[name]:g}" for name in order if math.isfinite(medians[name])]
        never = [
            f"{name} ({np.isfinite(reached[name]).sum()} of {len(reached[name])})"
            for name in order
            if math.isinf(medians[name])
        ]
        said.append(
            f"Epochs to the training loss {target.loss:.3g}, {target.name}, median over the seeds: "
            f"{'; '.join(ranks)}."
            + (f" Too few seeds came there for a median: {', '.join(never)}." if never else "")
        )
    return said


def _sensitivity(plan: Plan, result: Result) -> list[str]:
    found = {name: s for name, c in result.named if (s := judgement.sensitivity(c)) is not None}
    labels = [curve.setting.label for curve in result.candidates]
    best = [found[label].best.mean for label in labels if label in found]
    said = []
    if len(best) > 1:
        low, high = min(best), max(best)
        said.append(
            f"With the best γ₀ tried for each, the candidates' mean {plan.criterion} lies between "
            f"{low:.3g} and {high:.3g}: a factor of {high / low:.2g} between the best and the worst of them."
        )
    shown = [name for name, c in result.named if c in result.compared and name in found]
    if shown:
        spans = [f"{name} {found[name].low:g} to {found[name].high:g}" for name in shown]
        said.append(
            f"The steps γ₀ around the best with a mean {plan.criterion} "
            f"of at most {judgement.GOOD:g} times the best's: {'; '.join(spans)}."
        )
    edges = [name for name in found if found[name].on_edge]
    if edges:
        said.append(
            "The best γ₀ lies on the edge of what was tried, so a wider grid might do better: "
            f"{', '.join(edges)}."
        )
    return said


def _search(result: Result) -> list[str]:
    """Whether the space was wide enough."""
    found = {name: judgement.edges(curve) for name, curve in result.named}
    ends = [f"{name}: {', '.join(those)}" for name, those in found.items() if those]
    if not ends:
        return []
    return [
        f"The best trial lies on the edge of its space, so a wider one might do better: {'; '.join(ends)}."
    ]


def _budget(plan: Plan, result: Result) -> list[str]:
    """What tuning gave, and whether all had the same trials."""
    said = []
    curves = [(name, c) for name, c in result.named if c in result.compared]
    found = {name: best for name, c in curves if (best := judgement.tuned(plan, result, c)) is not None}
    if found:
        gains = [
            f"{name} {g.mean:.3g}" + (f" ({g.low:.3g} to {g.high:.3g})" if g.seeds > 1 else "")
            for name, best in found.items()
            for g in [judgement.geometric_interval(best[0] / np.maximum(best[-1], judgement.TINY))]
        ]
        said.append(
            f"What tuning gave: the expected {plan.criterion} with one "
            f"{'trial' if plan.trials else 'γ₀ drawn from the grid'}, over that of the best of "
            f"{'all trials' if plan.trials else 'the whole grid'} (geometric mean over the "
            f"seeds, 95 % interval): {'; '.join(gains)}."
        )
    trials = {name: len(c.grid) for name, c in result.named if c.grid}
    if len(set(trials.values())) > 1:
        most = max(trials.values())
        fewer = [f"{name} {count}" for name, count in trials.items() if count < most]
        said.append(f"Not all had the same trials: {most} steps γ₀, but {', '.join(fewer)}.")
    return said


def _power(plan: Plan, result: Result, comparisons: int) -> list[str]:
    """What so many seeds can find, at the spread that was found."""
    if len(result.curves) < 2:
        return []
    seeds = min(len(c.counted) for c in result.curves)
    if seeds < 2:
        return ["With one seed no difference can be judged: run five or more."] if seeds else []
    spread = judgement.spread(result)
    if not spread > 1e-9:  # no pair to judge by, or seeds that make no difference
        return []
    level = (1 - judgement.CONFIDENCE) / 2
    least = design.detectable(seeds, level=level, comparisons=comparisons) * spread
    try:
        needed = f"{design.seeds_for(-math.log(RATIO) / spread, level=level, comparisons=comparisons)}"
    except ValueError:
        needed = f"more than {design.MOST:,}"
    few = "Few seeds: " if least > -math.log(HALF) else ""
    return [
        f"{few}{seeds} seeds and {comparisons} comparisons find, with probability 0.8, a ratio of the "
        f"{FIELDS[result.lead]}es of {math.exp(-least):.2g}; a ratio of {RATIO:g} takes {needed} seeds. The "
        f"logarithm of the ratio of a seed has a standard deviation of {spread:.2g} (median of the pairs)."
    ]


def _printed(plan: Plan, result: Result) -> list[str]:
    said = []
    for field, what in FIELDS.items():
        found = [d for d in paper.distances(plan, result) if d.field == field]
        if found:
            inside = sum(d.inside for d in found)
            far = max(found, key=lambda d: abs(d.difference))
            unit = " in log10 J" if field == "train_loss" else ""
            epochs = ", ".join(map(str, sorted({d.epoch for d in found})))
            said.append(
                f"Mean {what} at epochs {epochs}: inside the printed band {inside} times of {len(found)}; "
                f"the farthest from the printed mean is {far.label} at epoch {far.epoch}, "
                f"{far.difference:+.3f}{unit}."
            )
    return said
