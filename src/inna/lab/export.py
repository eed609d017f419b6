"""All records of all runs as one tidy table: a row for each run and epoch, a column for each quantity."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import archive, records
from .files import write_atomically
from .plan import Problem
from .protocol import short_runs

__all__ = ["FORMATS", "table", "write"]


def table(folder: Path) -> list[dict[str, Any]]:
    """The rows: first the problem and the setting, then what the run was, then what its record says.

    The initial step is `gamma_0`; `lr` is that of the epoch's last step. An option of the optimizer is
    `options.NAME`. `setting` is the label in the plan, or the optimizer where no plan has it.

    Args:
        folder: the --out of `inna reproduce` or `inna train`.

    Raises:
        FileNotFoundError: there are no records.
        records.RecordError: a record is damaged.
    """
    labels = _labels(folder) if (folder / "plan.json").exists() else {}
    rows = []
    for left in records.below(folder / "runs"):
        run = left.description()["run"]
        shown = Problem.model_construct(**run["problem"])
        problem = shown.name if shown.task else f"{shown.title}-{shown.network}"
        setting = labels.get(left.path.relative_to(folder / "runs"), run["optimizer"])
        described = _flat({"gamma_0" if key == "lr" else key: value for key, value in run.items()})
        rows += [{"problem": problem, "setting": setting} | described | record for record in left.records()]
    if not rows:
        raise FileNotFoundError(
            f"no records in {folder}: name the folder that was --out of an earlier command"
        )
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{column: row.get(column) for column in columns} for row in rows]


def write(folder: Path, form: str) -> Path:
    """Write the table into the folder as records.csv or records.parquet, whole or not at all.

    Args:
        folder: see `table`.
        form: "csv" or "parquet".

    Raises:
        ModuleNotFoundError: parquet without pyarrow.
    """
    encode = FORMATS[form]()
    path = folder / f"records.{form}"
    write_atomically(path, encode(table(folder)))
    return path


def _csv() -> Callable[[list[dict[str, Any]]], bytes]:
    def encode(rows: list[dict[str, Any]]) -> bytes:
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().encode()

    return encode


def _parquet() -> Callable[[list[dict[str, Any]]], bytes]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "parquet needs pyarrow: pip install 'inna[parquet]'", name=error.name
        ) from error

    def encode(rows: list[dict[str, Any]]) -> bytes:
        file = io.BytesIO()
        columns = {key: _one_type([row[key] for row in rows]) for key in rows[0]}
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
        return file.getvalue()

    return encode


FORMATS = {"csv": _csv, "parquet": _parquet}
"""The formats by name, each with its writer."""


def _one_type(values: list[Any]) -> list[Any]:
    """Options may be numbers in one run and words in another: then they are all words."""
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) < 2 or kinds == {int, float}:
        return values
    return [None if value is None else str(value) for value in values]


def _labels(folder: Path) -> dict[Path, str]:
    """Of the folder of each run of the plan, tried or trained for long, the label of its setting."""
    plan = archive.read_plan(folder)
    found: dict[Path, str] = {}
    for result in archive.results(folder, plan)[0]:
        for label, curve in result.named:
            runs = [
                run
                for point in curve.grid
                for epochs, _ in plan.rungs
                for run in short_runs(plan, result.problem, curve.setting, replace(point, stopped=epochs))
            ]
            if curve.lr is not None:
                runs += [plan.long_run(result.problem, curve.setting, curve.lr, s) for s in plan.seeds]
            for run in runs:
                found.setdefault(run.folder, label)
    return found


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
