"""A runner that trains in this process, on data of the test's choice."""

from pathlib import Path

from inna.lab.data import Dataset
from inna.lab.plan import Run
from inna.lab.records import Record, RunFolder
from inna.lab.running import training


class Here:
    def __init__(self, root: Path, dataset: Dataset) -> None:
        self.root = root
        self.dataset = dataset
        self.executed: list[Run] = []

    def execute(self, runs: list[Run], description: str) -> None:
        for run in runs:
            if not RunFolder.of(run, self.root).is_complete:
                self.executed.append(run)
                training.train(run, self.root / run.folder, self.dataset)

    def records(self, run: Run) -> list[Record]:
        return RunFolder.of(run, self.root).records()
