"""The report: one HTML file that needs nothing else, its sentences computed from the records."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, product
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ... import __version__
from .. import style
from ..files import write_atomically
from ..hypotheses import declarations
from ..plan import Plan, Run
from ..results import judgement, paper
from ..results.curves import Curve, GridPoint, Result
from ..results.findings import declared, findings, unfinished
from . import circumstances, drawing, figures, interactive, leaderboard

__all__ = ["publish", "rows", "unfinished"]


def publish(
    folder: Path,
    plan: Plan,
    results: Sequence[Result],
    missing: Sequence[Run] = (),
    *,
    drawn: Mapping[str, Path] | None = None,
) -> list[Path]:
    """Draw the figures of a plan and write report.html and, as plain data, results.json.

    Args:
        folder: where to.
        plan: what was run.
        results: what came out; may be empty (Figure 1 alone), or unfinished.
        missing: the runs that are not complete.
        drawn: figures that are SVG files already, by title; beside each its numbers as CSV.

    Returns:
        The files written.
    """
    pictures = figures.pictures(plan, results)
    paths = [p for picture in pictures for p in style.save(drawing.draw(picture), folder, picture.name)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        plan=plan,
        version=__version__,
        infinite=math.inf,
        missing=unfinished(missing),
        declared=(said := declared(plan, results, missing, declarations(folder))),
        settings=[
            (s.label, s.optimizer, circumstances.settled(s), circumstances.schedule(s), s.role)
            for s in plan.settings
        ],
        choice=circumstances.choice(plan),
        made_on=circumstances.made_on(folder, plan, results),
        standings=(standings := leaderboard.standings(results)),
        overall=leaderboard.overall(standings) if len(results) > 1 else [],
        drawn={
            title: {
                "svg": _embedded("image/svg+xml", svg.read_bytes()),
                "csv": _embedded("text/csv", svg.with_suffix(".csv").read_bytes()),
                "file": f"{svg.stem}.csv",
            }
            for title, svg in (drawn or {}).items()
        },
        problems=[_problem(plan, result, judgement.family(results)) for result in results],
        pictures=[
            {
                "picture": picture,
                "plots": [
                    {
                        "panel": panel,
                        "plot": interactive.plot(panel),
                        "csv": _embedded("text/csv", interactive.panel_csv(panel).encode()),
                        "file": f"{picture.name}-{number}.csv",
                    }
                    for number, panel in enumerate((p for c in picture.columns for p in c), start=1)
                ],
            }
            for picture in pictures
        ],
        plotly=interactive.javascript() if pictures else "",
    )
    data = {
        "plan": plan.model_dump(mode="json"),
        "declared": said,
        "problems": [
            {
                "problem": result.problem.model_dump(mode="json"),
                "best": result.best.setting.label if result.best else None,
                "curves": [_curve_data(curve) for curve in result.curves],
                "decays": [_curve_data(curve) for curve in result.decays],
            }
            for result in results
        ],
    }
    paths += [folder / "report.html", folder / "results.json"]
    write_atomically(paths[-2], page.encode())
    write_atomically(paths[-1], (json.dumps(data, allow_nan=False) + "\n").encode())
    return paths


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each curve: its label, gamma_0, final loss and accuracy, how many runs diverged and count.

    Loss and accuracy are `curves.Summary`: mean, low and high over the seeds. The intervals are those of
    the loss's geometric mean and of the accuracy's mean.
    """
    return [
        {
            "label": label,
            "lr": curve.lr,
            "loss": curve.final("train_loss"),
            "geometric": judgement.typical(curve, "train_loss"),
            "loss_interval": judgement.geometric_interval(_finals(curve, "train_loss")),
            "test_loss": curve.final("test_loss"),
            "accuracy": curve.final("test_accuracy"),
            "accuracy_interval": judgement.interval(_finals(curve, "test_accuracy")),
            "diverged": curve.diverged,
            "seeds": len(curve.counted),
            "epoch": curve.series("train_loss").shape[1] - 1,
            "chosen": not any(point.missing for point in curve.grid),
        }
        for label, curve in result.named
    ]


def _finals(curve: Curve, field: str) -> Any:
    last = curve.series(field)[:, -1]
    return last[np.isfinite(last)] if curve.diverged == 0 else []


def _problem(plan: Plan, result: Result, comparisons: int) -> dict[str, Any]:
    """What the template shows of a problem."""
    named = [(name, curve) for name, curve in result.named if curve.counted]
    targets = judgement.targets(result)
    ours = [(name, c) for name, c in named if c is result.best or c in result.decays]
    peers = [(name, c) for name, c in named if c in result.compared and c is not result.best]
    pairs = [
        (a, b, [judgement.compare(x, y, field, comparisons) for field in result.fields])
        for (a, x), (b, y) in (product(ours, peers) if result.best else combinations(peers, 2))
    ]
    return {
        "problem": result.problem,
        "rows": rows(result),
        "findings": findings(plan, result, comparisons),
        "pairs": pairs,
        "comparisons": comparisons,
        "targets": targets,
        "times": [(name, [_reached(curve, target.loss) for target in targets]) for name, curve in named],
        "trials": [
            (name, circumstances.options({"lr": point.lr, **point.values}), point, i == 0)
            for name, curve in result.named
            for i, point in enumerate(sorted(curve.grid, key=_rank))
            if plan.trials and point.losses
        ],
        "steps": sorted({point.lr for _, curve in result.named for point in curve.grid}),
        "grids": [
            (name, {p.lr: p for p in c.grid if p.losses}, c.lr, judgement.sensitivity(c))
            for name, c in result.named
        ],
        "epochs": paper.EPOCHS,
        "distances": _distances(plan, result),
        "hosts": len({run[-1].get("host") for _, curve in named for run in curve.runs if run}),
    }


def _rank(point: GridPoint) -> tuple[int, bool, float]:
    """Who came to the end first, then who was stopped last; the lowest loss of each first."""
    return -(point.stopped or 10**12), math.isnan(point.mean), point.mean


def _reached(curve: Curve, loss: float) -> dict[str, float | int]:
    epochs, seconds = judgement.epochs_to(curve, [loss])[0], judgement.seconds_to(curve, [loss])[0]
    there = int(np.isfinite(epochs).sum())
    return {
        "epochs": float(np.median(epochs)),
        "seconds": float(np.median(seconds)),
        "seeds": there,
        "of": len(epochs),
    }


def _distances(plan: Plan, result: Result) -> list[tuple[str, str, dict[int, paper.Distance]]]:
    found: dict[tuple[str, str], dict[int, paper.Distance]] = {}
    for d in paper.distances(plan, result):
        found.setdefault((d.label, d.field), {})[d.epoch] = d
    return [(label, field, by_epoch) for (label, field), by_epoch in found.items()]


def _embedded(kind: str, content: bytes) -> str:
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(content).decode()}"


def _curve_data(curve: Curve) -> dict[str, Any]:
    return {
        "setting": curve.setting.model_dump(mode="json"),
        "grid": [asdict(point) for point in curve.grid],
        "lr": curve.lr,
        "runs": curve.runs,
    }
