"""What a study came to: its tables and sentences for docs/studies.md, and a digest of its records.

    python benchmarks/study.py FOLDER           print the tables of a folder of `inna run`
    python benchmarks/study.py FOLDER DIGEST    and write the end of every run to a CSV file

The digest has a line for each run: what it was, what it came to, and the SHA-256 of its records
without their times.
"""

import csv
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

from inna.lab import archive
from inna.lab.hypotheses import declarations
from inna.lab.records import VOLATILE, below
from inna.lab.reporting import leaderboard
from inna.lab.results import judgement
from inna.lab.results.curves import Result
from inna.lab.results.findings import FIELDS, declared

COLUMNS = (
    *("problem", "optimizer", "options", "lr", "seed", "evaluate", "epochs"),
    *("train_loss", "validation_loss", "test_loss", "test_accuracy", "sha256"),
)


def main() -> None:
    folder = Path(sys.argv[1])
    plan = archive.read_plan(folder)
    results, missing = archive.results(folder, plan)
    if missing:
        print(f"{len(missing)} runs are not complete\n")
    if len(results) > 1:
        print(f"{over_all(results)}\n\n{each_problem(results)}\n")
    else:
        print(f"{each_setting(results[0])}\n")
    print("\n".join(f"- {sentence}" for sentence in declared(plan, results, missing, declarations(folder))))
    if len(sys.argv) > 2:
        write_digest(folder, Path(sys.argv[2]))


def over_all(results: list[Result]) -> str:
    """The optimizers over all problems."""
    what = FIELDS[results[0].lead]
    lines = [
        f"| over all problems | ratio to the lowest {what}, geometric mean | lowest on | lowest, or no "
        "difference shown |",
        "|---|---|---|---|",
    ]
    return "\n".join(
        lines
        + [
            f"| {row.label} | {row.ratio:.3g} | {row.lowest} | {row.level} |"
            for row in leaderboard.overall(leaderboard.standings(results))
        ]
    )


def each_problem(results: list[Result]) -> str:
    """The geometric means of the loss that ranks; bold: the lowest, and who shows no difference from it."""
    labels = [curve.setting.label for curve in results[0].curves]
    lines = [f"| {FIELDS[results[0].lead]} | {' | '.join(labels)} |", f"|---|{'---|' * len(labels)}"]
    found = leaderboard.standings(results)
    for result in results:
        level = {one.label for one in found if one.problem == result.problem.name and one.level}
        cells = []
        for curve in result.curves:
            loss = judgement.typical(curve, result.lead) if curve.counted else math.nan
            text = f"{loss:.4g}" if math.isfinite(loss) else "diverged" if curve.counted else ""
            cells.append(f"**{text}**" if curve.setting.label in level else text)
        lines.append(f"| {result.problem.caption} | {' | '.join(cells)} |")
    return "\n".join(lines)


def each_setting(result: Result) -> str:
    """The settings of one problem, the lowest loss first, each beside the lowest."""
    what = FIELDS[result.lead]
    lines = [f"| setting | {what} | ratio to the lowest, in pairs | seeds |", "|---|---|---|---|"]
    curves = {curve.setting.label: curve for curve in result.curves}
    for row in leaderboard.standings([result]):
        loss = judgement.typical(curves[row.label], result.lead)
        lines.append(f"| {row.label} | {loss:.4f} | {row.ratio:.4f} | {row.seeds} |")
    return "\n".join(lines)


def write_digest(folder: Path, path: Path) -> None:
    """A line for each run."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for left in below(folder / "runs"):
            run, records = left.description()["run"], left.records()
            kept = [{k: v for k, v in one.items() if k not in VOLATILE} for one in records]
            sha = hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]
            ends = [number(records[-1].get(key)) for key in COLUMNS[7:-1]]
            problem = left.path.relative_to(folder / "runs").parts[0]
            optimizer = run["optimizer"].rpartition(".")[2]
            what = [problem, optimizer, json.dumps(run["options"]), f"{run['lr']:g}", run["seed"]]
            writer.writerow([*what, run["evaluate"], run["epochs"], *ends, sha])


def number(value: Any) -> str:
    return "" if value is None else f"{value:.9g}"


if __name__ == "__main__":
    main()
