"""A first setting for a loss: a short ramp finds the largest useful step, short trials the best near it."""

import math
import operator
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, repeat
from statistics import fmean, pstdev, stdev
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..hyperparameters import from_adamw, from_memory
from ._curvature import evaluated
from ._inna import INNA
from ._innaprop import INNAprop

__all__ = ["Suggestion", "suggest"]

Kind = Literal["inna", "innaprop"]
Settings = Callable[[float], dict[str, float]]
Evaluations = Iterator[Callable[[], Tensor]]

RANGE = {"inna": (1e-4, 1e3), "innaprop": (1e-6, 1.0)}
STEPS_PER_DECADE = 25
TOO_HIGH = 0.5
"""The ramp ends when the smoothed loss has risen by this part of the first, and by as much as it fell."""
HALVINGS = 12
"""The trials' steps: where the ramp turned, and half or twice of it again and again, at most so often."""
OF_LOSS, OF_FALL = 0.1, 0.01
"""A trial is close to the best if it ends above it by at most these parts of its loss and of its fall."""
CLEAR_OF_SCATTER, CLEAR_OF_LOSS = 0.5, 0.01
"""Smaller steps are tried until one lowers the loss by these parts of its scatter and of itself: on the first
plateau of a network large steps lower it a little, and no further."""
OF_FALL_AT_TWICE = 0.1
"""Twice of a step is too much if its trial loses this part of the best fall, and more than half of it."""
CHANCE = 3.0
"""A trial lowers the loss if the mean of its falls is above so many of its standard errors."""


@dataclass(frozen=True)
class Suggestion:
    """What `suggest` found; `settings` are the keyword arguments of the optimizer."""

    settings: dict[str, float]
    reason: str
    ramp: list[tuple[float, float]]
    """The long-run steps of the ramp, and the loss before each."""
    trials: list[tuple[float, float]]
    """The long-run steps of the trials, from the largest, and the loss at the end of each."""


def suggest(
    loss: Callable[..., Tensor],
    model: nn.Module | Iterable[Tensor],
    *,
    optimizer: Kind = "innaprop",
    batches: Iterable[Any] | None = None,
    steps: int = 240,
    memory: float = 10.0,
    direct: float = 0.2,
    weight_decay: float = 0.0,
    sigma: float = 0.99,
) -> Suggestion:
    """Find a long-run step for a loss, and return the settings that have it.

    First the loss of each mini-batch at the start, with which all that follows is compared. Then a ramp: the
    step grows from one mini-batch to the next by the same factor until the smoothed loss turns and rises.
    Then trials, each from the start and on the same mini-batches, with a warm-up and a cosine to 0, as the
    run that follows should have: where the ramp turned, and half of that, and half again, until two in a row
    end no longer close to the best, and larger steps as long as they do better. Where the ramp lowers the
    loss by less than it scatters, as with networks that first stay on a plateau, the trials begin at its end.
    Of the steps that are close the smallest is suggested, since longer runs want less; and half of that if a
    trial with twice of it diverges or ends far above the best.

    Parameters, their gradients, the model's buffers and modes, and the random states (of PyTorch, NumPy,
    Python and a DataLoader's generator) are afterwards what they were before.

    Args:
        loss: evaluates a mini-batch, `loss(batch)`, and returns a tensor with one element; without `batches`
            it is called without arguments.
        model: whose parameters are trained, or the parameters; of a model the buffers are restored too.
        optimizer: which optimizer the settings are for.
        batches: mini-batches, gone through as often as needed; a list or a DataLoader, not an iterator.
        steps: of each trial, >= 10. Fewer take less time and find a step for a shorter run.
        memory: in steps, see `inna.hyperparameters.from_memory`.
        direct: the share of the newest gradient.
        weight_decay: as AdamW's; of `innaprop` alone.
        sigma: decay of the second moment; of `innaprop` alone.

    Raises:
        ValueError: an argument is out of its range, the loss has more than one element, does not depend on
            what requires a gradient or is not finite at the start, nothing requires a gradient, there is no
            batch, no trial lowers the loss by more than chance, or every trial diverges.
        TypeError: an argument is of another type.

    Example:
        >>> model = nn.Linear(3, 1)
        >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> found = suggest(lambda: (model(x) - x.sum(1, keepdim=True)).square().mean(), model)
        >>> trained = INNAprop(model.parameters(), **found.settings)
    """
    settings = _settings(optimizer, memory, direct, weight_decay, sigma)
    params, steps = _parameters(model), operator.index(steps)
    if steps < 10:
        raise ValueError(f"a trial needs at least 10 steps, got {steps}")
    if isinstance(batches, Mapping | Iterator):
        raise TypeError(
            f"batches must be a list or a DataLoader, which give mini-batches again and again, "
            f"got {type(batches).__name__}"
        )
    made: Any = INNA if optimizer == "inna" else INNAprop
    first, last = RANGE[optimizer]
    count = round(STEPS_PER_DECADE * math.log10(last / first)) + 1

    def started(run: Callable[..., Any], *arguments: Any) -> Any:
        with _restored(params, model, batches):
            stepper = made(params, **settings(first))
            return run(_Descent(stepper, settings, _evaluations(loss, batches)), *arguments)

    still = started(_still, max(count, steps))
    ramp = started(_ramp, [first * (last / first) ** (k / (count - 1)) for k in range(count)], still)
    smoothed = _smoothed(ramp, still)
    turned = fmean(still) - min(smoothed) > 2 * pstdev(still)
    highest, _ = ramp[smoothed.index(min(smoothed)) if turned else -1]

    at_rest = still[:steps][-_tail(steps) :]
    start = fmean(at_rest)
    trials: dict[float, _Trial] = {}

    def attempt(step: float) -> list[float]:
        trials[step] = _Trial.of(started(_trial, step, steps), at_rest)
        return _close(trials, start)

    clear = max(CLEAR_OF_SCATTER * pstdev(still), CLEAR_OF_LOSS * abs(fmean(still)))
    for halving in range(HALVINGS + 1):
        close = attempt(highest / 2**halving)
        end = min(trial.end for trial in trials.values())
        if close and start - end > clear and not set(close) & set(list(trials)[-2:]):
            break
    lowest = min(trials)
    if math.isinf(end):
        raise ValueError(
            f"all trials diverged, with steps from {lowest:.3g} to {highest:.3g}: is the loss bounded below, "
            "and are its gradients finite? A loss in larger units wants smaller steps: divide it"
        )
    if not close:
        raise ValueError(
            f"no step from {lowest:.3g} to {highest:.3g} lowered the loss {start:.4g} within "
            f"{steps} steps by more than chance, to {end:.4g}: does it take more steps, or is it not of "
            "these parameters?"
        )
    while close[0] == max(trials) < highest * 2**HALVINGS:
        close = attempt(2 * close[0])
    step, best = close[0], min(trials, key=lambda step: trials[step].end)
    end = trials[best].end
    ramped = f"fell from {fmean(still):.4g} until the step was" if turned else "did not fall clearly up to"
    reason = (
        f"with growing steps the loss {ramped} {highest:.3g}; of {len(trials)} trials of {steps} steps, from "
        f"{lowest:.3g} to {max(trials):.3g}, {best:.3g} ended lowest, at {end:.4g}, and "
        f"{step:.3g} is the smallest that came close"
    )
    if start - end <= clear:
        reason += f"; no trial lowered the loss {start:.4g} clearly: longer ones may"
    twice, half = trials.get(2 * step), trials.get(step / 2)
    limit = end + OF_FALL_AT_TWICE * (start - end)
    if twice and half and half.lowers and twice.end > max(half.end, limit):
        step /= 2
        reason += f"; as twice of it is too much, {step:.3g} is safer"
    ordered = [(step, trials[step].end) for step in sorted(trials, reverse=True)]
    return Suggestion(settings(step), reason, ramp, ordered)


def _settings(optimizer: Kind, memory: float, direct: float, weight_decay: float, sigma: float) -> Settings:
    """The optimizer's keyword arguments that have a long-run step."""
    if optimizer not in ("inna", "innaprop"):
        raise ValueError(f"optimizer must be 'inna' or 'innaprop', got {optimizer!r}")
    from_memory(1.0, memory, direct)  # complains of what is out of range
    if optimizer == "inna":
        if weight_decay != 0 or sigma != 0.99:
            raise ValueError(
                f"weight_decay and sigma are innaprop's, got {weight_decay} and {sigma} for inna: give the "
                "decay to the optimizer"
            )
        return lambda step: dict(from_memory(step, memory, direct))  # type: ignore[arg-type]
    if not 0 <= sigma < 1:
        raise ValueError(f"sigma must be at least 0 and below 1, got {sigma}")
    return lambda step: dict(from_adamw(step, (1 - 1 / memory, sigma), weight_decay, direct=direct))  # type: ignore[arg-type]


def _parameters(model: nn.Module | Iterable[Tensor]) -> list[Tensor]:
    """What is trained."""
    single = isinstance(model, Tensor) or not isinstance(model, nn.Module | Iterable)
    given = [] if single else list(model.parameters() if isinstance(model, nn.Module) else model)
    wrong = [type(p).__name__ for p in given if not isinstance(p, Tensor)]
    if single or wrong:
        raise TypeError(
            f"pass the model or a list of its parameters, got {type(model).__name__}"
            + (f" of {wrong[0]}" if wrong else "")
        )
    params = [p for p in given if p.requires_grad]
    if not params:
        raise ValueError("no parameter requires a gradient: pass the model, or the parameters to be trained")
    return params


@dataclass(frozen=True)
class _Trial:
    """The loss at the end of a trial, infinite if it diverged, and whether it is below that at the start."""

    end: float
    lowers: bool

    @classmethod
    def of(cls, losses: list[float], at_rest: list[float]) -> "_Trial":
        """Of the last losses, beside those of the same mini-batches at the start."""
        if not losses:
            return cls(math.inf, False)
        falls = [before - after for before, after in zip(at_rest, losses, strict=True)]
        return cls(fmean(losses), fmean(falls) > CHANCE * stdev(falls) / math.sqrt(len(falls)))


@dataclass
class _Descent:
    """Steps of an optimizer on one mini-batch after the other."""

    stepper: torch.optim.Optimizer
    settings: Settings
    evaluations: Evaluations

    def losses(self, steps: Iterable[float], factors: Iterable[float] = repeat(1.0)) -> Iterator[float]:
        """The loss before each of some long-run steps of scaled lr; where it is not finite none is taken."""
        params = self.stepper.param_groups[0]["params"]
        for step, factor in zip(steps, factors, strict=False):
            for group in self.stepper.param_groups:
                group.update(self.settings(step))
                group["lr"] *= factor
            value = evaluated(next(self.evaluations))
            if value.isfinite():
                self.stepper.zero_grad()
                value.backward(inputs=params)  # type: ignore[no-untyped-call]
                self.stepper.step()
            yield value.item()


def _close(trials: dict[float, _Trial], start: float) -> list[float]:
    """The steps that lower the loss and end close to the best, from the smallest."""
    lowering = {step: trial.end for step, trial in trials.items() if trial.lowers}
    least = min(lowering.values(), default=math.inf)
    allowed = max(min(OF_LOSS * abs(least), OF_FALL * (start - least)), 0.0)
    return sorted(step for step, end in lowering.items() if end <= least + allowed)


def _still(descent: _Descent, count: int) -> list[float]:
    """The losses of the mini-batches at the start, where no step is taken."""
    found = [evaluated(evaluate).item() for evaluate in islice(descent.evaluations, count)]
    for k, value in enumerate(found):
        if not math.isfinite(value):
            raise ValueError(f"the loss must be finite at the start, got {value} on mini-batch {k}")
    return found


def _ramp(descent: _Descent, steps: list[float], still: list[float]) -> list[tuple[float, float]]:
    """Growing steps, and the loss before each, until the loss turns."""
    start, noise = fmean(still), pstdev(still)
    found: list[tuple[float, float]] = []
    for step, value in zip(steps, descent.losses(steps), strict=True):
        if not math.isfinite(value):
            break
        found.append((step, value))
        smoothed = _smoothed(found, still)
        if smoothed[-1] > min(smoothed) + max(start - min(smoothed), TOO_HIGH * abs(start), 2 * noise):
            break
    return found


def _smoothed(ramp: list[tuple[float, float]], still: list[float], keep: float = 0.8) -> list[float]:
    """The mean at the start plus an exponential average, corrected for its bias, of the losses' changes."""
    start, average, found = fmean(still), 0.0, []
    for k, ((_, value), before) in enumerate(zip(ramp, still, strict=False)):
        average = keep * average + (1 - keep) * (value - before)
        found.append(start + average / (1 - keep ** (k + 1)))
    return found


def _tail(steps: int) -> int:
    """So many of a trial's last losses count."""
    return max(steps // 6, 2)


def _trial(descent: _Descent, step: float, steps: int) -> list[float]:
    """The last losses of a short run with a warm-up and a cosine to 0; none if it diverges."""
    warm_up = steps // 10
    factors = [
        min((k + 1) / warm_up, (1 + math.cos(math.pi * max(k - warm_up, 0) / (steps - warm_up))) / 2)
        for k in range(steps)
    ]
    found = []
    for value in descent.losses(repeat(step), factors):
        if not math.isfinite(value):
            return []
        found.append(value)
    return found[-_tail(steps) :]


def _evaluations(loss: Callable[..., Tensor], batches: Iterable[Any] | None) -> Evaluations:
    """The loss on one mini-batch after the other, from the first again after the last."""
    if batches is None:
        yield from repeat(loss)
        return
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield lambda batch=batch: loss(batch)  # type: ignore[misc]
        if empty:
            raise ValueError("there is no batch: give a list or a loader, which can be gone through again")


@contextmanager
def _restored(params: list[Tensor], model: nn.Module | Iterable[Tensor], batches: object) -> Iterator[None]:
    """Leave parameters, gradients, buffers, modes and random states as they were."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    before = [(module, dict(module._buffers), module.training) for module in modules]
    buffers = [buffer for _, each, _ in before for buffer in each.values() if buffer is not None]
    tensors = [*(model.parameters() if isinstance(model, nn.Module) else params), *buffers]
    values = [t.detach().clone() for t in tensors]
    gradients = [(p, p.grad) for p in params]
    generator = getattr(batches, "generator", None)
    order = generator.get_state() if isinstance(generator, torch.Generator) else None
    python, numpy = random.getstate(), np.random.get_state()
    devices = sorted({t.device.index for t in tensors if t.device.type == "cuda"})
    for p in params:
        p.grad = None
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            for p, gradient in gradients:
                p.grad = gradient
            random.setstate(python)
            np.random.set_state(numpy)
            if isinstance(generator, torch.Generator) and order is not None:
                generator.set_state(order)
            for module, each, training in before:
                module._buffers.clear()
                module._buffers.update(each)
                module.training = training
            with torch.no_grad():
                for t, value in zip(tensors, values, strict=True):
                    if not torch.equal(t, value):  # an expanded buffer cannot be written, nor is it
                        t.copy_(value)
