"""The coefficients of a step: numbers, or tensors where a decision has to stay on the device."""

from typing import Any

import torch
from torch import Tensor

from .. import reference

__all__ = ["Number", "coefficients", "exact", "pull", "start_of", "where_the_step_nears_0"]

Number = float | Tensor


def start_of(step: Number, like: Tensor, *, lr: Number, beta: Number, speed: Number, **_: Number) -> Any:
    """The start s - beta in the first step, 0 in the others; a tensor if the step or an option is one."""
    first: Any = (step == 0) & (lr != 0)
    if isinstance(first, Tensor):
        first = first.to(like.device, exact(like.dtype))
    return first * (speed - beta)


def coefficients(
    start: Number,
    like: Tensor,
    *,
    lr: Number,
    alpha: Number,
    beta: Number,
    decay: Number,
    sign: float,
    **_: Number,
) -> tuple[Any, Any, Any, Any, Any]:
    """Of theta <- keep theta - lr u - push v and u <- damp u + gain v; tensors if an option is one."""
    start, lr, alpha, beta, decay = [
        option.to(like.device, exact(like.dtype)) if isinstance(option, Tensor) else option
        for option in (start, lr, alpha, beta, decay)
    ]
    keep, push, damp, gain = reference.coefficients(lr=lr, alpha=alpha, beta=beta, decay=decay, start=start)
    if not isinstance(decay, Tensor) and decay == 0:
        keep = 1.0  # a number, which costs no pass over memory, even where lr is a tensor
    return keep, lr, sign * push, damp, sign * gain


def pull(keep: Number, *, alpha: Number, beta: Number, **_: Number) -> Any:
    """What u gains per theta when a decay leaves psi = beta u + (1 - alpha beta) theta as it is."""
    return (1 - keep) * (1 / beta - alpha)


def where_the_step_nears_0(keep: Number, theta: Tensor, descent: Tensor) -> Tensor:
    """`keep` for the values that theta - descent moves towards 0 or leaves, 1 for the others."""
    return 1 + (keep - 1) * (theta * descent >= 0).to(exact(theta.dtype))


def exact(dtype: torch.dtype) -> torch.dtype:
    """The dtype to compute in: 16 bits cannot tell 1 - alpha lr from 1."""
    return torch.float64 if dtype == torch.float64 else torch.float32
