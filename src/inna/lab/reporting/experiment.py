"""What has come out of a plan, for those who look at it in Python: data frames, figures, sentences."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from ..hypotheses import declarations
from ..plan import Plan, Run
from ..results import judgement
from ..results.curves import Result
from ..results.findings import declared, findings, unfinished
from . import drawing, figures, page

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Experiment"]


@dataclass(frozen=True, eq=False)
class Experiment:
    """A plan and what has come out of it, finished or not.

    The curves themselves, with arrays over seeds and epochs, are in ``results``: see
    `inna.lab.results.curves.Result` and `Curve.series`.
    """

    folder: Path
    plan: Plan
    results: list[Result]
    """One for each problem of the plan."""
    missing: list[Run]
    """The runs that are not complete."""
    files: list[Path]
    """The figures, the report and the data that were written."""

    def table(self) -> "DataFrame":
        """A row for each curve: gamma_0 and, at its last epoch, the loss and the accuracy over the seeds.

        Loss and accuracy have a mean, and the lowest and the highest value of a seed; gamma_0 is NaN where
        none came through without divergence or is chosen yet.
        """
        from pandas import DataFrame

        rows = [
            {
                "problem": result.problem.name,
                "setting": row["label"],
                "gamma_0": row["lr"],
                "epoch": row["epoch"],
                "seeds": row["seeds"],
                "diverged": row["diverged"],
                **{
                    f"{field}_{part}": getattr(row[key], part)
                    for field, key in (("train_loss", "loss"), ("test_accuracy", "accuracy"))
                    for part in ("mean", "low", "high")
                },
            }
            for result in self.results
            for row in page.rows(result)
        ]
        return DataFrame(rows).astype({"gamma_0": float} if rows else {})

    def figures(self) -> dict[str, Figure]:
        """The figures by their names, as Matplotlib has them; `inna.lab.style.save` writes one to a file."""
        return {picture.name: drawing.draw(picture) for picture in figures.pictures(self.plan, self.results)}

    def findings(self) -> list[str]:
        """What the records show, in sentences; first what is missing."""
        comparisons = judgement.family(self.results)
        found = [findings(self.plan, result, comparisons) for result in self.results]
        first = unfinished(self.missing) + declared(
            self.plan, self.results, self.missing, declarations(self.folder)
        )
        return first + [sentence for sentences in found for sentence in sentences]
