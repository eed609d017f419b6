"""What the disk holds of a plan: its results, finished or not, without running anything.

A folder of experiments holds ``plan.json``, the plan that was given last, and below ``runs`` the records.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from . import protocol, records
from .files import write_atomically
from .plan import Plan, Run, validated
from .results.curves import Result
from .running.workers import Workers

__all__ = ["Archive", "keep_plan", "read_plan", "results"]


class Archive(Workers):
    """Workers that execute nothing, and remember which runs are not complete.

    Args:
        root: the folder under which each run has its own (`Run.folder`).
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root, jobs=0)
        self.missing: list[Run] = []
        self._read: dict[Path, list[dict[str, Any]]] = {}

    def execute(self, runs: list[Run], description: str) -> None:
        """Execute nothing; note which of the runs are not complete."""
        for run in runs:
            found = self.records(run)
            if run not in self.missing and not (found and (found[-1]["diverged"] or len(found) > run.epochs)):
                self.missing.append(run)

    def records(self, run: Run) -> list[dict[str, Any]]:
        """The records of a run, read once; none if it has not begun."""
        if run.folder not in self._read:
            self._read[run.folder] = records.read(self.root / run.folder / "records.jsonl")
        return self._read[run.folder]


def results(folder: Path, plan: Plan, figures: Collection[int] = (2, 3, 4)) -> tuple[list[Result], list[Run]]:
    """The results of a plan as far as the disk holds them, and the runs that are not complete.

    Raises:
        records.RecordError: a record is damaged.
    """
    archive = Archive(folder / "runs")
    return protocol.reproduce(plan, archive, figures), archive.missing


def keep_plan(folder: Path, plan: Plan) -> None:
    """Write a plan beside its runs, so that `read_plan` finds it."""
    content = json.dumps(plan.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_atomically(folder / "plan.json", f"{content}\n".encode())


def read_plan(folder: Path) -> Plan:
    """The plan whose runs a folder holds.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: it is damaged.
    """
    path = folder / "plan.json"
    if not path.exists():
        raise FileNotFoundError(f"no plan in {folder}: name the folder that was --out of an earlier command")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): give the command that began the plan once more"
        ) from None
    return validated(Plan, content)
