"""The fused step: the parameters of each device by the kernel for it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ._optimizer import Tensors

__all__ = ["fused_step"]

Amp = tuple[Tensor | None, Tensor | None]  # GradScaler's grad_scale and found_inf


def fused_step(tensors: Tensors, group: dict[str, Any], options: dict[str, Any], amp: Amp) -> None:
    """One step of the parameters of a group in one pass over memory; obeys GradScaler."""
    if all(param.is_cpu for param in tensors.params):
        kernel_for("cpu")(tensors, group, options, amp)  # the usual case, cheaper than the next lines
        return
    devices = [param.device for param in tensors.params]
    for device in dict.fromkeys(devices):
        kernel_for(device.type)(_on(device, devices, tensors), group, options, amp)


def _on(device: torch.device, devices: list[torch.device], tensors: Tensors) -> Tensors:
    if devices.count(device) == len(devices):
        return tensors
    chosen = [i for i, other in enumerate(devices) if other == device]
    return Tensors(*([column[i] for i in chosen] for column in tensors))


@cache
def kernel_for(device_type: str) -> Callable[[Tensors, dict[str, Any], dict[str, Any], Amp], None]:
    """Imported here, so that only those who have a GPU need Triton."""
    if device_type == "cpu":
        from ._fused_cpu import fused_cpu_step

        return fused_cpu_step
    from ._fused_triton import fused_triton_step

    return fused_triton_step
