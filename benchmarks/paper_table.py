"""How far runs of NiN lie from the paper's printed curves: the tables of docs/paper.md.

Run it with `python benchmarks/paper_table.py [FOLDER ...]`; a folder is an `--out` of `inna reproduce`, and
without one all in studies/ are read. A value is log10 J, or the test accuracy, after the epoch; it is bold if
it lies in the printed band, give or take .02 of log10 J or .01 of accuracy.
"""

import json
import math
import sys
from pathlib import Path

from inna.lab.plan import Run, Setting
from inna.lab.records import RunFolder
from inna.lab.results import paper

STUDIES = Path(__file__).resolve().parents[1] / "studies"
EPOCHS = (1, 2, 3, 5, 10, 15)
MARGIN = {"train_loss": 0.02, "test_accuracy": 0.01}


def main() -> None:
    for folder in map(Path, sys.argv[1:] or sorted(STUDIES.glob("paper-*"))):
        for field in MARGIN:
            print(f"{folder.name}, {field}\n\n{table(folder, field)}\n")


def table(folder: Path, field: str) -> str:
    """Every run below a folder, one line each, with the printed mean above each group of a curve's."""
    runs = [
        Run(**json.loads(path.read_bytes())["run"]) for path in sorted(folder.glob("runs/*/*/*/run.json"))
    ]
    lines = [
        f"| curve | weights | gamma_0 | seed | products | {' | '.join(map(str, EPOCHS))} | hits |",
        f"|---|---|---|---|---|{'---|' * len(EPOCHS)}---|",
    ]
    named = [(name, run) for run in runs if (name := curve(run)) is not None]
    for name in dict.fromkeys(name for name, _ in named):
        printed = paper.printed(runs[0].problem, field, name)
        assert printed is not None
        bands = [band(field, printed, epoch) for epoch in EPOCHS]
        lines.append(f"| **{name}**, printed | | | five | | {' | '.join(bands)} | |")
        lines += [line(run, printed, folder, field) for of, run in named if of == name]
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


def line(run: Run, printed: paper.Printed, folder: Path, field: str) -> str:
    """One run."""
    found = RunFolder.of(run, folder / "runs").records()
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
