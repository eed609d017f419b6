"""The fused step: the parameters of each device by the kernel for it."""

from collections.abc import Callable
from itertools import compress
from typing import Any

from torch import Tensor

from ._contract import Tensors

__all__ = ["fused_step"]

Amp = tuple[Tensor | None, Tensor | None]  # GradScaler's grad_scale and found_inf


def fused_step(tensors: Tensors, group: dict[str, Any], options: dict[str, Any], amp: Amp) -> None:
    """One step of the parameters of a group in one pass over memory; obeys GradScaler."""
    devices = dict.fromkeys(param.device for param in tensors.params)
    for device in devices:
        some = tensors
        if len(devices) > 1:
            here = [param.device == device for param in tensors.params]
            some = Tensors(*(list(compress(ts, here)) for ts in tensors))
        kernel_for(device.type)(some, group, options, amp)


def kernel_for(device_type: str) -> Callable[[Tensors, dict[str, Any], dict[str, Any], Amp], None]:
    """Imported here, so that only those who have a GPU need Triton."""
    if device_type == "cpu":
        from ._fused_cpu import fused_cpu_step

        return fused_cpu_step
    from ._fused_triton import fused_triton_step

    return fused_triton_step
