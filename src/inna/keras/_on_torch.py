"""What INNA asks of PyTorch: the step of many variables at once, by its multi-tensor kernels."""

from typing import Any, NamedTuple

import torch
from keras.ops import convert_to_tensor

from ..torch import foreach_step
from ._direction import Scaling

__all__ = ["Row", "step"]


class Row(NamedTuple):
    """What belongs to one variable."""

    theta: torch.Tensor
    g: torch.Tensor
    u: torch.Tensor
    scaling: Scaling | None


def step(rows: list[Row], counts: list[torch.Tensor], *, lr: Any, alpha: Any, beta: Any, speed: Any) -> None:
    """One step of all rows, each of which has taken so many before; the counts stay.

    On a CPU the options become numbers. Elsewhere they stay on the device, for which nothing here waits.
    """
    if not rows:
        return
    thetas, gs, us, scalings = (list(column) for column in zip(*rows, strict=True))
    scaled = {}
    if scalings[0] is not None:
        squares = [scaling.square.value for scaling in scalings]
        scaled = {"exp_avg_sqs": squares, "sigma": scalings[0].sigma, "eps": scalings[0].eps}
    if on_cpu(thetas[0]):
        lr, alpha, beta, speed = (float(x) for x in (lr, alpha, beta, speed))
    else:
        lr = convert_to_tensor(lr)
    steps = list(torch.stack(counts).unbind())  # copies: foreach_step counts, too
    foreach_step(thetas, gs, us, steps, **scaled, lr=lr, alpha=alpha, beta=beta, initial_speed=speed)


def on_cpu(tensor: torch.Tensor) -> bool:
    """Whether reading a number costs no wait for the device."""
    return tensor.device.type == "cpu"
