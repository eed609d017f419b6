"""What INNA asks of PyTorch: the step of many variables at once, by its multi-tensor kernels."""

from typing import NamedTuple

import torch

from ..torch import foreach_step
from ._direction import Scaling

__all__ = ["Row", "step"]


class Row(NamedTuple):
    """What belongs to one variable."""

    theta: torch.Tensor
    g: torch.Tensor
    u: torch.Tensor
    scaling: Scaling | None


def step(
    rows: list[Row], counts: torch.Tensor, *, lr: float, alpha: float, beta: float, speed: float
) -> None:
    """One step of all rows, each of which has taken so many before; the counts stay."""
    if not rows:
        return
    thetas, gs, us, scalings = (list(column) for column in zip(*rows, strict=True))
    scaled = {}
    if scalings[0] is not None:
        squares = [scaling.square.value for scaling in scalings]
        scaled = {"exp_avg_sqs": squares, "sigma": scalings[0].sigma, "eps": scalings[0].eps}
    steps = list(counts.cpu().clone().unbind())
    foreach_step(thetas, gs, us, steps, **scaled, lr=lr, alpha=alpha, beta=beta, initial_speed=speed)
