"""The projection on a ball, which keeps the iterates bounded as Theorem 3.1 asks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ._eight_bit import add, is_coded, read
from ._optimizer import InertialOptimizer

__all__ = ["project_on_ball"]


@torch.no_grad()
def _project(optimizer: InertialOptimizer, radius: float, centre: Sequence[Tensor] | None) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    offsets = params if centre is None else torch._foreach_sub(params, list(centre))
    norm = torch.stack([x.to(params[0].device) for x in torch._foreach_norm(offsets)]).norm()
    shrink = radius / norm.clamp(min=radius) - 1  # 0 inside the ball; nothing waits for the device
    corrections = [x * shrink.to(x.device, x.dtype) for x in offsets]
    torch._foreach_add_(params, corrections)
    moved = dict(zip(params, corrections, strict=True))
    for group in optimizer.param_groups:
        for param in group["params"]:
            state = optimizer.state.get(param, {})
            if "momentum_buffer" in state or is_coded(state, "momentum_buffer"):
                correction = moved[param] * (group["alpha"] - 1 / group["beta"])
                add(read(state, "momentum_buffer"), correction, state["step"])


def project_on_ball(
    optimizer: InertialOptimizer, radius: float, centre: Sequence[Tensor] | None = None
) -> RemovableHandle:
    r"""From now on project the parameters on a ball after every step, leaving psi alone.

    .. math:: \theta^+ = P(\theta), \qquad u^+ = u + (\alpha - \tfrac1\beta)(\theta^+ - \theta)

    The ball is one for all parameters of the optimizer together. INNA is then the discretisation of (5) for J
    plus the indicator of the ball: the energy still falls, and limits are critical for J on the ball.

    Args:
        optimizer: an INNA or INNAprop with beta > 0.
        radius: > 0, in the Euclidean norm of all parameters.
        centre: a tensor for each parameter, in the order of the groups; None is 0.

    Returns:
        A handle whose method `remove` ends it.

    Raises:
        ValueError: the radius is not positive and finite, a beta is 0, or the centre does not fit.

    Example:
        >>> from inna.torch import INNA
        >>> theta = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = INNA([theta], lr=0.1)
        >>> handle = project_on_ball(optimizer, radius=1.0)
        >>> theta.sum().backward()
        >>> optimizer.step()
        >>> round(theta.detach().norm().item(), 6)
        1.0

    Reference: Castera et al. (2021), Section 3.2, on the boundedness assumption.
    """
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius must be positive and finite, got {radius}")
    if any(group["beta"] == 0 for group in optimizer.param_groups):
        raise ValueError("the projection needs beta > 0, where psi exists, got 0")
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    if centre is not None and [c.shape for c in centre] != shapes:
        expected, got = [*map(tuple, shapes)], [tuple(c.shape) for c in centre]
        raise ValueError(f"centre must have the parameters' shapes {expected}, got {got}")

    def after_step(of: Any, *_: Any) -> None:
        _project(of, radius, centre)

    return optimizer.register_step_post_hook(after_step)
