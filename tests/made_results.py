"""Results of plans that nobody ran: curves with known numbers."""

from collections.abc import Sequence
from typing import Any

from inna.lab import plan
from inna.lab.results.curves import Curve, GridPoint, Result, decayed


def with_the_papers_settings(preset: str) -> plan.Plan:
    """A preset without the settings that it has besides the paper's."""
    found, papers = plan.load(preset), {setting.label for setting in plan.load("paper").settings}
    kept = tuple(setting for setting in found.settings if setting.label in papers)
    return found.model_copy(update={"settings": kept})


def run(losses: Sequence[float | None], *, seconds: float = 2.0) -> list[dict[str, Any]]:
    """The records of a run with these training losses; None, at its end: it diverged."""
    return [
        {
            "epoch": epoch,
            "train_loss": loss,
            "test_loss": None if loss is None else 1.2 * loss,
            "test_accuracy": None if loss is None else 1 - loss / 10,
            "diverged": loss is None,
            "seconds": seconds if epoch else 0.0,
            "host": "here",
        }
        for epoch, loss in enumerate(losses)
    ]


def curve(setting: plan.Setting, level: float, *, seeds: int = 5, epochs: int = 4) -> Curve:
    """Losses that halve with each epoch, a tenth of the level apart from seed to seed."""
    runs = [run([level * (1 + 0.1 * seed) * 0.5**e for e in range(epochs + 1)]) for seed in range(seeds)]
    grid = [GridPoint(0.1, [level] * seeds), GridPoint(1.0, [None] * seeds)]
    return Curve(setting, grid, 0.1, runs)


def result(of: plan.Plan, problem: int = 0, *, epochs: int = 4) -> Result:
    """One curve after the other is worse, the decays are the best of all."""
    curves = [curve(setting, 2 + i, epochs=epochs) for i, setting in enumerate(of.settings)]
    best = next((c for c in curves if c.setting.role == "candidate"), None)
    decays = [curve(decayed(best.setting, q), 1.0 + q, epochs=epochs) for q in of.decays if best is not None]
    return Result(of.problems[problem], curves, decays, best)
