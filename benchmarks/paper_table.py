"""How far runs of NiN lie from the paper's printed curves: the tables of docs/paper.md.

Run it with `python benchmarks/paper_table.py [FOLDER ...]`; a folder is an `--out` of `inna reproduce`, and
without one all in studies/ are read. The longest runs come first. A value is log10 J, or the test accuracy,
after the epoch; it is bold if it lies in the printed band, give or take .02 of log10 J or .01 of accuracy.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from inna.lab.plan import Run, Setting
from inna.lab.records import RunFolder
from inna.lab.results import paper

STUDIES = Path(__file__).resolve().parents[1] / "studies"
Records = list[dict[str, Any]]
EPOCHS = (1, 2, 3, 5, 10, 15)
MARGIN = {"train_loss": 0.02, "test_accuracy": 0.01}


def main() -> None:
    """A table for each data set and field."""
    runs = [
        run for folder in map(Path, sys.argv[1:] or sorted(STUDIES.glob("paper-*"))) for run in read(folder)
    ]
    for dataset in sorted({run.problem.dataset for run, _ in runs}):
        found = [(run, records) for run, records in runs if run.problem.dataset == dataset]
        for field in MARGIN:
            print(f"{dataset}, {field}\n\n{table(found, field)}\n")


def read(folder: Path) -> list[tuple[Run, Records]]:
    """Every run below a folder that repeats a printed curve, and its records."""
    runs = [
        Run(**json.loads(path.read_bytes())["run"]) for path in sorted(folder.glob("runs/*/*/*/run.json"))
    ]
    return [(run, RunFolder.of(run, folder / "runs").records()) for run in runs if curve(run) is not None]


def table(runs: list[tuple[Run, Records]], field: str) -> str:
    """The runs on a data set, one line each, with the printed mean above each group of a curve's."""
    lines = [
        f"| curve | weights | gamma_0 | seed | products | {' | '.join(map(str, EPOCHS))} | hits |",
        f"|---|---|---|---|---|{'---|' * len(EPOCHS)}---|",
    ]
    for name in sorted({str(curve(run)) for run, _ in runs}):
        printed = paper.printed(runs[0][0].problem, field, name)
        assert printed is not None
        bands = [band(field, printed, epoch) for epoch in EPOCHS]
        lines.append(f"| **{name}**, printed | | | five | | {' | '.join(bands)} | |")
        mine = [(run, records) for run, records in runs if curve(run) == name]
        mine.sort(key=lambda pair: (-len(pair[1]), pair[0].precision, pair[0].init, pair[0].lr, pair[0].seed))
        lines += [line(run, records, printed, field) for run, records in mine]
    return "\n".join(lines)


def band(field: str, printed: paper.Printed, epoch: int) -> str:
    """The printed mean and band; nothing before the curve enters the printed axis."""
    if (point := printed.after(epoch)) is None:
        return ""
    mean, low, high = (shown(field, value) for value in point)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def shown(field: str, value: float) -> float:
    """A value on the figure's axis."""
    return math.log10(value) if field == "train_loss" else value


def curve(run: Run) -> str | None:
    """The printed curve that a run repeats."""
    return paper.label(Setting(label="a run", optimizer=run.optimizer, options=run.options, q=run.q))


def line(run: Run, found: Records, printed: paper.Printed, field: str) -> str:
    """One run."""
    cells, hits, of = [], 0, 0
    for epoch in EPOCHS:
        if epoch >= len(found):
            cells.append("")
            continue
        value = shown(field, found[epoch][field])
        if (point := printed.after(epoch)) is None:
            cells.append(f"{value:.3f}")
            continue
        _, low, high = (shown(field, bound) for bound in point)
        hit = low - MARGIN[field] <= value <= high + MARGIN[field]
        cells.append(f"**{value:.3f}**" if hit else f"{value:.3f}")
        hits, of = hits + hit, of + 1
    start = f"speed {run.options['initial_speed']:g}" if "initial_speed" in run.options else ""
    columns = [start, run.init, f"{run.lr:g}", str(run.seed), run.precision, *cells, f"{hits} of {of}"]
    return f"| {' | '.join(columns)} |"


if __name__ == "__main__":
    main()
