"""The fused step: the parameters of each device by the kernel for it."""

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from ._eight_bit import EIGHT_BIT, Coded
from ._optimizer import Tensors

__all__ = ["fused_step"]

Amp = tuple[Tensor | None, Tensor | None]  # GradScaler's grad_scale and found_inf


def fused_step(tensors: Tensors, group: dict[str, Any], options: dict[str, Any], amp: Amp) -> None:
    """One step of the parameters of a group in one pass over memory; obeys GradScaler."""
    if group["state_dtype"] != EIGHT_BIT and all(param.is_cpu for param in tensors.params):
        kernel_for("cpu")(tensors, group, options, amp)  # the usual case, cheaper than the next lines
        return
    of_each = zip(tensors.params, tensors.momentum_buffers, strict=True)
    kinds = [(param.device, isinstance(moment, Coded)) for param, moment in of_each]
    for kind in dict.fromkeys(kinds):
        kernel_for(kind[0].type)(_of_kind(tensors, kinds, kind), group, options, amp)


def _of_kind(tensors: Tensors, kinds: list[Any], kind: Any) -> Tensors:
    if kinds.count(kind) == len(kinds):
        return tensors
    chosen = [i for i, other in enumerate(kinds) if other == kind]
    return Tensors(*([column[i] for i in chosen] for column in tensors))


@cache
def kernel_for(device_type: str) -> Callable[[Tensors, dict[str, Any], dict[str, Any], Amp], None]:
    """Imported here, so that only those who have a GPU need Triton."""
    if device_type == "cpu":
        from ._fused_cpu import fused_cpu_step

        return fused_cpu_step
    from ._fused_triton import fused_triton_step

    return fused_triton_step
