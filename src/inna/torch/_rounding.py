"""Stochastic rounding of 16-bit parameters: up or down, so that it is right on average."""

import torch
from torch import Tensor

from ._coefficients import Number

__all__ = ["hashed", "rounded"]

_LOST_BITS = {torch.bfloat16: 16, torch.float16: 13}  # of float32's mantissa


def rounded(exact: Tensor, like: Tensor, step: Number) -> Tensor:
    """Round float32 values to the dtype of `like`, away from 0 with the probability of what would be lost."""
    last = 2 ** _LOST_BITS[like.dtype]
    up = hashed(like, step, stream=0).to(torch.int32) & (last - 1)
    bits = ((exact.view(torch.int32) + up) & -last).view(torch.float32)
    return torch.where(exact.isfinite(), bits, exact).to(like.dtype)


def hashed(like: Tensor, step: Number, stream: int) -> Tensor:
    """Random 32-bit numbers, in int64: a hash of the step, of the place in memory and of a stream.

    No generator, nothing to save, the same in every implementation.
    """
    place = torch.empty_like(like, dtype=torch.int64, memory_format=torch.preserve_format)
    order = torch.arange(like.numel(), device=like.device)
    place.as_strided((like.numel(),), (1,)).copy_(order)
    count = torch.as_tensor(step).reshape(()).to(like.device, torch.int64)
    return _mixed(place ^ _mixed((count + 1) ^ (stream << 30)))


def _mixed(x: Tensor) -> Tensor:
    """A hash of 32-bit numbers: shifts and products, each of which can be undone."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97), (15, 1)):
        x = (x ^ (x >> shift)) * factor & 0xFFFFFFFF
    return x
