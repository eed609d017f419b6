"""The report: one HTML file that needs nothing else, its sentences computed from the records."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from .. import __version__
from .plan import Plan
from .protocol import Curve, Result
from .records import write_atomically

__all__ = ["findings", "rows", "write"]


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each curve: label, lr (gamma_0), final loss and accuracy, runs that diverged, and the grid.

    Loss and accuracy are `protocol.Summary`: mean, low and high over the seeds.
    """
    named = [(curve, curve.setting.label) for curve in result.curves]
    named += [(curve, f"{result.best.setting.label}, {curve.setting.label}") for curve in result.decays]
    return [
        {
            "label": label,
            "lr": curve.lr,
            "loss": curve.final("train_loss"),
            "accuracy": curve.final("test_accuracy"),
            "diverged": curve.diverged,
            "grid": {point.lr: point.mean for point in curve.grid},
        }
        for curve, label in named
    ]


def findings(result: Result) -> list[str]:
    """What the records show, in sentences."""
    table = [row for row in rows(result) if not math.isnan(row["loss"].mean)]
    if not table:
        return ["Every run diverged."]
    lowest = min(table, key=lambda row: row["loss"].mean)
    highest = max(table, key=lambda row: row["accuracy"].mean)
    said = [
        f"The lowest mean training loss is that of {lowest['label']}: {lowest['loss'].mean:.4f}.",
        f"The highest mean test accuracy is that of {highest['label']}: {highest['accuracy'].mean:.4f}.",
    ]
    best = result.best
    for peer in result.compared[:-1]:
        said.append(_compare(best, peer, "train_loss", "training loss", better=min))
        said.append(_compare(best, peer, "test_accuracy", "test accuracy", better=max))
    return said


def _compare(best: Curve, peer: Curve, field: str, name: str, better: Any) -> str:
    mine, theirs = best.final(field), peer.final(field)
    if math.isnan(mine.mean) or math.isnan(theirs.mean):
        return f"{best.setting.label} and {peer.setting.label} cannot be compared in {name}: runs diverged."
    ahead = better(mine.mean, theirs.mean) == mine.mean
    overlap = mine.low <= theirs.high and theirs.low <= mine.high
    return (
        f"{best.setting.label} is {'ahead of' if ahead else 'behind'} {peer.setting.label} in mean {name} "
        f"({mine.mean:.4f} against {theirs.mean:.4f}); their best-to-worst bands "
        f"{'overlap' if overlap else 'do not overlap'}."
    )


def write(folder: Path, plan: Plan, results: Sequence[Result], figures: Mapping[str, Path]) -> list[Path]:
    """Write report.html and, as plain data, results.json.

    Args:
        folder: where to.
        plan: what was run.
        results: what came out; may be empty (Figure 1 alone).
        figures: title -> SVG file, in the order of the report.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("inna.lab", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        plan=plan,
        version=__version__,
        figures={title: base64.b64encode(path.read_bytes()).decode() for title, path in figures.items()},
        problems=[
            {
                "result": result,
                "rows": rows(result),
                "findings": findings(result),
                "steps": sorted({p.lr for c in result.curves + result.decays for p in c.grid}),
            }
            for result in results
        ],
        inf=math.inf,
    )
    data = {
        "plan": plan.model_dump(mode="json"),
        "problems": [
            {
                "problem": result.problem.model_dump(mode="json"),
                "best": result.best.setting.label,
                "curves": [_plain(curve) for curve in result.curves],
                "decays": [_plain(curve) for curve in result.decays],
            }
            for result in results
        ],
    }
    paths = [folder / "report.html", folder / "results.json"]
    write_atomically(paths[0], page.encode())
    write_atomically(paths[1], (json.dumps(data, allow_nan=False) + "\n").encode())
    return paths


def _plain(curve: Curve) -> dict[str, Any]:
    return {**asdict(curve), "setting": curve.setting.model_dump(mode="json")}
