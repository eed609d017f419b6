"""Trials drawn from a declared space: the same plan draws the same, whoever asks and how often it was killed.

Nothing is kept for that: a trial depends on the plan and on the losses of earlier trials, which are recorded.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .plan import Plan, Range

__all__ = ["Search", "at", "start"]

Space = Mapping[str, Range]
Values = dict[str, Any]
TOGETHER = 4
"""Trials that TPE draws before it hears of any of them, so that workers have something to share."""


class Search(Protocol):
    """What draws the trials of one setting, in rounds."""

    def ask(self) -> list[Values]:
        """The next round of trials, none after the last."""

    def tell(self, losses: Sequence[float]) -> None:
        """What they came to; infinity is divergence."""


def start(plan: Plan, space: Space) -> Search:
    """Start the search that a plan declares for one of its settings."""
    if plan.sampler == "tpe":
        return _Tpe(space, plan.trials, plan.search_seed)
    return _Drawn(space, _points(plan.sampler, len(space), plan.trials, plan.search_seed))


def at(space: Space, point: Sequence[float]) -> Values:
    """The values at a point of the unit cube, a coordinate for each range, in their order.

    Example:
        >>> at({"lr": Range(low=1e-4, high=1e-2, log=True), "layers": Range(low=1, high=4)}, [0.5, 0.99])
        {'lr': 0.001, 'layers': 4}
    """
    return {name: _value(given, x) for (name, given), x in zip(space.items(), point, strict=True)}


def _value(given: Range, x: float) -> Any:
    if given.choices:
        return given.choices[min(int(x * len(given.choices)), len(given.choices) - 1)]
    low, high = given.low, given.high
    if given.is_whole:  # each number has a piece of its own
        low, high = low - 0.5, high + 0.5
    value = low * (high / low) ** x if given.log else low + (high - low) * x
    if given.is_whole:
        return min(max(math.floor(value + 0.5), given.low), given.high)
    return min(max(float(f"{value:.3g}"), low), high)  # to be read, and typed again


def _points(sampler: str, dimensions: int, trials: int, seed: int) -> NDArray[np.float64]:
    if sampler == "random":
        return np.random.default_rng(seed).random((trials, dimensions))
    from scipy.stats import qmc  # takes a second, and few plans search

    points: NDArray[np.float64] = qmc.Halton(dimensions, rng=np.random.default_rng(seed)).random(trials)
    return points


class _Drawn:
    """All trials in one round: none depends on another."""

    def __init__(self, space: Space, points: NDArray[np.float64]) -> None:
        self._left = [at(space, point) for point in points]

    def ask(self) -> list[Values]:
        asked, self._left = self._left, []
        return asked

    def tell(self, losses: Sequence[float]) -> None:
        pass


class _Tpe:
    """Optuna's tree-structured Parzen estimator; the first third of the trials are random."""

    def __init__(self, space: Space, trials: int, seed: int) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the sampler tpe needs optuna: pip install 'inna[search]'", name=error.name
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=max(1, trials // 3), seed=seed % 2**32)
        self._study = optuna.create_study(sampler=sampler)
        self._space = space
        self._left = trials
        self._asked: list[Any] = []

    def ask(self) -> list[Values]:
        number = min(TOGETHER, self._left)
        self._left -= number
        self._asked = [self._study.ask() for _ in range(number)]
        space = self._space
        return [at(space, [_coordinate(trial, *one) for one in space.items()]) for trial in self._asked]

    def tell(self, losses: Sequence[float]) -> None:
        for trial, loss in zip(self._asked, losses, strict=True):
            self._study.tell(trial, loss)


def _coordinate(trial: Any, name: str, given: Range) -> float:
    number = len(given.choices)
    if number:  # in no order
        return (int(trial.suggest_categorical(name, list(range(number)))) + 0.5) / number
    return float(trial.suggest_float(name, 0, 1))
