"""What the disk holds of a plan: its results, finished or not, without running anything.

A folder of experiments holds ``plan.json``, the plan that was given last, and below ``runs`` the records.
"""

import json
from collections.abc import Collection
from pathlib import Path

from . import protocol
from .files import write_atomically
from .plan import Plan, Run, validated
from .records import Record, RunFolder, is_last
from .results.curves import Result

__all__ = ["Archive", "keep_plan", "read_plan", "results"]


class Archive:
    """A `protocol.Runner` that executes nothing, reads every record once, and knows which are missing.

    Args:
        root: the folder under which each run has its own (`Run.folder`).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._missing: dict[Path, Run] = {}
        self._read: dict[Path, list[Record]] = {}

    def execute(self, runs: list[Run], description: str) -> None:
        """Execute nothing; note which of the runs are not complete."""
        for run in runs:
            found = self.records(run)
            if not (found and is_last(found[-1], run.epochs)):
                self._missing[run.folder] = run

    def records(self, run: Run) -> list[Record]:
        """The records of a run, read once; none if it has not begun."""
        left = RunFolder.of(run, self.root)
        if left.path not in self._read:
            self._read[left.path] = left.records()
        return self._read[left.path]

    @property
    def missing(self) -> list[Run]:
        """The runs that are not complete."""
        return list(self._missing.values())


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
        runs = len(list((folder / "runs").glob("**/records.jsonl")))
        if runs:
            raise FileNotFoundError(
                f"no plan in {folder}, but {runs} single run{'s' if runs > 1 else ''} of `inna train`: "
                f"`inna export {folder}` writes their records as a table"
            )
        raise FileNotFoundError(f"no plan in {folder}: name the folder that was --out of an earlier command")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): give the command that began the plan once more"
        ) from None
    return validated(Plan, content)
