"""A first setting for a loss: a short ramp finds the largest useful step, short trials the best below it."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from statistics import mean, pstdev
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..hyperparameters import from_adamw, from_memory
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
EARLY = 20
"""So many losses of the ramp's first, small steps tell where the loss starts and how much it scatters."""
HALVINGS = 12
"""The trials' steps: where the ramp turned, and half of it again and again, at most so often."""
OF_LOSS, OF_FALL = 0.1, 0.01
"""A trial is close to the best if it ends above it by at most these parts of its loss and of its fall."""


@dataclass(frozen=True)
class Suggestion:
    """What `suggest` found; `settings` are the keyword arguments of the optimizer."""

    settings: dict[str, float]
    reason: str
    ramp: list[tuple[float, float]]
    """The long-run steps of the ramp, and the loss before each."""
    trials: list[tuple[float, float]]
    """The long-run steps of the trials, and the loss at the end of each."""


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

    First a ramp: the step grows from one mini-batch to the next by the same factor until the smoothed loss
    turns and rises. Then trials, each from the start and on the same mini-batches: where the ramp turned,
    and half of that, and half again, with a warm-up and a cosine to 0, as the run that follows should have,
    until two in a row end no longer close to the best. Of those that are close the smallest step is
    suggested, since longer runs want less. Where the ramp lowers the loss by less than it scatters, as with
    networks that first stay on a plateau, the trials begin at its end. Parameters, their gradients, the
    model's buffers and the random states are afterwards what they were before.

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
        ValueError: the loss has more than one element or is not finite at the start, nothing requires a
            gradient, there is no batch, no trial lowers the loss by more than chance, or every trial
            diverges.

    Example:
        >>> model = nn.Linear(3, 1)
        >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> found = suggest(lambda: (model(x) - x.sum(1, keepdim=True)).square().mean(), model)
        >>> trained = INNAprop(model.parameters(), **found.settings)
    """
    if optimizer not in RANGE:
        raise ValueError(f"optimizer must be 'inna' or 'innaprop', got {optimizer!r}")
    if steps < 10:
        raise ValueError(f"a trial needs at least 10 steps, got {steps}")
    params = [p for p in (model.parameters() if isinstance(model, nn.Module) else model) if p.requires_grad]
    if not params:
        raise ValueError("no parameter requires a gradient: pass the model, or the parameters to be trained")

    def settings(step: float) -> dict[str, float]:
        if optimizer == "inna":
            return dict(from_memory(step, memory, direct))  # type: ignore[arg-type]
        return dict(from_adamw(step, (1 - 1 / memory, sigma), weight_decay, direct=direct))  # type: ignore[arg-type]

    def stepper() -> torch.optim.Optimizer:
        made: Any = INNA if optimizer == "inna" else INNAprop
        return made(params, **settings(RANGE[optimizer][0]))  # type: ignore[no-any-return]

    buffers = list(model.buffers()) if isinstance(model, nn.Module) else []
    with _restored(params, buffers):
        ramp = _ramp(stepper(), settings, _evaluations(loss, batches), RANGE[optimizer])
    start, noise, smoothed = _course(ramp)
    turned = start - min(smoothed) > 2 * noise
    highest, _ = ramp[EARLY + smoothed.index(min(smoothed)) if turned else -1]
    trials: list[tuple[float, float]] = []
    for halving in range(HALVINGS + 1):
        step = highest / 2**halving
        with _restored(params, buffers):
            trials.append((step, _trial(stepper(), settings, _evaluations(loss, batches), step, steps)))
        best, end = min(trials, key=lambda trial: trial[1])
        limit = end + max(min(OF_LOSS * abs(end), OF_FALL * (start - end)), 0.0)
        found = end < start - noise / 2
        if found and all(value > limit for _, value in trials[-2:]):
            break
    if not math.isfinite(end):
        raise ValueError(
            f"all trials diverged, the last with a step of {trials[-1][0]:.3g}: is the loss bounded below?"
        )
    if not found:
        raise ValueError(
            f"no step from {step:.3g} to {highest:.3g} lowered the loss {start:.4g} within {steps} steps by "
            f"more than chance, to {end:.4g}: does it take more steps, or is it not of these parameters?"
        )
    step = min(step for step, value in trials if value <= limit)
    ramped = f"fell from {start:.4g} until the step was" if turned else "did not fall clearly up to"
    reason = (
        f"with growing steps the loss {ramped} {highest:.3g}; "
        f"of {len(trials)} trials of {steps} steps at and below that, {best:.3g} ended lowest, at {end:.4g}, "
        f"and {step:.3g} is the smallest that came close"
    )
    return Suggestion(settings(step), reason, ramp, trials)


def _trial(
    stepper: torch.optim.Optimizer, settings: Settings, evaluations: Evaluations, step: float, steps: int
) -> float:
    """The mean loss at the end of a short run with a warm-up and a cosine to 0; infinite if it diverges."""
    warm_up, losses = steps // 10, []
    for k, evaluate in zip(range(steps), evaluations, strict=False):
        factor = min((k + 1) / warm_up, (1 + math.cos(math.pi * max(k - warm_up, 0) / (steps - warm_up))) / 2)
        for group in stepper.param_groups:
            group.update(settings(step))
            group["lr"] *= factor
        value = _descend(stepper, evaluate)
        if not math.isfinite(value):
            return math.inf
        losses.append(value)
    last = losses[-max(len(losses) // 6, 1) :]
    return sum(last) / len(last)


def _descend(stepper: torch.optim.Optimizer, evaluate: Callable[[], Tensor]) -> float:
    """One step, unless the loss is not finite; returns the loss before it."""
    stepper.zero_grad()
    with torch.enable_grad():
        value = evaluate()
        if value.numel() != 1:
            raise ValueError(
                f"the loss must have one element, got shape {tuple(value.shape)}: return its mean"
            )
        if value.isfinite():
            value.backward()  # type: ignore[no-untyped-call]
            stepper.step()
    return value.item()


def _ramp(
    stepper: torch.optim.Optimizer, settings: Settings, evaluations: Evaluations, limits: tuple[float, float]
) -> list[tuple[float, float]]:
    """Steps that grow by a constant factor, and the loss before each, until the loss turns."""
    first, last = limits
    count = round(STEPS_PER_DECADE * math.log10(last / first)) + 1
    found: list[tuple[float, float]] = []
    for k, evaluate in zip(range(count), evaluations, strict=False):
        step = first * (last / first) ** (k / (count - 1))
        for group in stepper.param_groups:
            group.update(settings(step))
        value = _descend(stepper, evaluate)
        if not math.isfinite(value):
            if k == 0:
                raise ValueError(f"the loss must be finite at the start, got {value}")
            break
        found.append((step, value))
        start, noise, smoothed = _course(found)
        if smoothed[-1] > min(smoothed) + max(start - min(smoothed), TOO_HIGH * abs(start), 2 * noise):
            break
    return found


def _course(ramp: list[tuple[float, float]]) -> tuple[float, float, list[float]]:
    """Where the loss starts, how much it scatters there, and its smoothed values from then on."""
    values = [value for _, value in ramp]
    early = values[:EARLY]
    return mean(early), pstdev(early), _smoothed(values)[EARLY:] or [mean(early)]


def _smoothed(values: list[float], keep: float = 0.8) -> list[float]:
    """An exponential average with corrected bias."""
    average, found = 0.0, []
    for k, value in enumerate(values):
        average = keep * average + (1 - keep) * value
        found.append(average / (1 - keep ** (k + 1)))
    return found


def _evaluations(
    loss: Callable[..., Tensor], batches: Iterable[Any] | None
) -> Iterator[Callable[[], Tensor]]:
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
def _restored(params: list[Tensor], buffers: list[Tensor]) -> Iterator[None]:
    """Leave parameters, gradients, buffers and random states as they were."""
    tensors = [*params, *buffers]
    values = [t.detach().clone() for t in tensors]
    gradients = [p.grad for p in params]
    for p in params:
        p.grad = None
    devices = sorted({t.device.index for t in tensors if t.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for t, value in zip(tensors, values, strict=True):
                    t.copy_(value)
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = gradient
