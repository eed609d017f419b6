"""What was declared for a folder of experiments, and when: ``declared.json`` beside the plan."""

import json
from pathlib import Path

from .files import write_atomically
from .plan import Evaluation, Hypothesis, Plan
from .records import below

__all__ = ["declarations", "declare"]


def declare(folder: Path, plan: Plan) -> None:
    """Write down each new hypothesis of a plan with the number of long runs that are done already."""
    known = declarations(folder)
    new = [told for told in plan.hypotheses if told not in known]
    if new:
        done = sum(
            left.is_complete
            for left in below(folder / "runs")
            if left.description()["run"]["evaluate"] == Evaluation.every_epoch
        )
        entries = {**known, **dict.fromkeys(new, done)}
        content = [told.model_dump() | {"after": after} for told, after in entries.items()]
        write_atomically(folder / "declared.json", f"{json.dumps(content, indent=1)}\n".encode())


def declarations(folder: Path) -> dict[Hypothesis, int]:
    """Every hypothesis that was ever declared for a folder, and after how many long runs.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / "declared.json"
    try:
        content = json.loads(path.read_bytes()) if path.exists() else []
        return {
            Hypothesis(**{key: entry[key] for key in Hypothesis.model_fields}): int(entry["after"])
            for entry in content
        }
    except (LookupError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: delete it, and its hypotheses count as declared now") from None
